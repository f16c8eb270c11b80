"""Which benign test records have a label that validate doubts."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.tables import read_table
from pipeline.base.samples import Samples


def doubted_of_benign(tests: Iterable[Samples]) -> NDArray[np.bool_] | None:
    """(n,) mask of the benign records of all tests; None where validate doubts no label, or has not run."""
    if not paths.DOUBTED.exists():
        return None
    doubted = read_table(paths.DOUBTED, ["record_id"]).column("record_id").to_numpy()
    if not len(doubted):
        return None
    return np.concatenate([np.isin(samples.record_id[samples.benign], doubted) for samples in tests])
