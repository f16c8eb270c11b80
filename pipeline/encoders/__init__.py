"""Encoders: features -> latent, each under its name. To add one: a file, a line here, a section in params.yaml."""

from pipeline.encoders.base import Encoder
from pipeline.encoders.cnn_transformer import CNNTransformer
from pipeline.encoders.identity import Identity
from pipeline.encoders.losses import DCCL, LatentLoss

ENCODERS: dict[str, type[Encoder]] = {"cnn_transformer": CNNTransformer, "identity": Identity}
LOSSES: dict[str, type[LatentLoss]] = {"dccl": DCCL}

__all__ = ["DCCL", "ENCODERS", "LOSSES", "CNNTransformer", "Encoder", "Identity", "LatentLoss"]
