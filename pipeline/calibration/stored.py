"""The parts of a calibration as they are stored: what JSON can hold, and arrays."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.calibration.decisions import Decisions
from pipeline.calibration.surprisal import Surprisal

ALONE: Final = "without_context"  # key of the decisions on records without a context

Values = Mapping[str, Any]
Arrays = Mapping[str, NDArray[Any]]


def decisions(values: Values, arrays: Arrays) -> tuple[Decisions, Decisions | None]:
    """The decisions on all records, and those on records without a context, if there are any.

    Raises:
        KeyError: a part is missing.
        ValueError: the intervals of one do not cut the line in three.
    """
    alone = Decisions.load(values[ALONE], arrays, f"{ALONE}.") if ALONE in values else None
    return Decisions.load(values, arrays), alone


def surprisal_arrays(surprisals: Mapping[str, Surprisal]) -> dict[str, NDArray[Any]]:
    """What ``surprisals`` needs."""
    found = {}
    for name, each in surprisals.items():
        found[f"{name}.knots"] = each.knots
        found[f"{name}.surprises"] = each.surprises
        found[f"{name}.scales"] = np.array([each.above, each.below])
    return found


def surprisals(names: Iterable[str], arrays: Arrays) -> dict[str, Surprisal]:
    """Name -> surprisal of each score.

    Raises:
        KeyError: a part is missing.
        TypeError: there are more or fewer scales than two.
    """
    return {
        name: Surprisal(arrays[f"{name}.knots"], arrays[f"{name}.surprises"], *map(float, arrays[f"{name}.scales"]))
        for name in names
    }
