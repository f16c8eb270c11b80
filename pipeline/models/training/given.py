"""The confidence that a training starts with, from a table that an earlier training or stage wrote."""

from dataclasses import replace
from pathlib import Path

from pipeline.artifacts.confidence import read_confidence
from pipeline.base.errors import DataError
from pipeline.base.samples import Samples
from pipeline.calibration import confidence


def with_given_confidence(train: Samples, path: str) -> tuple[Samples, int]:
    """The records with the confidence of the table, and how many rows the table has.

    Raises:
        ArtifactError: the table cannot be read.
        DataError: it lacks a record, or holds a value that is no confidence.
    """
    given = read_confidence(Path(path))
    try:
        matched = confidence.matched(train.record_id, *given)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return replace(train, confidence=matched), len(given[0])
