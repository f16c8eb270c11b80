"""Records -> features and five splits, in three passes over the row groups: assign, fit, map."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import artifacts, confidence, figures, splits
from pipeline.config import Preprocess
from pipeline.datasets.schema import ATTACKS, PROVENANCE
from pipeline.errors import SplitError
from pipeline.features import Columns, Features, Recipe, content_hash
from pipeline.stages import launch
from pipeline.stages.report import Report


@dataclass(frozen=True)
class Rows:
    """Who every record is, (n,) each; small enough to be in memory at once."""

    record_id: NDArray[np.uint64]
    y: NDArray[np.int8]
    attack: NDArray[np.object_]
    confidence: NDArray[np.float32]
    balanced: NDArray[np.bool_]
    split: NDArray[np.int8]


def preprocess(settings: Preprocess, report: Report) -> None:
    """Assign each record to a split, fit the transform on train, store every split."""
    recipe = Recipe(**settings.features.model_dump())
    rows = assign(settings, recipe)
    train = rows.split == splits.SPLITS.index("train")
    features = Features.fit(_train_columns(train), int(train.sum()), recipe)
    artifacts.write_model(artifacts.FEATURES, *features.state())
    _write_splits(rows, features)
    _report(rows, features, settings, report)


def assign(settings: Preprocess, recipe: Recipe) -> Rows:
    """First pass: the split of every record.

    Raises:
        SplitError: a split that later stages need would be empty.
    """
    record_id, attack, attempted, content = _identities(recipe)
    splits.check_unseen(settings.unseen, {*ATTACKS, *np.unique(attack.astype(str)).tolist()})
    if settings.attempted == "benign":
        attack = np.where(attempted, "benign", attack).astype(object)
    kept = ~attempted if settings.attempted == "exclude" else np.ones(len(attack), dtype=bool)
    split = np.full(len(attack), splits.LEFT_OUT, dtype=np.int8)
    shares = settings.shares.model_dump()
    split[kept] = splits.assign(attack[kept], content[kept], settings.unseen, shares, settings.duplicates, settings.seed)
    y = (attack != "benign").astype(np.int8)
    _require(split, y)
    balanced = np.zeros(len(attack), dtype=bool)
    train = np.flatnonzero(split == splits.SPLITS.index("train"))
    whole = settings.balance == "none"
    balanced[train] = True if whole else splits.balance(attack[train], settings.seed)
    initial = confidence.initial(y, splits.disagreeing(content, y))
    return Rows(record_id, y, attack, initial, balanced, split)


def _identities(recipe: Recipe) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """(n,) record ids, attack names, attempted flags and content hashes."""
    parts: list[tuple[NDArray[Any], ...]] = []
    for table in artifacts.row_groups(artifacts.RECORDS):
        attempted = table.column("attempted").fill_null(False).to_numpy()
        attack = table.column("attack").cast(pa.string()).to_numpy(zero_copy_only=False).astype(object)
        parts.append((table.column("record_id").to_numpy(), attack, attempted, content_hash(_columns(table), recipe)))
    if not parts:
        raise SplitError(f"{artifacts.RECORDS} holds no records")
    record_id, attack, attempted, content = (np.concatenate(column) for column in zip(*parts, strict=True))
    return record_id, attack, attempted, content


def _columns(table: pa.Table) -> Columns:
    return {name: table.column(name).to_numpy() for name in table.column_names if name not in PROVENANCE}


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
    for table, rows in _slices(artifacts.row_groups(artifacts.RECORDS)):
        yield {name: values[train[rows]] for name, values in _columns(table).items()}


def _write_splits(rows: Rows, features: Features) -> None:
    """Third pass: map every record, and write it to its split."""
    schema = artifacts.samples_schema(features.columns)
    with ExitStack() as stack:
        folder = stack.enter_context(artifacts.whole_folder(artifacts.PROCESSED))
        writers = [
            stack.enter_context(artifacts.TableWriter(folder / f"{name}.parquet", schema)) for name in splits.SPLITS
        ]
        for table, part in _slices(artifacts.row_groups(artifacts.RECORDS)):
            who: dict[str, Any] = {
                "record_id": rows.record_id[part],
                "y": rows.y[part],
                "attack": pa.array(rows.attack[part], pa.string()).dictionary_encode(),
                "confidence": rows.confidence[part],
                "balanced": rows.balanced[part],
            }
            mapped = pa.Table.from_pydict({**who, **features.map(_columns(table))}, schema=schema)
            for code, writer in enumerate(writers):
                writer.write(mapped.filter(pa.array(rows.split[part] == code)))


def _report(rows: Rows, features: Features, settings: Preprocess, report: Report) -> None:
    table = {name: Counter(rows.attack[rows.split == code].tolist()) for code, name in enumerate(splits.SPLITS)}
    left_out = Counter(rows.attack[rows.split == splits.LEFT_OUT].tolist())
    used = rows.split != splits.LEFT_OUT
    report.json("splits", {**{k: dict(v) for k, v in table.items()}, "left_out": dict(left_out), "columns": features.columns, "dropped": features.dropped})
    report.initial_confidence(rows.record_id[used], rows.confidence[used])
    counts = {name: dict(counter) for name, counter in table.items()}
    report.figure("splits", figures.splits(counts, subtitle=report.subtitle, unseen=settings.unseen))
    spread = np.quantile(artifacts.read_samples(artifacts.PROCESSED, "val").x, [0, 0.01, 0.25, 0.5, 0.75, 0.99, 1], axis=0)
    report.figure("feature_spread", figures.feature_spread(features.columns, spread.T, subtitle=report.subtitle))
    sizes = {f"rows.{name}": counter.total() for name, counter in table.items()}
    report.run.metrics({"features": len(features.columns), "left_out": left_out.total(), **sizes})
    digest = f"{int(np.bitwise_xor.reduce(rows.record_id[used])):016x}"
    columns = dict.fromkeys(features.columns, "float")
    report.run.dataset("records", str(artifacts.RECORDS), digest, int(used.sum()), columns, "splits")
    report.say(f"{len(features.columns)} features; " + ", ".join(f"{k} {v.total():,}" for k, v in table.items()))


if __name__ == "__main__":
    launch("preprocess", Preprocess, preprocess)
