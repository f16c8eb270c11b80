"""Train anything that has ``loss(batch)``: resumable, on any device, with the best epoch's weights at the end."""

from pipeline.training.fit import fit
from pipeline.training.history import Epoch, History
from pipeline.training.settings import FitSettings

__all__ = ["Epoch", "FitSettings", "History", "fit"]
