"""Quantiles of the beta-binomial distribution: how many of some records exceed a conformal threshold.

``scipy.stats`` has them too, but takes longer to import than a file takes to be judged.
"""

from typing import Final

import numpy as np
from scipy.special import betaln

AT_ONCE: Final = 1 << 16  # counts whose probabilities are in memory at a time


def quantile(level: float, n: int, a: float, b: float) -> int:
    """The smallest count k of n with P(K <= k) >= ``level``, where K is beta-binomial.

    P(K = k) = C(n, k) B(k + a, n - k + b) / B(a, b), with C(n, k) = 1 / ((n + 1) B(n - k + 1, k + 1)).
    Source: Skellam, "A Probability Distribution Derived from the Binomial Distribution by Regarding the Probability of
    Success as Variable between the Sets of Trials", Journal of the Royal Statistical Society B (1948).

    Args:
        level: in (0, 1).
        n: how many are counted.
        a: first parameter of the beta distribution, above 0.
        b: its second one.
    """
    below = 0.0
    for start in range(0, n + 1, AT_ONCE):
        k = np.arange(start, min(start + AT_ONCE, n + 1), dtype=np.float64)
        logs = betaln(k + a, n - k + b) - betaln(a, b) - betaln(n - k + 1, k + 1) - np.log(n + 1)
        reached = below + np.cumsum(np.exp(logs))
        if reached[-1] >= level:
            return start + int(np.searchsorted(reached, level))
        below = float(reached[-1])
    return n
