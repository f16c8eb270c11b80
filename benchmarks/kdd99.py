"""RADON and GRAnD on KDD Cup 1999 as ``params.yaml`` ships them, with confidence updates and without.

    python -m benchmarks.kdd99 FOLDER [--seeds 5] [--contamination 0 0.1] [--set stage2.confidence.undo=false ...]
    python -m benchmarks.kdd99 ../shared/data/nslkdd --stand-in

FOLDER holds ``kddcup.data_10_percent.gz`` and ``corrected.gz`` as they are published, packed or not. The training rows
are ``--benign`` benign records of the first, drawn by seed, and as many of its attack records as make the stated share
of all; no label is seen. Test rows are the benign records of the second, and its attacks that the first has not.

``--stand-in`` is for where these files are not at hand; its figures are not figures of KDD Cup 1999. FOLDER then holds
NSL-KDD, which is the same capture without the copies. The training rows are drawn from KDDTrain+ with repetition, each
row with a weight of its own from a Pareto distribution, so that a few records make most of them, as in KDD Cup 1999.
Test rows are KDDTest+'s, chosen by the same rule. ``--reading holdout`` tests on KDDTrain+ rows that no training row is
drawn from, known attacks among them, and is the one to choose a setting by.

Features and both detectors have the settings of ``params.yaml``; what it says of columns that these records lack is
passed over. ``--set`` changes a setting of stage 2. No label is watched, so that an update is undone by what the 5 % of
the training rows that validate look like.
"""

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.adbench import Split
from benchmarks.nslkdd import NO_UPDATES, trained
from benchmarks.nslkdd_rows import Records, draw, read, records
from benchmarks.nslkdd_tables import KINDS, Result, learnt, spread
from benchmarks.published import ROOT, parsed, shipped
from pipeline import config
from pipeline.datasets.schema import FEATURE_NAMES
from pipeline.preprocessing.features import Features
from pipeline.preprocessing.recipe import Recipe
from pipeline.settings.preprocess import Preprocess

PARETO, HELD_OUT = 0.6, 20_000
FILES = {
    "train": ("kddcup.data_10_percent.gz", "kddcup.data_10_percent", "kddcup.data_10_percent_corrected"),
    "test": ("corrected.gz", "corrected"),
}
Draw = Callable[[float, int], tuple[Records, Records]]


def published(folder: Path, benign: int) -> Draw:
    """Contamination, seed -> training and test rows of the published files."""
    known, other = (records(_file(folder, part)) for part in ("train", "test"))
    test = other.at(unseen(known, other))

    def one(contamination: float, seed: int) -> tuple[Records, Records]:
        return known.at(draw(known.y, contamination, benign, np.random.default_rng(seed))), test

    return one


def stand_in(folder: Path, benign: int, holdout: bool) -> Draw:
    """The same with copies of NSL-KDD's rows."""
    known = read(folder, "KDDTrain+")
    other = None if holdout else read(folder, "KDDTest+")

    def one(contamination: float, seed: int) -> tuple[Records, Records]:
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(known.y))
        pool, test = known.at(order[HELD_OUT:]), known.at(order[:HELD_OUT])
        hidden = round(contamination / (1 - contamination) * benign)
        rows = [copies(np.flatnonzero(pool.y == y), n, rng) for y, n in ((0, benign), (1, hidden))]
        return pool.at(rng.permutation(np.concatenate(rows))), other.at(unseen(known, other)) if other else test

    return one


def _file(folder: Path, part: str) -> Path:
    there = [folder / name for name in FILES[part] if (folder / name).is_file()]
    if not there:
        sys.exit(f"{folder}: holds none of {', '.join(FILES[part])}; for NSL-KDD's files give --stand-in")
    return there[0]


def unseen(known: Records, other: Records) -> NDArray[np.int64]:
    """The rows of ``other`` that are benign, or an attack that ``known`` has not."""
    return np.flatnonzero((other.y == 0) | ~np.isin(other.attack, np.unique(known.attack)))


def copies(rows: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """``n`` of the rows, a few of them very often."""
    weight = rng.pareto(PARETO, len(rows))
    return rng.choice(rows, n, p=weight / weight.sum())


def features(train: Records, test: Records) -> Split:
    """Both as ``params.yaml`` makes features; scales are those of the training rows."""
    settings = config.load(Preprocess, ROOT / config.PARAMS).features
    recipe, _ = Recipe.of(settings).within(train.columns, FEATURE_NAMES)
    fitted = Features.fit([train.columns], len(train.y), recipe)
    x, z = (np.stack(list(fitted.map(part.columns).values()), 1).astype(np.float32) for part in (train, test))
    return Split(x, train.y, z, test.y)


def measure(one: Draw, given: argparse.Namespace) -> dict[str, dict[float, list[Result]]]:
    """System -> contamination -> a result for each seed."""
    results: dict[str, dict[float, list[Result]]] = {}
    for seed, contamination in itertools.product(range(given.seeds), given.contamination):
        data = features(*one(contamination, seed))
        for kind, updated in itertools.product(given.kinds, (True, False)):
            changes = given.changes | ({} if updated else NO_UPDATES)
            result = trained(shipped(kind, changes), data, seed)
            name = f"{kind}, {'updates' if updated else 'no updates'}"
            results.setdefault(name, {}).setdefault(contamination, []).append(result)
            print(f"{contamination:g} seed {seed} {name}: {result}", file=sys.stderr, flush=True)
    return results


def markdown(results: dict[str, dict[float, list[Result]]]) -> Iterator[str]:
    """A row for each system and contamination."""
    yield "| system | hidden | AUROC in % | epoch kept | of | updates seen | undone | marked | attacks in it |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    for name, row in results.items():
        for contamination, runs in row.items():
            area = spread([100 * run.auroc for run in runs])
            yield f"| {name} | {100 * contamination:g} % | {area} | {' | '.join(learnt(runs))} |"


def main() -> None:
    """Measure, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--contamination", type=float, nargs="+", default=[0.0, 0.1])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--benign", type=int, default=20_000, help="benign training rows")
    parser.add_argument("--stand-in", action="store_true", help="FOLDER holds NSL-KDD")
    parser.add_argument("--reading", choices=["test", "holdout"], default="test", help="of the stand-in")
    parser.add_argument("--set", nargs="+", default=[], help="settings that differ from params.yaml, as KEY=VALUE")
    given = parser.parse_args()
    given.changes = parsed(given.set)
    torch.set_num_threads(1)
    holdout = given.reading == "holdout"
    one = stand_in(given.folder, given.benign, holdout) if given.stand_in else published(given.folder, given.benign)
    what = f"the stand-in from NSL-KDD, {given.reading}" if given.stand_in else "KDD Cup 1999"
    print(f"{what}; settings: params.yaml{' with ' if given.set else ''}{', '.join(given.set)}\n")
    print("\n".join(markdown(measure(one, given))))


if __name__ == "__main__":
    main()
