"""The scores of records by their names: which a fusion takes, how surprising they are, and the fusion itself."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.base.errors import ConfigError, DataError, near_miss
from pipeline.base.registry import find
from pipeline.base.samples import CONTEXT, SCORES
from pipeline.calibration.fusion import FUSIONS, Score
from pipeline.calibration.named_thresholds import LEAST_OF_A_GROUP
from pipeline.calibration.surprisal import Floats, Surprisal, finite_scores
from pipeline.calibration.thresholds.base import without_nan

_LABELS: Final = {"margin": "margin", "detector": "second stage", "head": "head", CONTEXT: "context"}
_NEEDS: Final = {"detector": ("detector",), "cascade": ("margin", "detector")}


def fuse(
    fusion: str, surprisals: Mapping[str, Surprisal], used: Sequence[str], scores: Mapping[str, ArrayLike]
) -> Floats:
    """(n,) fused scores; that of a record without a context is what its other scores give.

    Args:
        fusion: a name in ``FUSIONS``.
        surprisals: of each score.
        used: names of the scores that the fusion takes.
        scores: (n,) each, by their names.

    Raises:
        DataError: one of them is NaN, other than a context.
    """
    values = {name: without_nan(value, _LABELS[name]) for name, value in scores.items() if name != CONTEXT}
    taken = {name: Score(values[name], surprisals[name].surprise(values[name])) for name in used if name != CONTEXT}
    whole = find(FUSIONS, fusion)
    if CONTEXT not in used:
        return whole(taken)
    context = np.asarray(scores[CONTEXT], dtype=np.float64)
    surprise = surprisals[CONTEXT].surprise(context)
    return np.where(np.isnan(context), whole(taken), whole({**taken, CONTEXT: Score(context, surprise)}))


def used_of(fusion: str, available: Sequence[str], named: Sequence[str] | None) -> tuple[str, ...]:
    """The scores that the fusion takes, in the order of ``SCORES``."""
    find(FUSIONS, fusion)
    names = set(available if named is None else named)
    for name in names.difference(SCORES):
        raise ConfigError(
            f"calibrate.scores: there is no {name!r}{near_miss(name, SCORES)}; known: {', '.join(SCORES)}"
        )
    names &= set(available)  # a head is named for where there is one
    needs = _NEEDS.get(fusion, ())
    names = names & set(needs) or names  # what a fusion passes over is not used
    missing = [name for name in needs if name not in names]
    if missing or not names - {CONTEXT}:
        raise ConfigError(
            f"calibrate.scores: the fusion {fusion!r} needs {' and '.join(needs) or 'at least one of them'}; of what "
            f"is named there {'are' if len(names) != 1 else 'is'} {', '.join(sorted(names)) or 'none'}, of "
            f"{', '.join(available)}"
        )
    return tuple(name for name in available if name in names)


def finite_named(
    margin: ArrayLike, detector: ArrayLike, head: ArrayLike | None, context: ArrayLike | None
) -> dict[str, Floats]:
    """Name -> (n,) scores of benign records, as far as there are; contexts of too few records are left out.

    Raises:
        SplitError: there are no records.
        DataError: one is NaN, other than a context, or infinite; or one score has other rows than another.
    """
    given = {"margin": margin, "detector": detector} | ({} if head is None else {"head": head})
    values = {name: finite_scores(scores) for name, scores in given.items()}
    if context is not None:
        values[CONTEXT] = np.asarray(context, dtype=np.float64)
    if len({value.shape for value in values.values()}) > 1:
        sizes = ", ".join(f"{value.size} of {_LABELS[name]}" for name, value in values.items())
        raise DataError(f"calibration: the scores differ in their rows: {sizes}")
    if context is not None and has_context(values).sum() < LEAST_OF_A_GROUP:
        del values[CONTEXT]
    return values


def surprisals_of(values: Mapping[str, Floats], surprisals_from: Sequence[ArrayLike] | None) -> dict[str, Surprisal]:
    """Name -> surprisal of each score, fitted on ``values`` or on the same scores of other records.

    Where too few of the others have a context, that of contexts is fitted on ``values``.
    """
    others = list(values.values()) if surprisals_from is None else surprisals_from
    named = {name: np.asarray(scores, dtype=np.float64) for name, scores in zip(values, others, strict=True)}
    if CONTEXT in named:
        contexts = named[CONTEXT] if has_context(named).sum() >= LEAST_OF_A_GROUP else values[CONTEXT]
        named[CONTEXT] = contexts[~np.isnan(contexts)]
    return {name: Surprisal.fit(scores) for name, scores in named.items()}


def judged(used: Sequence[str], values: Mapping[str, Floats]) -> NDArray[np.bool_]:
    """(n,) which records the decision for all is fitted on: those with a context, where it is used."""
    return has_context(values) if CONTEXT in used else np.ones(len(values["margin"]), bool)


def has_context(values: Mapping[str, Floats]) -> NDArray[np.bool_]:
    """(n,) which records have one."""
    known: NDArray[np.bool_] = ~np.isnan(values[CONTEXT])
    return known
