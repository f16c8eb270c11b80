"""Features -> latent."""

from dataclasses import dataclass
from typing import ClassVar

from pipeline.settings.training import Training


@dataclass(frozen=True)
class Stage1(Training):
    """The encoder and its training; the plug-ins are encoders and losses."""

    section: ClassVar[str] = "stage1"
    encoder: str
    loss: str
    pass_features: bool
