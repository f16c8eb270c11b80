"""The contexts of records as preprocess stored them, for the records that stage 2 asks for."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.contexts import Contexts, context_groups, joined, read_contexts
from pipeline.artifacts.tables import are_among
from pipeline.base.errors import ArtifactError
from pipeline.stages.dealt import DEALT


def contexts_of_split(split: str, record_id: NDArray[np.uint64]) -> Contexts:
    """Those of the n records of a split with these ids, (n,), in their order.

    Raises:
        ArtifactError: they are absent, or those of other records.
    """
    return _those(read_contexts(paths.PROCESSED, split, record_id), record_id)


def contexts_in_parts(split: str, record_id: NDArray[np.uint64]) -> Iterator[Contexts]:
    """As ``contexts_of_split``, a row group at a time.

    Raises:
        ArtifactError: they are absent, or those of other records.
    """
    wanted, start = np.sort(record_id), 0
    for group in context_groups(paths.PROCESSED, split):
        ids = group.record_id[are_among(group.record_id, wanted)]
        yield _those(group, record_id[start : (start := start + len(ids))])
    if start < len(record_id):
        raise _of_others()


def contexts_of_dealt(record_id: NDArray[np.uint64]) -> Contexts:
    """Those of the n benign records that are dealt into folds, by their ids, (n,), in their order.

    Raises:
        ArtifactError: they are absent, or those of other records.
    """
    parts = [read_contexts(paths.PROCESSED, split, record_id) for split in DEALT]
    return _those(joined([part for part in parts if part is not None]), record_id)


def _those(contexts: Contexts | None, record_id: NDArray[np.uint64]) -> Contexts:
    found = None if contexts is None else contexts.select(np.isin(contexts.record_id, record_id))
    if found is None or not np.array_equal(found.record_id, record_id):
        raise _of_others()
    return found


def _of_others() -> ArtifactError:
    return ArtifactError(f"{paths.PROCESSED}: holds the contexts of other records; run `dvc repro`")
