"""Fusions: each makes one score of several scores of a record."""

import math
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
from scipy.special import logsumexp

from pipeline.calibration.surprisal import Floats


class Score(NamedTuple):
    """One of the scores of n records: its (n,) raw values and their (n,) surprise."""

    value: Floats
    surprise: Floats


SHARE: Final = 0.1  # of the false alarms, for a head that stands beside the other scores

Fusion = Callable[[Mapping[str, Score]], Floats]
"""The scores that are used, by their names, to (n,) fused scores."""


def fisher(scores: Mapping[str, Score]) -> Floats:
    """Sum of the surprises. Source: Fisher, "Statistical Methods for Research Workers" (1925), section 21.1."""
    total: Floats = _surprises(scores).sum(axis=0)
    return total


def highest(scores: Mapping[str, Score]) -> Floats:
    """The greatest surprise; a thousandth of the others keeps the order where the greatest ones are equal."""
    surprises = _surprises(scores)
    greatest: Floats = surprises.max(axis=0)
    rest: Floats = surprises.sum(axis=0) - greatest
    return greatest + rest / 1000


def harmonic(scores: Mapping[str, Score]) -> Floats:
    """-log of the harmonic mean of the shares: between the sum and the greatest surprise, whatever depends on what.

    Source: Wilson, "The harmonic mean p-value for combining dependent tests" (PNAS, 2019), equation 1.
    """
    surprises = _surprises(scores)
    mean: Floats = logsumexp(surprises, axis=0) - math.log(len(surprises))
    return mean


def detector_alone(scores: Mapping[str, Score]) -> Floats:
    """The surprise of the second stage."""
    return scores["detector"].surprise


def beside(scores: Mapping[str, Score]) -> Floats:
    """The others by ``fisher``, and the head beside them: either may raise an alarm on its own.

    A head that learnt from a few attacks knows these alone. In a sum it would pull down what else is unusual. Here it
    gets ``SHARE`` of the false alarms, and the others keep the rest: the least of the weighted p-values decides.
    Source: Genovese, Roeder, Wasserman, "False discovery control with p-value weighting" (Biometrika, 2006), section 2.
    """
    if "head" not in scores:
        return fisher(scores)
    others = {name: score for name, score in scores.items() if name != "head"}
    if not others:
        return scores["head"].surprise
    found: Floats = np.maximum(
        _of_sum(fisher(others), len(others)) + math.log1p(-SHARE), scores["head"].surprise + math.log(SHARE)
    )
    return found


def _of_sum(total: Floats, k: int) -> Floats:
    """(n,) surprise of the sum of k surprises: -log of the share of a gamma variable of shape k that is as high."""
    known = np.clip(total, 0, np.finfo(np.float64).max ** (1 / k))  # a score that is silent is -inf
    series = np.sum([known**each / math.factorial(each) for each in range(k)], axis=0)
    surprise: Floats = total - np.log(series)
    return surprise


def cascade(scores: Mapping[str, Score]) -> Floats:
    """As published: the second stage's score, and one constant above all others where the first stage says attack.

    Source: Chhetri, Thapa, Chen, "Latent Sculpting" (arXiv 2512.22179, 2025): a record is anomalous where it is closer
    to the attack centroid (margin > 0) or its score exceeds the threshold. The published constant is the highest score
    of the test set plus 1; infinity takes its place, so that a score depends on its own record alone.
    """
    return np.where(scores["margin"].value > 0, math.inf, scores["detector"].value)


def _surprises(scores: Mapping[str, Score]) -> Floats:
    """(k, n) of k scores."""
    return np.stack([each.surprise for each in scores.values()])


FUSIONS: Final[Mapping[str, Fusion]] = {
    "fisher": fisher,
    "max": highest,
    "harmonic": harmonic,
    "beside": beside,
    "detector": detector_alone,
    "cascade": cascade,
}
