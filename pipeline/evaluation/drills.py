"""Drills: benign records that are altered on purpose, to see whether a model raises an alarm at all.

Where no attack is known, nothing else tells a model that works from one that is silent. A drill is no attack. That a
model finds a drill says that it notices records of that kind, and nothing about a real attack. Evaluate reports
simulated attacks and those of a named file beside them; the gate decides on altered records alone.

The first three kinds use only values that benign records have, so no column by itself gives such a drill away:

``mixed``        half of the columns come from another record
``largest``      five columns take their largest value
``silent``       half of the columns take their smallest value
``multiplied``   all numbers that are no flags are 30 times as large, which may be more than any benign record has
``unheard``      every word is one that no record has
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pipeline.evaluation import metrics

Columns = Mapping[str, NDArray[Any]]
Table = dict[str, NDArray[Any]]

FEW: Final = 5  # columns
TIMES: Final = 30
UNHEARD: Final = "unheard of"
PREFIX: Final = "drill_"  # in front of the kind, where a drill has the name of an attack


def plant(columns: Columns, n: int, seed: int) -> tuple[Table, NDArray[np.object_]]:
    """``n`` altered records, and the kind of each; as many of each kind as it goes.

    Args:
        columns: (m,) float64 numbers, or words as objects, of m benign records, at least two.
        n: how many records are made.
        seed: of the draw; the same records and seed give the same drills.
    """
    random = np.random.default_rng(seed)
    size = len(next(iter(columns.values())))
    kinds = [kind for kind in KINDS if kind != "unheard" or _words(columns)]
    kind = np.array([kinds[place % len(kinds)] for place in range(n)], dtype=object)
    start = random.integers(0, size, n)
    made = {name: values[start].copy() for name, values in columns.items()}
    for name in kinds:
        rows = np.flatnonzero(kind == name)
        KINDS[name](made, columns, rows, random)
    return made, kind


def found(flagged: Mapping[str, NDArray[np.bool_]], kind: NDArray[np.str_]) -> dict[str, Any]:
    """How many drills there are, and the share found at each threshold, with its interval: of all and of each kind.

    Args:
        flagged: threshold -> (n,) mask of the drills that it flags.
        kind: (n,) of the drills.
    """
    of_kinds = {str(name): _counted(flagged, kind == name) for name in np.unique(kind)}
    return {**_counted(flagged, np.ones(kind.size, bool)), "kinds": of_kinds}


def _counted(flagged: Mapping[str, NDArray[np.bool_]], rows: NDArray[np.bool_]) -> dict[str, Any]:
    return {"n": int(rows.sum()), "thresholds": {key: _share(mask[rows]) for key, mask in flagged.items()}}


def _share(mask: NDArray[np.bool_]) -> dict[str, float]:
    low, high = metrics.wilson(int(mask.sum()), mask.size)
    return {"recall": float(mask.mean()), "low": low, "high": high}


def _mixed(made: Table, columns: Columns, rows: NDArray[np.intp], random: Generator) -> None:
    size = len(next(iter(columns.values())))
    other = random.integers(0, size, len(rows))
    for name, values in columns.items():
        taken = random.random(len(rows)) < 0.5
        made[name][rows[taken]] = values[other[taken]]


def _largest(made: Table, columns: Columns, rows: NDArray[np.intp], random: Generator) -> None:
    numbers = _numbers(columns)
    for row in rows:
        for name in random.permutation(numbers)[:FEW]:
            made[name][row] = _extreme(columns[name], np.max)


def _silent(made: Table, columns: Columns, rows: NDArray[np.intp], random: Generator) -> None:
    for name in _numbers(columns):
        taken = random.random(len(rows)) < 0.5
        made[name][rows[taken]] = _extreme(columns[name], np.min)


def _multiplied(made: Table, columns: Columns, rows: NDArray[np.intp], random: Generator) -> None:
    for name in _numbers(columns):
        if _extreme(columns[name], np.max) > 1:
            made[name][rows] *= TIMES


def _unheard(made: Table, columns: Columns, rows: NDArray[np.intp], random: Generator) -> None:
    for name in _words(columns):
        made[name][rows] = UNHEARD


KINDS: Final[dict[str, Callable[[Table, Columns, NDArray[np.intp], Generator], None]]] = {
    "mixed": _mixed,
    "largest": _largest,
    "silent": _silent,
    "multiplied": _multiplied,
    "unheard": _unheard,
}


def _words(columns: Columns) -> list[str]:
    return [name for name, values in columns.items() if values.dtype == object]


def _numbers(columns: Columns) -> list[str]:
    return [name for name, values in columns.items() if values.dtype != object]


def _extreme(values: NDArray[Any], which: Callable[[NDArray[Any]], Any]) -> float:
    """The largest or the smallest finite value; NaN where there is none."""
    finite = values[np.isfinite(values)]
    return float(which(finite)) if finite.size else float("nan")
