"""Which models stage 2 fits: the detector, and a head where there are seen attacks to learn from."""

from pipeline.base.errors import ConfigError
from pipeline.base.registry import build
from pipeline.models.detectors.registry import DETECTORS
from pipeline.settings.stage2 import Stage2
from pipeline.stages.detectors import builder


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
