"""The detector and the head of stage 2: built from the settings, and stored."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from pipeline.artifacts import paths
from pipeline.artifacts.models import write_model
from pipeline.base.registry import build
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.folds import Folds
from pipeline.models.detectors.registry import DETECTORS
from pipeline.settings.stage2 import Stage2

PLACES = {"detector": paths.DETECTOR, "head": paths.HEAD}


def builder(settings: Stage2, name: str, role: str, features: int) -> Callable[[], Detector]:
    """What gives a detector that is not fitted yet."""
    plugin = settings.settings(name, DETECTORS)
    return partial(build, DETECTORS, name, f"stage2.{role}", features=features, **plugin)


def keep(settings: Stage2, model: Detector, role: str, columns: tuple[str, ...]) -> None:
    """Store a fitted model."""
    name = settings.detector if role == "detector" else settings.head
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    write_model(PLACES[role], described(settings, name, model, columns), weights)


def described(settings: Stage2, name: str, model: Detector, columns: Sequence[str]) -> dict[str, Any]:
    """What a fitted model is: all but its weights."""
    description = {"detector": name, "settings": settings.settings(name, DETECTORS), "columns": list(columns)}
    if isinstance(model, Folds):
        description["folds"] = {"number": len(model.models), "seed": model.seed}
    return description


def keep_no_head() -> None:
    """Store that there is no head."""
    write_model(paths.HEAD, {"detector": "none"}, {})
