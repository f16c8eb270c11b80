"""The detector of contexts: fitted on benign ones, like the detector of stage 2."""

from typing import Final

import torch

from pipeline.artifacts import paths
from pipeline.artifacts.contexts import Contexts, path_of
from pipeline.artifacts.models import write_model
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.folds import Folds
from pipeline.settings.stage2 import Stage2
from pipeline.stages.dealt import Dealt
from pipeline.stages.detectors import builder, described
from pipeline.stages.stored_contexts import contexts_of_dealt, contexts_of_split
from pipeline.stages.taken import Taken, who

KIND: Final = "gmm"  # chosen on simulated captures that no table reports


def fit_contexts(settings: Stage2, taken: Taken, dealt: Dealt | None) -> Detector | None:
    """Fit the detector of contexts, and store it; None where the records have no context.

    Args:
        settings: of the stage.
        taken: the rows that are taken, on whose benign ones of train a single model is fitted.
        dealt: the benign records with their folds, for a model of each fold; None for a single model.

    Raises:
        ArtifactError: the contexts are those of other records.
    """
    if not path_of(paths.PROCESSED, "train").exists():
        write_model(paths.CONTEXT, {"detector": "none"}, {})
        return None
    train = who("train")
    ids = train.record_id[taken["train"] & train.trusted] if dealt is None else dealt[0].record_id
    contexts = contexts_of_split("train", ids) if dealt is None else contexts_of_dealt(ids)
    model = _fitted(settings, contexts, dealt)
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    about = {**described(settings, KIND, model, contexts.columns), **contexts.about, "usual": contexts.usual}
    write_model(paths.CONTEXT, about, weights)
    return model


def _fitted(settings: Stage2, contexts: Contexts, dealt: Dealt | None) -> Detector:
    rows, make = torch.from_numpy(contexts.x[contexts.known]), builder(settings, KIND, "context", contexts.x.shape[1])
    if dealt is None:
        model = make()
        model.fit(rows)
    else:
        fold = torch.from_numpy(dealt[1][contexts.known])
        model = Folds.fitted(make, rows, fold, rows[:0], fold[:0], settings.calibration.seed)
    model.verify(rows)
    return model
