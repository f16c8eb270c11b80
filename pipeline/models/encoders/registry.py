"""Encoders by name, as ``params.yaml`` spells it."""

from pipeline.models.encoders.base import Encoder
from pipeline.models.encoders.cnn_transformer import CNNTransformer
from pipeline.models.encoders.feature_tokens import FeatureTokens
from pipeline.models.encoders.identity import Identity
from pipeline.models.encoders.residual_mlp import ResidualMLP

ENCODERS: dict[str, type[Encoder]] = {
    "cnn_transformer": CNNTransformer,
    "residual_mlp": ResidualMLP,
    "feature_tokens": FeatureTokens,
    "identity": Identity,
}
