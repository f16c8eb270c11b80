"""Doubts benign records of the splits that models are fitted on, where they may be hidden attacks."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.artifacts.labels import DISMISSED
from pipeline.artifacts.tables import values_by_id
from pipeline.preprocessing import splits
from pipeline.preprocessing.assignment import Rows
from pipeline.preprocessing.features import Features
from pipeline.preprocessing.sweeps import sweeping
from pipeline.preprocessing.witnesses import unwitnessed
from pipeline.settings.preprocess import DoubtSettings, Preprocess, SweepSettings, WitnessSettings
from pipeline.stages import analysts
from pipeline.stages.records import columns_where, raw_columns
from pipeline.stages.reports.report import Report
from pipeline.stages.when import when

FITTED: Final = ("train", "val", "calibration")
DOUBTED: Final = -1.0  # the confidence of a record that is labelled benign, and taken for an attack
PORT: Final = "destination_port"

Mask = NDArray[np.bool_]


def with_doubts(rows: Rows, features: Features, settings: Preprocess, report: Report) -> Rows:
    """The same rows, with a confidence of -1 where the like of a record occur at one time only, or go to a port each.

    Test records are not looked at, so that none changes what models are fitted on. Nor are alerts that an analyst has
    dismissed: they are surely benign, and often have no time.
    """
    fitted = np.isin(rows.split, [splits.SPLITS.index(name) for name in FITTED]) & (rows.y == 0)
    fitted &= ~np.isin(rows.record_id, analysts.ids_of(DISMISSED))
    if not fitted.any():
        return rows
    doubted = np.zeros(int(fitted.sum()), dtype=bool)
    if _is_asked(settings.witnesses):
        doubted |= _at_one_time(rows.record_id[fitted], fitted, features, settings.witnesses, report)
    if _is_asked(settings.sweeps):
        doubted |= _at_many_ports(rows.record_id[fitted], fitted, features, settings.sweeps, report)
    confidence = rows.confidence.copy()
    confidence[np.flatnonzero(fitted)[doubted]] = DOUBTED
    return replace(rows, confidence=confidence)


def _is_asked(settings: DoubtSettings) -> bool:
    return settings.use == "always" or (settings.use == "unlabelled" and read_json(paths.SOURCE)["labels"] != "full")


def _at_one_time(
    record_id: NDArray[np.uint64], fitted: Mask, features: Features, settings: WitnessSettings, report: Report
) -> Mask:
    place = when(record_id, settings.apart)
    if place is None:
        report.say("no record is doubted for its time: not all have one, and they are not of several days")
        return np.zeros(len(record_id), dtype=bool)
    x = _mapped(fitted, features, features.columns)
    doubted = unwitnessed(x, *place, settings.neighbours, settings.ratio)
    return _if_few(doubted, settings, "preprocess.witnesses", "occur at one time only", report)


def _at_many_ports(
    record_id: NDArray[np.uint64], fitted: Mask, features: Features, settings: SweepSettings, report: Report
) -> Mask:
    if PORT not in raw_columns():
        return np.zeros(len(record_id), dtype=bool)
    x = _mapped(fitted, features, [name for name in features.columns if PORT not in name])
    port = values_by_id(paths.RECORDS, PORT, record_id).astype(np.float64)
    doubted = sweeping(x, port, settings.neighbours, settings.share)
    return _if_few(doubted, settings, "preprocess.sweeps", "go to a port each", report)


def _if_few(doubted: Mask, settings: DoubtSettings, section: str, what: str, report: Report) -> Mask:
    """The mask; none where it holds more than may be doubted."""
    if doubted.mean() > settings.max_share:
        report.say(
            f"no record is doubted: the like of {doubted.mean():.1%} {what}, and {section}.max_share allows "
            f"{settings.max_share:.1%}"
        )
        return np.zeros_like(doubted)
    report.say(f"{doubted.sum():,} of {len(doubted):,} benign records are doubted: their like {what}")
    return doubted


def _mapped(mask: Mask, features: Features, names: Sequence[str]) -> NDArray[np.float32]:
    """(m, f) the named features of the records under a mask."""
    parts = [features.map(columns) for columns in columns_where(mask)]
    return np.concatenate([np.stack([part[name] for name in names], axis=1) for part in parts])
