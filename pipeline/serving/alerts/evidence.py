"""How unlikely it is that benign records raised the alerts of one host: e-values that grow with each alert.

The p-value p of a benign record is at most q with probability q or less. So ::

    e(p) = w_0 + w_1 [p <= q_1] / q_1 + w_2 [p <= q_2] / q_2 + ...        with w_0 + w_1 + w_2 + ... = 1

has an expectation of 1 at most, if the record is benign: e(p) is an e-value (Vovk, Wang, "E-values: calibration,
combination and applications", Annals of Statistics, 2021). An ordinary record has e = w_0 < 1. The records of a line,
such as those of a host, one after the other, give ::

    M_0 = 1,    M_i = max(M_{i-1}, 1) e(p_i)

M grows where unusual records come close together, and shrinks with each ordinary one. It is the CUSUM of an e-detector
(Shin, Ramdas, Rinaldo, "E-detectors: a nonparametric framework for sequential change detection", New England Journal of
Statistics in Data Science, 2023; for conformal p-values Vovk et al., "Retrain or not retrain: conformal test
martingales for change-point detection", COPA 2021). M is at most the sum R_i = (R_{i-1} + 1) e(p_i), and R_i - i is a
supermartingale. A stretch of records ends where M falls to 1 or below. So N benign records have at most N / c stretches
in which M reaches c, in expectation.

Each record stands in three lines: that of its source, of its destination, and of the pair of both. Each view has a
share of the bound: the evidence of a stretch is log10 of M times the ``SHARES`` of its view. So among N million benign
records, at most a times N incidents have an evidence of log10(1,000,000 / a) or more, in expectation.

**What this needs.** Benign records must be exchangeable with those of calibration, and those of a line independent of
each other. The first is what the promise of a threshold needs too. The second often fails: the records of one odd host
are odd together. ``traces`` allows for some of that. So the bound is a scale, and ``benchmarks/incidents.py`` measures
how many false incidents there really are.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

LEVELS: Final = ((0.1, 0.2), (0.05, 0.3), (0.01, 0.2), (0.001, 0.1))  # q and its weight w
UNUSUAL: Final = 0.05  # p-values that tell how odd a line is
# At first, by view: unusual records, and how many were promised.
PRIOR: Final = {"source": (10, 5), "destination": (20, 5), "pair": (40, 40), "file": (40, 40)}
REPEATED: Final = 0.4  # exponent of e for a flow of a connection that was seen shortly before
UNIT: Final = 1000  # gains are whole thousandths of log10 e, so that their sums are exact in any order
SHARES: Final = {"source": 0.1, "destination": 0.1, "pair": 0.8, "file": 1.0}  # of the bound that a view may use up
MILLION: Final = 1_000_000


def odd(view: str, records: NDArray[np.int64], unusual: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) how many times as often as promised the records of a line were unusual before, at least 1.

    Args:
        view: of the lines.
        records: (n,) of the line before.
        unusual: (n,) those with a p-value of at most ``UNUSUAL``.
    """
    begin, expected = PRIOR[view]
    return np.maximum(1.0, (begin + unusual) / (expected + UNUSUAL * records))


def gains(p_value: NDArray[np.float64], again: NDArray[np.bool_], odd: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) what each record adds, in ``UNIT``: log10 of its e-value.

    Args:
        p_value: (n,).
        again: (n,) which are further flows of a connection.
        odd: (n,) how many times as often as promised the line had such p-values.
    """
    quiet = 1 - sum(weight for _, weight in LEVELS)
    e_value = quiet + sum(weight / np.minimum(1, odd * level) * (p_value <= level) for level, weight in LEVELS)
    found: NDArray[np.int64] = np.rint(UNIT * np.log10(e_value) * np.where(again, REPEATED, 1.0)).astype(np.int64)
    return found


def shared(view: str, most: int) -> float:
    """log10 of an M, given in ``UNIT``, times the share of its view."""
    return most / UNIT + math.log10(SHARES[view])


def needed(false_per_million: float) -> float:
    """log10 of the c that bounds the false incidents per million benign records."""
    return math.log10(MILLION / false_per_million)


def false_per_million(evidence: float) -> float:
    """The bound on false incidents per million benign records, if all as strong as this one count."""
    return float(10.0 ** (math.log10(MILLION) - max(evidence, 0.0)))
