"""Doubts benign records of the splits that models are fitted on, where their like occur at one time only."""

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
from pipeline.preprocessing.witnesses import unwitnessed
from pipeline.settings.preprocess import WitnessSettings
from pipeline.stages import analysts
from pipeline.stages.records import columns_where
from pipeline.stages.reports.report import Report
from pipeline.stages.when import when

FITTED: Final = ("train", "val", "calibration")
DOUBTED: Final = -1.0  # the confidence of a record that is labelled benign, and taken for an attack


def with_doubts(rows: Rows, features: Features, settings: WitnessSettings, report: Report) -> Rows:
    """The same rows, those with a confidence of -1 whose like occur at one time only.

    Test records are not looked at, so that none changes what models are fitted on. Nor are alerts that an analyst has
    dismissed: they are surely benign, and often have no time.
    """
    if settings.use == "never" or (settings.use == "unlabelled" and read_json(paths.SOURCE)["labels"] == "full"):
        return rows
    fitted = np.isin(rows.split, [splits.SPLITS.index(name) for name in FITTED]) & (rows.y == 0)
    fitted &= ~np.isin(rows.record_id, analysts.ids_of(DISMISSED))
    place = when(rows.record_id[fitted], settings.apart)
    if place is None:
        report.say("no record is doubted: not all have a time, and they are not of several days")
        return rows
    doubted = unwitnessed(_mapped(fitted, features), *place, settings.neighbours, settings.ratio)
    if doubted.mean() > settings.max_share:
        report.say(
            f"no record is doubted: the like of {doubted.mean():.1%} occur at one time only, and "
            f"preprocess.witnesses.max_share allows {settings.max_share:.1%}; so these records do not repeat themselves"
        )
        return rows
    report.say(f"{doubted.sum():,} of {len(doubted):,} benign records are doubted: their like occur at one time only")
    confidence = rows.confidence.copy()
    confidence[np.flatnonzero(fitted)[doubted]] = DOUBTED
    return replace(rows, confidence=confidence)


def _mapped(mask: NDArray[np.bool_], features: Features) -> NDArray[np.float32]:
    """(m, F) features of the records under a mask."""
    parts = [features.map(columns) for columns in columns_where(mask)]
    return np.concatenate([np.stack([part[name] for name in features.columns], axis=1) for part in parts])
