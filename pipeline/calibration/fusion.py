"""What several scores say of a record together."""

import math
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import numpy as np
from scipy.special import logsumexp

from pipeline.calibration.surprisal import Floats


class Evidence(NamedTuple):
    """What one of them says: its (n,) raw scores and their (n,) surprise."""

    value: Floats
    surprise: Floats


Fusion = Callable[[Mapping[str, Evidence]], Floats]
"""Evidence that counts, by its name, to (n,) fused scores."""


def fisher(evidence: Mapping[str, Evidence]) -> Floats:
    """Sum of the surprises. Source: Fisher, "Statistical Methods for Research Workers" (1925), section 21.1."""
    total: Floats = _surprises(evidence).sum(axis=0)
    return total


def highest(evidence: Mapping[str, Evidence]) -> Floats:
    """The greatest surprise; a thousandth of the others keeps the order where the greatest ones are equal."""
    surprises = _surprises(evidence)
    greatest: Floats = surprises.max(axis=0)
    rest: Floats = surprises.sum(axis=0) - greatest
    return greatest + rest / 1000


def harmonic(evidence: Mapping[str, Evidence]) -> Floats:
    """-log of the harmonic mean of the shares: between the sum and the greatest surprise, whatever depends on what.

    Source: Wilson, "The harmonic mean p-value for combining dependent tests" (PNAS, 2019), equation 1.
    """
    surprises = _surprises(evidence)
    mean: Floats = logsumexp(surprises, axis=0) - math.log(len(surprises))
    return mean


def density_alone(evidence: Mapping[str, Evidence]) -> Floats:
    """The surprise of the second stage."""
    return evidence["density"].surprise


def cascade(evidence: Mapping[str, Evidence]) -> Floats:
    """As published: the second stage's score, and one constant above all others where the first stage says attack.

    Source: Chhetri, Thapa, Chen, "Latent Sculpting" (arXiv 2512.22179, 2025): a record is anomalous where it is closer
    to the attack centroid (margin > 0) or its score exceeds the threshold. The published constant is the highest score
    of the test set plus 1; infinity takes its place, so that a score depends on its own record alone.
    """
    return np.where(evidence["margin"].value > 0, math.inf, evidence["density"].value)


def _surprises(evidence: Mapping[str, Evidence]) -> Floats:
    """(k, n) of k pieces of evidence."""
    return np.stack([each.surprise for each in evidence.values()])


FUSIONS: Final[Mapping[str, Fusion]] = {
    "fisher": fisher,
    "max": highest,
    "harmonic": harmonic,
    "density": density_alone,
    "cascade": cascade,
}
