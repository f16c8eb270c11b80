"""Records -> features and five splits, in three passes over the row groups: assign, fit, map."""

from dataclasses import asdict, replace

import numpy as np

from pipeline.artifacts import paths
from pipeline.artifacts.models import write_model
from pipeline.calibration import confidence
from pipeline.datasets.schema import FEATURE_NAMES
from pipeline.datasets.vocabulary import VOCABULARY
from pipeline.preprocessing import assignment, splits, verdicts
from pipeline.preprocessing.features import Features
from pipeline.preprocessing.recipe import Recipe
from pipeline.settings.preprocess import Preprocess
from pipeline.stages import analysts, frame
from pipeline.stages.contexts import contexts_of
from pipeline.stages.hidden_attacks import with_doubts
from pipeline.stages.records import identities, raw_columns
from pipeline.stages.reports.preprocess import write_reports
from pipeline.stages.reports.report import Report
from pipeline.stages.some_rows import fitted
from pipeline.stages.split_files import write_splits


def preprocess(settings: Preprocess, report: Report) -> None:
    """Assign each record to a split, fit the transform on train, store every split."""
    recipe, passed_over = Recipe.of(settings.features).within(raw_columns(), FEATURE_NAMES)
    rows, learnt, in_order = _assign(settings, recipe)
    rows = with_doubts(rows, features := _fit(rows, recipe, settings.features.fit_on), settings, report)
    write_model(paths.FEATURES, *features.state())
    write_splits(rows, features, contexts_of(rows, settings.context, in_order, report))
    write_reports(rows, features, settings, passed_over, learnt, report)


def _assign(settings: Preprocess, recipe: Recipe) -> tuple[assignment.Rows, verdicts.Learnt | None, bool]:
    """The rows with their splits, what became of the labels of analysts, and whether the splits follow time."""
    records, appended = identities(recipe).presumed().cut(analysts.appended())
    for setting, names in (("unseen", settings.unseen), ("contamination.attacks", settings.contamination.attacks)):
        splits.check_attacks(f"preprocess.{setting}", names, {*VOCABULARY, *records.attack})
    records = records.without_attempts() if settings.attempted == "benign" else records
    kept = ~records.attempted if settings.attempted == "exclude" else np.ones(len(records.attack), dtype=bool)
    draw, order, seed = (settings.unseen, asdict(settings.shares), settings.test_days), settings.split, settings.seed
    split = assignment.assign(records, kept, *draw, order=order, duplicates=settings.duplicates, seed=seed)
    hidden, split = assignment.hide(records, split, settings.unseen, **asdict(settings.contamination))
    rows = assignment.label(records, split, hidden, balance=settings.balance, seed=seed, initial=confidence.initial)
    learnt = verdicts.learn(rows, records, appended, analysts.attacks(), settings.duplicates == "keep")
    return *learnt, records.in_order(order, settings.unseen)


def _fit(rows: assignment.Rows, recipe: Recipe, fit_on: str) -> Features:
    train = rows.split == splits.SPLITS.index("train")
    features = fitted(train, recipe)
    if fit_on == "benign":
        features = features.scaled_as(fitted(train & (rows.y == 0), replace(recipe, drop_constant=False)))
    return features


if __name__ == "__main__":
    frame.launch("preprocess", Preprocess, preprocess)
