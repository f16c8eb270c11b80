"""The detector and the head of stage 2: built from the settings, and stored."""

from collections.abc import Callable
from functools import partial

from pipeline.artifacts import paths
from pipeline.artifacts.models import write_model
from pipeline.base.errors import ConfigError
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
    description = {"detector": name, "settings": settings.settings(name, DETECTORS), "columns": list(columns)}
    if isinstance(model, Folds):
        description["folds"] = {"number": len(model.models), "seed": model.seed}
    write_model(PLACES[role], description, {key: value.numpy() for key, value in model.state_dict().items()})


def keep_no_head() -> None:
    """Store that there is no head."""
    write_model(paths.HEAD, {"detector": "none"}, {})


def roles(settings: Stage2, attacks: bool) -> dict[str, str]:
    """Role -> name of the detector, and of the head where there is one.

    Args:
        settings: of the stage.
        attacks: whether there are seen attacks; a head has nothing to learn without them.

    Raises:
        ConfigError: the head is no other detector that learns from seen attacks in closed form; or the detector needs
            seen attacks, and there are none.
    """
    if settings.head == "none" or not attacks:
        _require_one_class(settings, attacks)
        return {"detector": settings.detector}
    plugin = settings.settings(settings.head, DETECTORS)
    head = build(DETECTORS, settings.head, "stage2.head", features=1, **plugin)
    if settings.head == settings.detector:
        raise ConfigError(
            f"stage2.head: {settings.head!r} is stage2.detector already, and would count twice; set one to another"
        )
    if head.trains_on != "all" or head.trainable:
        raise ConfigError(
            f"stage2.head: {settings.head!r} is no detector that learns from seen attacks in closed form; allowed are "
            "none and boosting"
        )
    return {"detector": settings.detector, "head": settings.head}


def _require_one_class(settings: Stage2, attacks: bool) -> None:
    """Refuse a detector that learns from seen attacks where there are none."""
    if not attacks and builder(settings, settings.detector, "detector", 1)().trains_on == "all":
        raise ConfigError(
            f"stage2.detector: {settings.detector!r} learns from seen attacks, and the training records have none; "
            "set it to ensemble or another detector that learns from benign records alone"
        )
