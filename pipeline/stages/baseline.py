"""The trivial baseline beside each section of metrics.json: the best single feature, chosen on val."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.samples import columns_of_x
from pipeline.artifacts.tables import read_table
from pipeline.evaluation import single_feature
from pipeline.evaluation.deployed import SECTIONS


def with_baseline(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each section with ``one_feature``: what the feature finds there that is best on val; one is in memory at a time.

    It is None where val lacks attacks or benign records.
    """
    names = columns_of_x(paths.PROCESSED / "val.parquet")
    best = single_feature.best_feature(_values("val", "y"), ((name, _values("val", name)) for name in names))
    return {name: {**section, "one_feature": best and _on(best, SECTIONS[name])} for name, section in found.items()}


def _on(feature: single_feature.Feature, split: str) -> dict[str, Any]:
    return single_feature.one_feature(feature, _values(split, "y"), _values(split, feature.name))


def _values(split: str, column: str) -> NDArray[Any]:
    """(n,) values of one column of a split."""
    return np.asarray(read_table(paths.PROCESSED / f"{split}.parquet", [column]).column(0).to_numpy())
