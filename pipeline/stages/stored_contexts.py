"""The contexts of records as preprocess stored them, for the records that stage 2 asks for."""

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.contexts import Contexts, joined, read_contexts
from pipeline.base.errors import ArtifactError
from pipeline.stages.dealt import DEALT


def contexts_of_split(split: str, record_id: NDArray[np.uint64]) -> Contexts:
    """Those of the n records of a split with these ids, (n,), in their order.

    Raises:
        ArtifactError: they are absent, or those of other records.
    """
    return _those(read_contexts(paths.PROCESSED, split), record_id)


def contexts_of_dealt(record_id: NDArray[np.uint64]) -> Contexts:
    """Those of the n benign records that are dealt into folds, by their ids, (n,), in their order.

    Raises:
        ArtifactError: they are absent, or those of other records.
    """
    parts = [read_contexts(paths.PROCESSED, split) for split in DEALT]
    return _those(joined([part for part in parts if part is not None]), record_id)


def _those(contexts: Contexts | None, record_id: NDArray[np.uint64]) -> Contexts:
    found = None if contexts is None else contexts.select(np.isin(contexts.record_id, record_id))
    if found is None or not np.array_equal(found.record_id, record_id):
        raise ArtifactError(f"{paths.PROCESSED}: holds the contexts of other records; run `dvc repro`")
    return found
