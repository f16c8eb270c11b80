"""Since when has traffic changed? Conformal p-values, and a martingale that bets against their being uniform."""

import math
from bisect import bisect_left, bisect_right, insort
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.calibration.thresholds.base import without_nan

BETS: Final = (-1.0, 0.0, 1.0)  # on many low p-values, on nothing, on many high ones


def p_values(reference: ArrayLike, recent: ArrayLike, seed: int) -> NDArray[np.float64]:
    """(m,) smoothed conformal p-values of ``recent``, (m,), each ranked in ``reference``, (n,), and those before it::

        p = (#{higher} + tau #{equal, itself among them}) / (n + i),  tau uniform

    If all scores are exchangeable, these are independent and uniform, with or without ties. P-values against the
    reference alone would share its sampling error, and a martingale would find that in long traffic.

    Source: Vovk, Nouretdinov, Gammerman, "Testing exchangeability on-line" (ICML 2003), section 2.
    """
    then, now = np.sort(without_nan(reference, "drift")), without_nan(recent, "drift")
    higher = then.size - np.searchsorted(then, now, side="right")
    equal = then.size - np.searchsorted(then, now, side="left") - higher
    tau = np.random.default_rng(seed).random(now.size)
    seen: list[float] = []
    p = np.empty(now.size)
    for i, value in enumerate(now.tolist()):
        above = i - bisect_right(seen, value)
        ties = i - bisect_left(seen, value) - above
        p[i] = (higher[i] + above + tau[i] * (equal[i] + ties + 1)) / (then.size + i + 1)
        insort(seen, value)
    return p


def jumper(p: ArrayLike, rate: float = 0.01) -> NDArray[np.float64]:
    """(m,) natural logs of the Simple Jumper's capital after each of the p-values, (m,).

    It bets 1 + e (p - 1/2) against uniform p-values, with e in -1, 0, 1. Before each p-value it takes a share ``rate``
    of the capital of each bet and spreads it over all of them. It starts with 1. If the p-values are independent and
    uniform, it ever reaches 1 / alpha with a probability of at most alpha (Ville's inequality).

    Source: Vovk, Petej, Nouretdinov, Ahlberg, Carlsson, Gammerman, "Retrain or not retrain: conformal test martingales
    for change-point detection" (COPA 2021), algorithm 1.

    Raises:
        ValueError: if the rate is not in (0, 1].
    """
    if not 0 < rate <= 1:
        raise ValueError(f"jumper: needs a rate in (0, 1], given {rate}")
    shares, log = [1 / len(BETS)] * len(BETS), 0.0
    path = []
    for value in np.asarray(p, dtype=np.float64).tolist():
        bets = [
            ((1 - rate) * share + rate / len(BETS)) * (1 + bet * (value - 0.5))
            for share, bet in zip(shares, BETS, strict=True)
        ]
        gain = sum(bets)
        shares = [bet / gain for bet in bets]
        log += math.log(gain)
        path.append(log)
    return np.array(path)
