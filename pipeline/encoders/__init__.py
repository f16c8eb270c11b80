"""Encoders: features -> latent, each under its name. To add one: a file, a line here, a section in params.yaml."""

from pipeline.encoders.base import Encoder
from pipeline.encoders.cnn_transformer import CNNTransformer
from pipeline.encoders.feature_tokens import FeatureTokens
from pipeline.encoders.identity import Identity
from pipeline.encoders.losses import CLAD, DCCL, LOSSES, Binary, Centroids, DeepSAD, LatentLoss, Modes
from pipeline.encoders.residual_mlp import ResidualMLP

ENCODERS: dict[str, type[Encoder]] = {
    "cnn_transformer": CNNTransformer,
    "residual_mlp": ResidualMLP,
    "feature_tokens": FeatureTokens,
    "identity": Identity,
}

__all__ = [
    "CLAD",
    "DCCL",
    "ENCODERS",
    "LOSSES",
    "Binary",
    "CNNTransformer",
    "Centroids",
    "DeepSAD",
    "Encoder",
    "FeatureTokens",
    "Identity",
    "LatentLoss",
    "Modes",
    "ResidualMLP",
]
