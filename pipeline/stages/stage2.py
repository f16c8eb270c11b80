"""Latent -> score: a detector trained on the benign latents, higher where a record is more anomalous."""

import torch

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.artifacts.latents import latent_columns
from pipeline.artifacts.samples import read_samples
from pipeline.calibration.cross_conformal import OUT_OF_FOLD
from pipeline.models.training.bulk import device_of
from pipeline.models.training.given import refuse_idle
from pipeline.settings.stage2 import Stage2
from pipeline.stages.context_model import fit_contexts
from pipeline.stages.detectors import builder, keep_no_head
from pipeline.stages.fitting import fit_folds, fit_one
from pipeline.stages.folds import dealt_or_held_out
from pipeline.stages.ranks import launch, trained_or_alone
from pipeline.stages.reports.report import Report
from pipeline.stages.reports.stage2 import say_no_head, write_reports
from pipeline.stages.roles import roles
from pipeline.stages.scores_of_splits import stored_scores
from pipeline.stages.taken import who
from pipeline.stages.unlabelled import of_labels
from pipeline.stages.unseen_scores import write_out_of_fold


def stage2(settings: Stage2, report: Report) -> None:
    """Train the detector on the train rows that it wants, then score every split."""
    asked, settings = settings, of_labels(settings, read_json(paths.SOURCE))
    if settings != asked:
        report.say(f"no record has a label: {settings.detector} is fitted in place of {asked.detector}")
    models = roles(settings, attacks=not who("train").benign.all())
    torch.manual_seed(settings.fit.seed)  # of the starting weights, so that a killed stage goes on with its own
    detector = builder(settings, settings.detector, "detector", len(latent_columns("train")))()
    trained_or_alone(detector, settings.fit, report)
    refuse_idle(settings.confidence.initial, detector, "stage2")
    taken, dealt = dealt_or_held_out(settings, detector, report)
    device = device_of(settings.fit.device)
    if dealt is None:
        fitted, epoch = fit_one(settings, models, detector, taken, report)
        context = fit_contexts(settings, taken, dealt)
        with stored_scores(fitted, device, taken, context):
            pass
    else:
        folds, epoch = fit_folds(settings, models, taken, dealt, report), 0
        context = fit_contexts(settings, taken, dealt)
        with stored_scores(folds, device, taken, context) as folder:
            write_out_of_fold(folder, folds, dealt, taken, context)
    if "head" not in models:
        keep_no_head()
        say_no_head(settings.head, report)
    write_reports(epoch, read_samples(paths.SCORES, "calibration" if dealt is None else OUT_OF_FOLD), report)


if __name__ == "__main__":
    launch("stage2", Stage2, stage2)
