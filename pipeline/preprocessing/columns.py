"""One column of numbers: summary of its train rows, and the scaling of its values by that summary."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from pipeline.preprocessing.recipe import Recipe
from pipeline.settings.preprocess import Scaling

Warp = Callable[[NDArray[np.float64]], NDArray[np.float64]]

QUANTILES = 1001  # knots of a quantile scaling
TOGETHER = 2**14  # values that are brought together at once, and fit into a cache


class ColumnFit:
    """Summary of some rows of a column: moments of the finite values, number of the others, and a sample of rows."""

    def __init__(self, values: NDArray[np.float64], sampled: slice, warp: Warp) -> None:
        finite = _finite(values)
        self.warp = warp
        self.n, self.undefined = len(finite), len(values) - len(finite)
        self.mean, self.squares = 0.0, 0.0
        self.low, self.high = finite.min(initial=np.inf), finite.max(initial=-np.inf)
        self.sample = [values[sampled].copy()]
        if len(finite):
            warped = warp(finite)
            self.mean = float(warped.mean())
            self.squares = float(np.square(warped - self.mean).sum())  # no BLAS: its threads would fight ours

    def add(self, other: "ColumnFit") -> None:
        """Include the rows of ``other``."""
        self.undefined += other.undefined
        self.sample += other.sample
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self._merge(other.n, other.mean, other.squares)

    def fill(self, value: float) -> None:
        """Count each undefined cell as ``value``."""
        if self.undefined:
            self._merge(self.undefined, float(self.warp(np.array([value]))[0]), 0.0)
            self.low, self.high = min(self.low, value), max(self.high, value)

    def _merge(self, n: int, mean: float, squares: float) -> None:
        # Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979)
        delta, total = mean - self.mean, self.n + n
        if n:
            self.squares += squares + delta * delta * self.n * n / total
            self.mean += delta * n / total
            self.n = total

    @property
    def rows(self) -> int:
        """All rows so far."""
        return self.n + self.undefined

    @property
    def is_partly_undefined(self) -> bool:
        """Whether some values are finite and some are not."""
        return 0 < self.undefined < self.n + self.undefined

    @property
    def median(self) -> float:
        """Of the finite values in the sample; 0 if there are none."""
        sample = _finite(np.concatenate(self.sample))
        return float(np.median(sample)) if len(sample) else 0.0

    @property
    def scale(self) -> float:
        """Standard deviation; 1 if it may be rounding error alone, as in a constant column that is kept."""
        variance, eps = self.squares / self.n, np.finfo(np.float64).eps
        # The bound of scikit-learn's StandardScaler on the error of a variance.
        return float(np.sqrt(variance)) if variance > self.n * eps * variance + (self.n * self.mean * eps) ** 2 else 1.0

    def origin_and_scale(self, scaling: Scaling) -> tuple[float, float]:
        """The number to subtract from a warped value, and the number to divide it by then."""
        if scaling != "unit":
            return self.mean, self.scale
        low, high = self.warp(np.array([self.low, self.high]))
        return float(low), float(high - low) or 1.0

    def knots(self, fill: float) -> NDArray[np.float64]:
        """(``QUANTILES``,) quantiles of the sample, with undefined cells filled."""
        sample = np.concatenate(self.sample)
        return np.quantile(np.where(np.isfinite(sample), sample, fill), np.linspace(0, 1, QUANTILES))


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    finite = np.isfinite(values)
    return values if finite.all() else values[finite]


def warp_of(recipe: Recipe) -> Warp:
    """The map that is applied before a value is shifted and scaled: a signed logarithm, or none."""
    return _signed_log if recipe.scaling in ("signed_log", "unit") else _same


def _same(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values


def _signed_log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.copysign(np.log1p(np.abs(values)), values)


def normal_scores(values: NDArray[np.float64], knots: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks among the knots, mapped to a standard normal; equal knots share the middle of their ranks.

    Values are brought together where they are equal, and each is computed once. That takes a fifth of the time: most
    columns of network records have few values, and a search for values in their order need not begin anew.

    Args:
        values: (n,) no NaN.
        knots: (k,) ascending.
    """
    values, scores = np.ascontiguousarray(values, dtype=np.float64), np.empty(len(values))
    for start in range(0, len(values), TOGETHER):
        part = values[start : start + TOGETHER]
        order = _together(part)
        ordered = part.take(order)
        begins = np.empty(len(part), bool)
        begins[0] = True
        np.not_equal(ordered[1:], ordered[:-1], out=begins[1:])
        found = _normal_scores(ordered[begins], knots)
        scores[start : start + TOGETHER][order] = found.take(np.cumsum(begins) - 1)
    return scores


def _together(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) positions of the values, equal ones side by side, and others nearly in their order.

    The last bits of each value make room for its position. So one sort of whole numbers gives both.
    """
    bits = (len(values) - 1).bit_length()
    keys = values.view(np.int64) & (-1 << bits)
    keys |= np.arange(len(values))
    keys.sort()
    keys &= (1 << bits) - 1
    return keys


def _normal_scores(values: NDArray[np.float64], knots: NDArray[np.float64]) -> NDArray[np.float64]:
    ranks = np.linspace(0, 1, len(knots))
    upper = np.interp(values, knots, ranks)
    lower = -np.interp(-values, -knots[::-1], -ranks[::-1])
    limit = 0.5 / len(knots)  # nothing is known beyond the outermost knots
    return ndtri(np.clip((upper + lower) / 2, limit, 1 - limit))
