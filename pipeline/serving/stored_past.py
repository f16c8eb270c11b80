"""The recent past of hosts of records of this project, as a model reads it: from all of them, never from a sample."""

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.contexts import Contexts, joined, read_contexts
from pipeline.base.errors import ArtifactError
from pipeline.preprocessing.splits import SPLITS
from pipeline.serving.bundle import Bundle


def scores(bundle: Bundle, ids: NDArray[np.uint64]) -> NDArray[np.float32] | None:
    """(n,) scores of the contexts of records of this project, by their ids, (n,), NaN where none is known.

    Only where preprocess stored contexts are the records known to be no sample. A model that looks back on another past
    than the stored ones has contexts of its own from the same records. None for a model that reads no contexts.

    Raises:
        ArtifactError: the stored contexts are those of other records.
    """
    past = bundle.looks_back
    if past is None:
        return None
    stored = _stored()
    if stored is None:
        return np.full(len(ids), np.nan, np.float32)
    if dict(stored.about) != past.about:
        found = past.scores_in(paths.RECORDS, ids)
        return np.full(len(ids), np.nan, np.float32) if found is None else found
    return past.scores(stored.x[_rows(stored, ids)])


def _stored() -> Contexts | None:
    """Those of all splits; None where preprocess stored none."""
    parts = [each for split in SPLITS if (each := read_contexts(paths.PROCESSED, split)) is not None]
    return joined(parts) if parts else None


def _rows(stored: Contexts, ids: NDArray[np.uint64]) -> NDArray[np.intp]:
    """(n,) where the records with these ids are."""
    order = np.argsort(stored.record_id)
    at: NDArray[np.intp] = order[np.searchsorted(stored.record_id[order], ids).clip(max=len(order) - 1)]
    if (stored.record_id[at] != ids).any():
        raise ArtifactError(f"{paths.PROCESSED}: holds the contexts of other records; run `dvc repro`")
    return at
