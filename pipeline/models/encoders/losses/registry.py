"""Losses of encoders by name, as ``params.yaml`` spells it."""

from pipeline.models.encoders.losses.base import LatentLoss
from pipeline.models.encoders.losses.binary import Binary
from pipeline.models.encoders.losses.clad import CLAD
from pipeline.models.encoders.losses.dccl import DCCL
from pipeline.models.encoders.losses.deep_sad import DeepSAD
from pipeline.models.encoders.losses.modes import Modes

LOSSES: dict[str, type[LatentLoss]] = {
    "dccl": DCCL,
    "binary": Binary,
    "deep_sad": DeepSAD,
    "clad": CLAD,
    "modes": Modes,
}
