"""The confidence that a training starts with, from a table that an earlier training or stage wrote."""

from dataclasses import replace
from pathlib import Path

from pipeline.artifacts.confidence import read_confidence
from pipeline.base.errors import ConfigError, DataError
from pipeline.base.samples import Samples
from pipeline.calibration import confidence
from pipeline.models.base import Scorer


def refuse_idle(path: str | None, model: Scorer, stage: str) -> None:
    """Refuse a table for a model that would not use it.

    Raises:
        ConfigError: the model is fitted in closed form.
    """
    if path is not None and not model.trainable:
        raise ConfigError(
            f"{stage}.confidence.initial is {path!r}, but {type(model).__name__} is fitted in closed form and uses no "
            "confidence; set it to null, or choose a model that is trained"
        )


def with_given_confidence(train: Samples, path: str, model: Scorer, stage: str) -> tuple[Samples, int]:
    """The records with the confidence of the table, and how many rows the table has.

    Raises:
        ConfigError: ``model`` would not use it.
        ArtifactError: the table cannot be read.
        DataError: it lacks a record, or holds a value that is no confidence.
    """
    refuse_idle(path, model, stage)
    given = read_confidence(Path(path))
    try:
        matched = confidence.matched(train.record_id, *given)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return replace(train, confidence=matched), len(given[0])
