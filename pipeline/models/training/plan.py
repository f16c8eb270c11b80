"""The confidence updates of a training, as the settings or the model itself ask for them."""

from pipeline.base.errors import ConfigError
from pipeline.base.registry import build
from pipeline.calibration.confidence import CONFIDENCES
from pipeline.calibration.thresholds.registry import THRESHOLDS
from pipeline.models.base import Scorer
from pipeline.models.training.updates import Updates
from pipeline.settings.training import ConfidenceSettings


def updates_of(model: Scorer, settings: ConfidenceSettings, stage: str) -> Updates | None:
    """The confidence updates that the settings of ``stage``, or else the model, ask for; None for none.

    Raises:
        ConfigError: a name or a setting is unknown, or the loss of the model would not heed what the updates say.
    """
    if settings.updates == "never" or (settings.updates == "published" and not model.updated):
        return None
    if not model.heeds_confidence:
        raise ConfigError(
            f"{stage}.confidence.updates: {settings.updates!r}, but the loss of {type(model).__name__} heeds no "
            "confidence; choose leave_out or push where it has a setting confidence (maf, each loss of stage1), or "
            "another model"
        )
    known = {*THRESHOLDS, *CONFIDENCES}
    strategy = model.strategy if settings.thresholds == "published" else settings.thresholds
    rule = model.rule if settings.rule == "published" else settings.rule
    every = model.every_n_epochs if settings.every_n_epochs == "published" else settings.every_n_epochs
    unknown = settings.max_unknown_share
    return Updates(
        build(THRESHOLDS, strategy, f"{stage}.confidence.thresholds", **settings.settings(strategy, known)),
        build(CONFIDENCES, rule, f"{stage}.confidence.rule", **settings.settings(rule, known)),
        every_n_epochs=every,
        warm_up=(model.warm_up or every) if settings.warm_up == "published" else settings.warm_up,
        max_share=settings.max_share,
        max_unknown_share=model.max_unknown_share if unknown == "own" else unknown,
        smoothing=settings.smoothing,
        undo=settings.undo,
    )
