"""AUROC of every registered detector on the tables of ADBench.

    python -m benchmarks.adbench ../shared/data/adbench --seeds 3

After Han, Hu, Huang, Jiang, Zhao, "ADBench: Anomaly Detection Benchmark", 2022: 70 % of the rows train and 30 % test,
stratified, drawn by seed. Three settings:

unsupervised
    all training rows, attacks among them, without labels: ADBench's unsupervised setting.
one_class
    the benign training rows: what novelty detection assumes.
supervised
    all training rows with labels, for the detectors that train on attacks too: what labels are worth, not a rival.
    They are measured in no other setting.

Where this differs from ADBench: features are standardised by the training rows (there: min-max); of a larger table
``--rows`` training rows are drawn, stratified, and every test row is kept (there: 10,000 rows before the split); small
tables are not filled up with copies of their rows, which would stand on both sides of the split.

Where a table has no labels, stage 2 fits ``robust`` in place of the shipped ``ensemble``: see ``stage2.unlabelled``.

No setting was chosen on these tables. Detectors have the settings of the section ``stage2`` of ``params.yaml``, its
``fit`` among them, but for epochs, steps and batches, which are the same few for all that are trained. A fifth of the
training rows, without labels, chooses the best epoch. RADON and GRAnD train with the confidence updates of
``params.yaml``, or without them (``--no-updates``). No label is watched, so that an update is undone by what this fifth
looks like. A cell is the mean over seeds
in percent, ± one standard deviation; * marks a detector that ``verify`` refuses on the test rows in any seed. One that
gives all of them the same score ranks nothing, and has no AUROC: its cell says ``one score``, and its mean too.
"""

import argparse
import inspect
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from benchmarks.published import fit_settings, shipped, updates
from pipeline.base.errors import CollapseError
from pipeline.base.registry import build
from pipeline.evaluation.metrics import auroc
from pipeline.models.base import Batch
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.registry import DETECTORS
from pipeline.models.scoring import ROWS_AT_ONCE, in_batches
from pipeline.models.training import FitSettings, History, fit

SETTINGS = ("unsupervised", "one_class", "supervised")
ONE_SCORE = "one score"
VAL_SHARE = 0.2

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """One drawing of a table: standardised rows, labels 1 for an attack."""

    x_train: Floats
    y_train: Labels
    x_test: Floats
    y_test: Labels


@dataclass(frozen=True)
class Result:
    """One detector on one split.

    Attributes:
        auroc: on the test rows; None where all of them have the same score.
        collapse: what ``verify`` says against it, if anything.
        seconds: of fit and score together.
        learnt: what its training says of itself; None for a closed form.
    """

    auroc: float | None
    collapse: str | None
    seconds: float
    learnt: "Learnt | None" = None


@dataclass(frozen=True)
class Learnt:
    """The epoch whose weights are kept, how many epochs there were, and the updates on which these weights trained.

    Attributes:
        kept: counted from 0.
        epochs: how many.
        seen: confidence updates on which the kept weights have trained.
        undone: updates that were taken back.
    """

    kept: int
    epochs: int
    seen: int
    undone: int


def read(path: Path) -> tuple[NDArray[np.float64], Labels]:
    """X (n, F) and y (n,) of a table."""
    with np.load(path, allow_pickle=False) as table:
        return table["X"].astype(np.float64), table["y"].astype(np.int64)


def split(x: NDArray[np.float64], y: Labels, seed: int, rows: int) -> Split:
    """70/30, stratified; at most ``rows`` training rows."""
    train, test = train_test_split(np.arange(len(y)), test_size=0.3, stratify=y, random_state=seed)
    if len(train) > rows:
        train, _ = train_test_split(train, train_size=rows, stratify=y[train], random_state=seed)
    mean, scale = x[train].mean(0), x[train].std(0)
    z = ((x - mean) / np.where(scale > 0, scale, 1)).astype(np.float32)
    return Split(z[train], y[train], z[test], y[test])


def measure(name: str, setting: str, data: Split, seed: int, training: FitSettings, updated: bool) -> Result:
    """Fit on the training rows of a setting, score the test rows.

    Raises:
        ValueError: the detector learns from labels, and the setting has none, or the other way round.
    """
    if not names_of(setting, [name]):
        raise ValueError(f"{name} trains on {DETECTORS[name].trains_on} rows, and is not measured {setting}")
    start = time.perf_counter()
    detector, history = _fitted(name, setting, data, seed, training, updated)
    score = in_batches(detector.score, data.x_test, ROWS_AT_ONCE, "cpu")
    seconds = time.perf_counter() - start
    try:
        detector.verify(torch.from_numpy(data.x_test))
        collapse = None
    except CollapseError as error:
        collapse = str(error)
    usable = np.nan_to_num(score, nan=0.0)  # a broken score ranks nothing; verify has named it
    ranks = len(np.unique(usable)) > 1
    area = float(auroc(data.y_test, usable) or 0.0) if ranks else None
    learnt = Learnt(history.best_epoch, len(history.rows), history.updates_seen, len(history.undone))
    return Result(area, collapse, seconds, learnt if history.rows else None)


