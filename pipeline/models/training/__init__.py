"""Train anything that has ``loss(batch)``: resumable, on any device, with the best epoch's weights at the end."""

from pipeline.models.training.fit import BESIDE, fit
from pipeline.models.training.history import Epoch, History, Undone
from pipeline.models.training.updates import UnscoredError, Update, Updates
from pipeline.settings.training import FitSettings

__all__ = ["BESIDE", "Epoch", "FitSettings", "History", "Undone", "UnscoredError", "Update", "Updates", "fit"]
