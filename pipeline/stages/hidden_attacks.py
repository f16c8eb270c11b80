"""Doubts benign records of the splits that models are fitted on, where they may be hidden attacks."""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.artifacts.labels import DISMISSED
from pipeline.preprocessing import splits
from pipeline.preprocessing.assignment import Rows
from pipeline.preprocessing.features import Features
from pipeline.settings.preprocess import DoubtSettings, Preprocess
from pipeline.stages import analysts
from pipeline.stages.doubt_rules import alike_at_many_ports, alike_at_one_time
from pipeline.stages.reports.report import Report

FITTED: Final = ("train", "val", "calibration")
DOUBTED: Final = -1.0  # the confidence of a record that is labelled benign, and taken for an attack


def with_doubts(rows: Rows, features: Features, settings: Preprocess, report: Report) -> Rows:
    """The same rows, with a confidence of -1 where the like of a record occur at one time only, or go to a port each.

    Test records are not looked at, so that none changes what models are fitted on. Nor are alerts that an analyst has
    dismissed: they are surely benign, and often have no time.
    """
    fitted = np.isin(rows.split, [splits.SPLITS.index(name) for name in FITTED]) & (rows.y == 0)
    fitted &= ~np.isin(rows.record_id, analysts.ids_of(DISMISSED))
    doubted = np.zeros(int(fitted.sum()), dtype=bool)
    if fitted.any() and _is_asked(settings.witnesses):
        found = alike_at_one_time(rows.record_id, fitted, features, settings.witnesses, report)
        doubted |= _if_few(found, settings.witnesses, "preprocess.witnesses", "occur at one time only", report)
    if fitted.any() and _is_asked(settings.sweeps):
        found = alike_at_many_ports(rows.record_id, fitted, features, settings.sweeps)
        doubted |= _if_few(found, settings.sweeps, "preprocess.sweeps", "go to a port each", report)
    confidence = rows.confidence.copy()
    confidence[np.flatnonzero(fitted)[doubted]] = DOUBTED
    return replace(rows, confidence=confidence)


def _is_asked(settings: DoubtSettings) -> bool:
    return settings.use == "always" or (settings.use == "unlabelled" and read_json(paths.SOURCE)["labels"] != "full")


def _if_few(
    doubted: NDArray[np.bool_] | None, settings: DoubtSettings, section: str, what: str, report: Report
) -> NDArray[np.bool_]:
    """The mask; nothing where there is none, or more than may be doubted."""
    if doubted is None:
        return np.zeros(1, dtype=bool)
    few: bool = (share := float(doubted.mean())) <= settings.max_share
    none = f"no record is doubted: the like of {share:.1%} {what}, {section}.max_share is {settings.max_share:.1%}"
    report.say(f"{doubted.sum():,} of {len(doubted):,} benign records are doubted: their like {what}" if few else none)
    return doubted if few else np.zeros(1, dtype=bool)
