"""The scores of benign records by models that have not seen them, stored: those that set the thresholds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from pipeline.artifacts.samples import write_samples
from pipeline.base.samples import joined
from pipeline.calibration.cross_conformal import IN_EVERY_MODEL, OUT_OF_FOLD
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.folds import Folds, out_of_fold
from pipeline.stages.context_scores import scores_out_of_fold
from pipeline.stages.dealt import Dealt
from pipeline.stages.dealt_scores import doubted, scores_of_dealt
from pipeline.stages.taken import Taken


def write_out_of_fold(
    folder: Path, detectors: Sequence[Folds], dealt: Dealt, taken: Taken, context: Detector | None
) -> None:
    """Store the scores of the n benign records, by the models that have not seen them, and the fold of each.

    Args:
        folder: of the scores.
        detectors: that score them.
        dealt: the records, and the fold of each; those that every model has seen are left out. Doubted records, which
            no model has seen, come behind them.
        taken: the rows of each split that have scores.
        context: the detector of contexts, a model of each fold.
    """
    unseen = dealt[1] != IN_EVERY_MODEL
    scored, fold = scores_of_dealt(folder).select(unseen), dealt[1][unseen]
    scores = scored.x.copy()
    out_of_fold(detectors, dealt[0].x[unseen], fold, scores[:, 1 : len(detectors) + 1])
    if isinstance(context, Folds):
        scores[:, -1] = scores_out_of_fold(context, (dealt[0].select(unseen), fold))
    apart, latent = doubted(folder, taken)  # no model has seen them, so the one of their fold by route may score them
    fold = np.concatenate([fold, detectors[0].route(torch.from_numpy(latent)).numpy()])
    with_fold = np.concatenate([np.concatenate([scores, apart.x]), fold[:, None].astype(np.float32)], axis=1)
    every = joined([scored, apart])
    write_samples(folder, OUT_OF_FOLD, every.map(lambda _: with_fold, (*every.columns, "fold")))
