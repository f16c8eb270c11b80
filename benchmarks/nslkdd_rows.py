"""Rows of NSL-KDD for ``benchmarks.nslkdd``: which are drawn by seed and contamination, and their features."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.adbench import Floats, Labels, Split
from benchmarks.settings import RECIPE
from pipeline.datasets.nslkdd import NSLKDD
from pipeline.preprocessing.derived import Columns
from pipeline.preprocessing.features import Features


@dataclass(frozen=True)
class Records:
    """Raw columns, (n,) each, labels (n,), 1 for an attack, and names of attacks (n,)."""

    columns: dict[str, NDArray[Any]]
    y: Labels
    attack: NDArray[Any]

    def at(self, rows: NDArray[np.int64]) -> "Records":
        """Some of the rows."""
        columns = {name: column[rows] for name, column in self.columns.items()}
        return Records(columns, self.y[rows], self.attack[rows])


def read(folder: Path, name: str) -> Records:
    """All records of one file of NSL-KDD in the folder."""
    (path,) = folder.glob(f"{name}.txt*")
    return records(path)


def records(path: Path) -> Records:
    """All records of a file."""
    data = NSLKDD(path)
    chunks = [chunk.records for chunk in data.read()]

    def column(name: str) -> NDArray[Any]:
        return np.concatenate([chunk[name].to_pandas().to_numpy(dtype=None) for chunk in chunks])

    columns = {c.name: column(c.name).astype(object if c.categorical else np.float64) for c in data.columns}
    return Records(columns, column("y").astype(np.int64), column("attack").astype(str))


def draw(y: Labels, contamination: float, benign: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Shuffled rows: ``benign`` benign ones, all if 0, and attacks that are ``contamination`` of the whole."""
    normal = rng.permutation(np.flatnonzero(y == 0))[: benign or None]
    hidden = round(contamination / (1 - contamination) * len(normal))
    return rng.permutation(np.concatenate([normal, rng.permutation(np.flatnonzero(y == 1))[:hidden]]))


def features(train: Columns, test: Columns) -> tuple[Floats, Floats]:
    """Both in [0, 1] by the training rows; a test row may lie outside."""
    fitted = Features.fit([train], len(next(iter(train.values()))), replace(RECIPE, drop=(), derive=(), scaling="unit"))
    x, z = (np.stack(list(fitted.map(part).values()), 1) for part in (train, test))
    return x, z


def splits(folder: Path, given: argparse.Namespace) -> Callable[[float, int], Split]:
    """Contamination, seed -> a drawing."""
    known = read(folder, "KDDTrain+")
    unseen = read(folder, "KDDTest+") if given.reading == "test" else None

    def one(contamination: float, seed: int) -> Split:
        rng = np.random.default_rng(seed)
        if unseen is None:
            order = rng.permutation(len(known.y))
            pool, test = known.at(order[: len(order) // 2]), known.at(order[len(order) // 2 :])
        else:
            pool, test = known, unseen
        train = pool.at(draw(pool.y, contamination, given.benign, rng))
        return Split(*_paired(features(train.columns, test.columns), train.y, test.y))

    return one


def _paired(x: tuple[Floats, Floats], y_train: Labels, y_test: Labels) -> tuple[Floats, Labels, Floats, Labels]:
    return x[0], y_train, x[1], y_test
