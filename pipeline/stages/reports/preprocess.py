"""The reports of preprocess: the classes in each split, the spread of each feature, and the best single feature."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.samples import read_samples
from pipeline.artifacts.tables import read_table, row_groups, with_slices
from pipeline.preprocessing import splits
from pipeline.preprocessing.assignment import Rows
from pipeline.preprocessing.features import Features
from pipeline.preprocessing.verdicts import Learnt
from pipeline.reporting.figures.records import feature_spread
from pipeline.reporting.figures.records import splits as draw_splits
from pipeline.settings.preprocess import Preprocess
from pipeline.stages.reports import floor
from pipeline.stages.reports.report import Report, shares

FLOOR_ROWS = 20_000  # of each class at most that the best single feature is chosen on
SPREAD_ROWS = 20_000  # rows at most that the figure of the spread is drawn from


def write_reports(
    rows: Rows,
    features: Features,
    settings: Preprocess,
    passed_over: tuple[str, ...],
    learnt: Learnt | None,
    report: Report,
) -> None:
    """Write them.

    Args:
        rows: every record with its split and label.
        features: the fitted transform.
        settings: of the stage.
        passed_over: columns that the settings name and the records lack.
        learnt: what became of the labels of analysts; None where there are none.
        report: of the stage.
    """
    counts = {name: _counts(rows.attack[rows.split == code]) for code, name in enumerate(splits.SPLITS)}
    left_out = _counts(rows.attack[rows.split == splits.LEFT_OUT])
    used = rows.split != splits.LEFT_OUT
    hidden = _counts(rows.attack[rows.hidden])
    present = set(left_out).union(*counts.values())
    unseen = [name for name in settings.unseen if name in present]
    passed_over += tuple(name for name in settings.unseen if name not in present)
    kept = {"columns": features.columns, "dropped": features.dropped, "passed_over": passed_over}
    labelled = {} if learnt is None else {"labels_of_analysts": asdict(learnt)}
    report.json("splits", {**counts, "left_out": left_out, "hidden": hidden, **kept, **labelled})
    report.initial_confidence(rows.record_id[used], rows.confidence[used])
    report.json("confidence_intervals_epoch_0", {name: shares(counter) for name, counter in counts.items()})
    _floor(rows, features.columns, settings.seed, report)
    contamination = f"; {hidden.total():,} attacks of train are labelled benign" if hidden else ""
    report.figure("splits", draw_splits(counts, subtitle=report.subtitle + contamination, unseen=unseen))
    report.figure("feature_spread", _spread(features.columns, report.subtitle))
    sizes = {f"rows.{name}": counter.total() for name, counter in counts.items()}
    others = {"features": len(features.columns), "left_out": left_out.total(), "hidden": hidden.total()}
    report.run.metrics({**others, **sizes})
    digest = f"{int(np.bitwise_xor.reduce(rows.record_id[used])):016x}"
    columns = dict.fromkeys(features.columns, "float")
    report.run.dataset("records", str(paths.RECORDS), digest, int(used.sum()), columns, "splits")
    shown = ", ".join(f"{name} {counter.total():,}" for name, counter in counts.items())
    report.say(f"{len(features.columns)} features; {shown}" + (f"; hidden {hidden.total():,}" if hidden else ""))
    for sentence in learnt.sentences(unseen) if learnt else ():
        report.say(sentence)
    if passed_over:
        report.say(f"passed over, as these records have none of it: {', '.join(passed_over)}")


def _floor(rows: Rows, columns: Sequence[str], seed: int, report: Report) -> None:
    """The best single feature at each level: chosen on train, its threshold set on calibration, judged on val.

    The labels of train are those that a model sees: a hidden attack counts as benign there. No test split is read.
    """
    train = rows.split == splits.SPLITS.index("train")
    y = rows.y[train]
    at = np.sort(np.concatenate([floor.up_to(y == label, FLOOR_ROWS, seed) for label in (0, 1)]))
    best = floor.strongest(y[at], _features_at("train", columns, at), columns)
    for level, single in best.items():
        (calibration, cut_on), (y, values) = (_labelled(split, single.name) for split in ("calibration", "val"))
        beside = {"chosen_on": f"{len(at):,} train records", "judged_on": "val"}
        floor.judge(level, single, cut_on[calibration == 0], y, values, report, **beside)


def _labelled(split: str, column: str) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(n,) labels and (n,) values of one feature of a split."""
    table = read_table(paths.PROCESSED / f"{split}.parquet", ["y", column])
    return table.column("y").to_numpy(), table.column(column).to_numpy()


def _features_at(split: str, columns: Sequence[str], at: NDArray[np.intp]) -> NDArray[np.float32]:
    """(k, F) features of the rows ``at`` of a split, in ascending order, a row group in memory at a time."""
    parts = [np.empty((0, len(columns)), np.float32)]
    for table, rows in with_slices(row_groups(paths.PROCESSED / f"{split}.parquet", columns)):
        inside = at[np.searchsorted(at, rows.start) : np.searchsorted(at, rows.stop)] - rows.start
        parts.append(np.stack([table.column(name).to_numpy()[inside] for name in columns], axis=1))
    return np.concatenate(parts)


def _counts(attack: NDArray[np.object_]) -> Counter[str]:
    counts = pd.Series(attack, dtype=object).value_counts()
    return Counter(dict(zip(map(str, counts.index), counts.tolist(), strict=True)))


def _spread(columns: Sequence[str], subtitle: str) -> Figure:
    """Quantiles of each feature over validation rows."""
    x = read_samples(paths.PROCESSED, "val").x
    x = np.ascontiguousarray(x[:: -(-len(x) // SPREAD_ROWS)].T)  # (F, rows)
    quantiles = np.quantile(x, [0, 0.01, 0.25, 0.5, 0.75, 0.99, 1], axis=1, overwrite_input=True)
    return feature_spread(columns, quantiles.T, subtitle=subtitle)
