"""The score of the recent past of hosts, of the records of each split."""

from typing import cast

import numpy as np
from numpy.typing import NDArray

from pipeline.models.arrays.folds import FoldsForm
from pipeline.models.arrays.parts import scored_where_known
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.closed_form import ClosedForm
from pipeline.models.detectors.folds import Folds
from pipeline.stages.dealt import Dealt
from pipeline.stages.stored_contexts import contexts_in_parts, contexts_of_dealt


def scores_of(model: Detector, split: str, record_id: NDArray[np.uint64]) -> NDArray[np.float32]:
    """(n,) scores of the contexts of records of a split, (n,), NaN where a record has none.

    Raises:
        ArtifactError: the contexts are absent, or those of other records.
    """
    score, parts = cast(ClosedForm, model).form.scores, contexts_in_parts(split, record_id)
    return np.concatenate([np.zeros(0, np.float32), *(scored_where_known(score, part.x) for part in parts)])


def scores_out_of_fold(model: Folds, dealt: Dealt) -> NDArray[np.float32]:
    """(n,) scores of the contexts of the benign records, each by the model of its fold.

    Raises:
        ArtifactError: the contexts are absent, or those of other records.
    """
    contexts = contexts_of_dealt(dealt[0].record_id)
    form, fold = cast(FoldsForm, model.form), dealt[1][contexts.known]
    return scored_where_known(lambda x: form.by_fold(x, fold), contexts.x)
