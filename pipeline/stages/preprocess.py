"""Records -> features and five splits, in three passes over the row groups: assign, fit, map."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline import artifacts
from pipeline.base.errors import DataError, SplitError
from pipeline.base.parallel import in_order
from pipeline.calibration import confidence
from pipeline.datasets.schema import FEATURE_NAMES, PROVENANCE
from pipeline.datasets.vocabulary import VOCABULARY
from pipeline.preprocessing import splits
from pipeline.preprocessing.features import Columns, Features, Recipe, content_hash
from pipeline.reporting.figures.records import feature_spread
from pipeline.reporting.figures.records import splits as draw_splits
from pipeline.settings.preprocess import Preprocess
from pipeline.stages import launch
from pipeline.stages.reports import floor
from pipeline.stages.reports.report import Report, shares

FLOOR_ROWS = 20_000  # of each class at most that the best single feature is chosen on
SPREAD_ROWS = 20_000  # rows at most that the figure of the spread is drawn from


@dataclass(frozen=True)
class Rows:
    """Who every record is, (n,) each; small enough to be in memory at once.

    A ``hidden`` record is an attack that stands among the benign train rows: its y is 0, ``attack`` its true name.
    """

    record_id: NDArray[np.uint64]
    y: NDArray[np.int8]
    attack: NDArray[np.object_]
    confidence: NDArray[np.float32]
    balanced: NDArray[np.bool_]
    split: NDArray[np.int8]
    hidden: NDArray[np.bool_]


def preprocess(settings: Preprocess, report: Report) -> None:
    """Assign each record to a split, fit the transform on train, store every split."""
    recipe, passed_over = Recipe.of(settings.features).within(_raw_columns(), FEATURE_NAMES)
    rows = assign(settings, recipe)
    train = rows.split == splits.SPLITS.index("train")
    features = Features.fit(_train_columns(train), int(train.sum()), recipe)
    if settings.features.fit_on == "benign":
        benign, every = train & (rows.y == 0), replace(recipe, drop_constant=False)
        features = features.scaled_as(Features.fit(_train_columns(benign), int(benign.sum()), every))
    artifacts.write_model(artifacts.FEATURES, *features.state())
    _write_splits(rows, features)
    _report(rows, features, settings, passed_over, report)


def assign(settings: Preprocess, recipe: Recipe) -> Rows:
    """First pass: the split of every record.

    Raises:
        SplitError: a split that later stages need would be empty.
    """
    record_id, attack, attempted, day, content = _identities(recipe)
    for setting, names in (("unseen", settings.unseen), ("contamination.attacks", settings.contamination.attacks)):
        splits.check_attacks(f"preprocess.{setting}", names, {*VOCABULARY, *attack})
    if settings.attempted == "benign":
        attack[attempted] = "benign"
    kept = ~attempted if settings.attempted == "exclude" else np.ones(len(attack), dtype=bool)
    split = np.full(len(attack), splits.LEFT_OUT, dtype=np.int8)
    how: dict[str, Any] = {"duplicates": settings.duplicates, "seed": settings.seed}
    draw = (settings.unseen, asdict(settings.shares))
    if settings.test_days:
        split[kept] = splits.assign_by_day(attack[kept], content[kept], day[kept], settings.test_days, *draw, **how)
    else:
        split[kept] = splits.assign(attack[kept], content[kept], *draw, **how)
    hidden, split = _hide(settings, attack, content, split)
    y = ((attack != "benign") & ~hidden).astype(np.int8)
    _require(split, y)
    balanced = np.zeros(len(attack), dtype=bool)
    train = np.flatnonzero(split == splits.SPLITS.index("train"))
    labelled = np.where(hidden, "benign", attack)  # what the labels of train say
    whole = settings.balance == "none"
    balanced[train] = True if whole else splits.balance(labelled[train], settings.seed)
    told = np.where(np.isin(content, content[hidden]), 0, y)  # a copy that is in no split contradicts nothing
    initial = confidence.initial(y, splits.disagreeing(content, told))
    return Rows(record_id, y, attack, initial, balanced, split, hidden)


def _hide(
    settings: Preprocess, attack: NDArray[np.object_], content: NDArray[np.uint64], split: NDArray[np.int8]
) -> tuple[NDArray[np.bool_], NDArray[np.int8]]:
    """Mask of the attacks that contaminate the benign train rows, and the splits after that."""
    asked = settings.contamination
    if not asked.share:
        return np.zeros(len(attack), dtype=bool), split
    names = asked.attacks or sorted(set(attack) - {"benign", *settings.unseen})
    return splits.contaminate(attack, content, split, names, asked.share, asked.seed)


def _identities(recipe: Recipe) -> tuple[NDArray[Any], ...]:
    """(n,) record ids, attack names, attempted flags, weekdays and content hashes."""
    names = _raw_columns()

    def identity(table: pa.Table) -> tuple[NDArray[Any], ...]:
        attempted = table.column("attempted").fill_null(False).to_numpy()
        content = content_hash(_columns(table, names), recipe)
        attack, day = (artifacts.strings(table.column(name)) for name in ("attack", "day"))
        return table.column("record_id").to_numpy(), attack, attempted, day, content

    tables = artifacts.row_groups(artifacts.RECORDS, ["record_id", "attack", "attempted", "day", *names])
    parts = list(in_order(identity, tables))
    if not any(len(record_id) for record_id, *_ in parts):
        raise DataError(f"{artifacts.RECORDS}: holds no records; run ingest on a source that does")
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def _raw_columns() -> list[str]:
    return [name for name in artifacts.column_names(artifacts.RECORDS) if name not in PROVENANCE]


def _columns(table: pa.Table, names: Sequence[str]) -> Columns:
    columns = {name: table.column(name) for name in names}
    return {
        name: artifacts.strings(column) if pa.types.is_dictionary(column.type) else column.to_numpy()
        for name, column in columns.items()
    }


def _require(split: NDArray[np.int8], y: NDArray[np.int8]) -> None:
    for name, label in (("train", 0), ("train", 1), ("val", 0), ("val", 1), ("calibration", 0)):
        if not ((split == splits.SPLITS.index(name)) & (y == label)).any():
            kind = "attack" if label else "benign"
            raise SplitError(
                f"split {name!r} would have no {kind} record; ingest more, or raise preprocess.shares.{name}"
            )


def _slices(n_rows: Iterator[pa.Table]) -> Iterator[tuple[pa.Table, slice]]:
    start = 0
    for table in n_rows:
        yield table, slice(start, start + table.num_rows)
        start += table.num_rows


def _train_columns(train: NDArray[np.bool_]) -> Iterator[Columns]:
    """Second pass: the raw columns of the train rows."""
    names = _raw_columns()
    for table, rows in _slices(artifacts.row_groups(artifacts.RECORDS, names)):
        yield {name: values[train[rows]] for name, values in _columns(table, names).items()}


def _write_splits(rows: Rows, features: Features) -> None:
    """Third pass: map every record, and write it to its split."""
    schema = artifacts.samples_schema(features.columns)
    tables = _slices(artifacts.row_groups(artifacts.RECORDS, features.reads))
    with ExitStack() as stack:
        folder = stack.enter_context(artifacts.whole_folder(artifacts.PROCESSED))
        writers = [
            stack.enter_context(artifacts.TableWriter(folder / f"{name}.parquet", schema)) for name in splits.SPLITS
        ]
        for parts in in_order(lambda part: _mapped(*part, rows, features, schema), tables):
            for writer, part in zip(writers, parts, strict=True):
                writer.write(part)


def _mapped(table: pa.Table, part: slice, rows: Rows, features: Features, schema: pa.Schema) -> list[pa.Table]:
    """The samples of a row group, apart for each split."""
    who: dict[str, Any] = {
        "record_id": rows.record_id[part],
        "y": rows.y[part],
        "attack": pa.array(rows.attack[part], pa.string()).dictionary_encode(),
        "confidence": rows.confidence[part],
        "balanced": rows.balanced[part],
    }
    x = features.map(_columns(table, features.reads))
    mapped = pa.Table.from_pydict({**who, **x}, schema=schema)
    return [mapped.take(pa.array(np.flatnonzero(rows.split[part] == code))) for code in range(len(splits.SPLITS))]


def _report(rows: Rows, features: Features, settings: Preprocess, passed_over: tuple[str, ...], report: Report) -> None:
    counts = {name: _counts(rows.attack[rows.split == code]) for code, name in enumerate(splits.SPLITS)}
    left_out = _counts(rows.attack[rows.split == splits.LEFT_OUT])
    used = rows.split != splits.LEFT_OUT
    hidden = _counts(rows.attack[rows.hidden])
    present = set(left_out).union(*counts.values())
    unseen = [name for name in settings.unseen if name in present]
    passed_over += tuple(name for name in settings.unseen if name not in present)
    kept = {"columns": features.columns, "dropped": features.dropped, "passed_over": passed_over}
    report.json("splits", {**counts, "left_out": left_out, "hidden": hidden, **kept})
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
    report.run.dataset("records", str(artifacts.RECORDS), digest, int(used.sum()), columns, "splits")
    told = ", ".join(f"{name} {counter.total():,}" for name, counter in counts.items())
    report.say(f"{len(features.columns)} features; {told}" + (f"; hidden {hidden.total():,}" if hidden else ""))
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
    table = artifacts.read_table(artifacts.PROCESSED / f"{split}.parquet", ["y", column])
    return table.column("y").to_numpy(), table.column(column).to_numpy()


def _features_at(split: str, columns: Sequence[str], at: NDArray[np.intp]) -> NDArray[np.float32]:
    """(k, F) features of the rows ``at`` of a split, in ascending order, a row group in memory at a time."""
    parts = [np.empty((0, len(columns)), np.float32)]
    for table, rows in _slices(artifacts.row_groups(artifacts.PROCESSED / f"{split}.parquet", columns)):
        inside = at[np.searchsorted(at, rows.start) : np.searchsorted(at, rows.stop)] - rows.start
        parts.append(np.stack([table.column(name).to_numpy()[inside] for name in columns], axis=1))
    return np.concatenate(parts)


def _counts(attack: NDArray[np.object_]) -> Counter[str]:
    counts = pd.Series(attack, dtype=object).value_counts()
    return Counter(dict(zip(map(str, counts.index), counts.tolist(), strict=True)))


def _spread(columns: Sequence[str], subtitle: str) -> Figure:
    """Quantiles of each feature over validation rows."""
    x = artifacts.read_samples(artifacts.PROCESSED, "val").x
    x = np.ascontiguousarray(x[:: -(-len(x) // SPREAD_ROWS)].T)  # (F, rows)
    quantiles = np.quantile(x, [0, 0.01, 0.25, 0.5, 0.75, 0.99, 1], axis=1, overwrite_input=True)
    return feature_spread(columns, quantiles.T, subtitle=subtitle)


if __name__ == "__main__":
    launch("preprocess", Preprocess, preprocess)