def _fitted(
    name: str, setting: str, data: Split, seed: int, training: FitSettings, updated: bool
) -> tuple[Detector, History]:
    keep = data.y_train == 0 if setting == "one_class" else np.ones(len(data.y_train), bool)
    x, labels = torch.from_numpy(data.x_train[keep]), torch.from_numpy(data.y_train[keep])
    y = labels if setting == "supervised" else torch.zeros_like(labels)
    seeded = {"seed": seed} if "seed" in inspect.signature(DETECTORS[name]).parameters else {}
    torch.manual_seed(seed)
    given = shipped(name)
    detector = build(DETECTORS, name, features=x.shape[1], **given.settings(name, DETECTORS) | seeded)
    detector.fit(x, y)
    strata = y if setting == "supervised" else None
    parts = train_test_split(torch.arange(len(x)), test_size=VAL_SHARE, stratify=strata, random_state=seed)
    train, val = (Batch(x[rows], y[rows], 1.0 - 2.0 * y[rows]) for rows in parts)
    plan = updates(given, detector) if updated else None
    with tempfile.TemporaryDirectory(prefix="adbench-") as folder:
        history = fit(detector, train, val, training, Path(folder), updates=plan, progress=False)
    return detector, history


def names_of(setting: str, chosen: Sequence[str]) -> list[str]:
    """The detectors that a setting is for."""
    return [name for name in chosen if (DETECTORS[name].trains_on == "all") == (setting == "supervised")]


def markdown(setting: str, results: dict[str, dict[str, list[Result]]], names: Sequence[str]) -> Iterator[str]:
    """The lines of a table: one row for each table of records, one column for each detector."""
    yield f"\n{setting}: AUROC in %\n"
    yield f"| table | {' | '.join(names)} |"
    yield f"|---|{'---:|' * len(names)}"
    for table, row in results.items():
        yield f"| {table} | {' | '.join(_cell(row[name]) for name in names)} |"
    yield f"| **mean** | {' | '.join(_mean([row[name] for row in results.values()]) for name in names)} |"
    seconds = [sum(statistics.mean(each.seconds for each in row[name]) for row in results.values()) for name in names]
    yield f"| seconds, all tables once | {' | '.join(f'{value:.1f}' for value in seconds)} |"
    for line, say in LEARNT.items():
        columns = [[each.learnt for row in results.values() for each in row[name] if each.learnt] for name in names]
        yield f"| {line} | {' | '.join(say(column) if column else '' for column in columns)} |"


LEARNT: dict[str, Callable[[list[Learnt]], str]] = {
    "epoch kept, median (least, most)": lambda all_: _spread([each.kept for each in all_]),
    "of epochs": lambda all_: _spread([each.epochs for each in all_]),
    "updates seen": lambda all_: _spread([each.seen for each in all_]),
    "trainings with an update undone": lambda all_: f"{sum(each.undone > 0 for each in all_)} of {len(all_)}",
}


def _spread(values: list[int]) -> str:
    return f"{statistics.median(values):g} ({min(values)}, {max(values)})"


def _cell(results: list[Result]) -> str:
    flag = "*" if any(each.collapse for each in results) else ""
    areas = _areas(results)
    return _with_deviation(areas) + flag if areas else ONE_SCORE


def _mean(rows: list[list[Result]]) -> str:
    """Mean over the tables, and the deviation of that mean over the seeds."""
    seeds = [_areas(seed) for seed in zip(*rows, strict=True)]
    return _with_deviation([statistics.mean(areas) for areas in seeds]) if all(seeds) else ONE_SCORE


def _areas(results: Sequence[Result]) -> list[float]:
    """The AUROC of each result; none at all where one of them ranks nothing."""
    areas = [each.auroc for each in results if each.auroc is not None]
    return areas if len(areas) == len(results) else []


def _with_deviation(values: list[float]) -> str:
    deviation = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{deviation}"


def main() -> None:
    """Measure, then print a markdown table for each setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--detectors", nargs="+", choices=DETECTORS, default=list(DETECTORS))
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--tables", nargs="+", help="file names without .npz; default: all")
    parser.add_argument("--rows", type=int, default=10_000, help="training rows at most")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--steps", type=int, default=300, help="steps at least, for small tables")
    parser.add_argument("--no-updates", dest="updates", action="store_false", help="of confidence, for no detector")
    arguments = parser.parse_args()
    tables = sorted(arguments.folder.glob("*.npz"), key=lambda file: int(file.stem.split("_")[0]))
    if arguments.tables:
        tables = [file for file in tables if file.stem in arguments.tables]
    if not tables:
        sys.exit(f"{arguments.folder}: no such table")
    for setting in arguments.settings:
        names = names_of(setting, arguments.detectors)
        if names:
            results = {file.stem: _row(file, setting, names, arguments) for file in tables}
            print("\n".join(markdown(setting, results, names)), flush=True)


def _row(file: Path, setting: str, names: Sequence[str], arguments: argparse.Namespace) -> dict[str, list[Result]]:
    """Detector -> its results, one for each seed."""
    x, y = read(file)
    row: dict[str, list[Result]] = {name: [] for name in names}
    for seed in range(arguments.seeds):
        data = split(x, y, seed, arguments.rows)
        steps = {
            "epochs": arguments.epochs,
            "min_steps": arguments.steps,
            "batch_size": min(256, max(16, len(data.y_train) // 8)),  # an epoch of one step would be all overhead
        }
        for name in names:
            training = fit_settings(shipped(name), seed=seed, device="cpu", **steps)
            result = measure(name, setting, data, seed, training, arguments.updates)
            row[name].append(result)
            print(f"{setting} {file.stem} seed {seed} {name}: {result}", file=sys.stderr, flush=True)
    return row


if __name__ == "__main__":
    main()
