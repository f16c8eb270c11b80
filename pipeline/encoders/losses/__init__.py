"""Losses of a latent: what an encoder is asked to make of benign records and attacks, each under its name."""

from pipeline.encoders.losses.base import Centroids, LatentLoss, class_means, weighted_means
from pipeline.encoders.losses.binary import Binary
from pipeline.encoders.losses.clad import CLAD
from pipeline.encoders.losses.dccl import DCCL
from pipeline.encoders.losses.deep_sad import DeepSAD
from pipeline.encoders.losses.modes import Modes

LOSSES: dict[str, type[LatentLoss]] = {
    "dccl": DCCL,
    "binary": Binary,
    "deep_sad": DeepSAD,
    "clad": CLAD,
    "modes": Modes,
}

__all__ = [
    "CLAD",
    "DCCL",
    "LOSSES",
    "Binary",
    "Centroids",
    "DeepSAD",
    "LatentLoss",
    "Modes",
    "class_means",
    "weighted_means",
]
