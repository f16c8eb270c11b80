"""The generalised Pareto distribution: what the tail of nearly any distribution looks like from far enough out."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

FEWEST: Final = 10  # excesses of which a shape can be read; fewer give an exponential tail
MOST: Final = 50_000  # excesses that the fit reads, even in rank: the shape is then known to 0.005
LEAST: Final = 1e-300  # scale, so that a density is a number


@dataclass(frozen=True)
class GeneralisedPareto:
    """P(X > x) = (1 + xi x / sigma)^(-1/xi) for x >= 0, and exp(-x / sigma) where xi = 0.

    Attributes:
        sigma: scale, positive, in units of x.
        xi: shape: 0 exponential, positive heavy, negative with an end at -sigma / xi.
    """

    sigma: float
    xi: float

    @classmethod
    def fit(cls, excess: NDArray[np.float64]) -> Self:
        """The distribution of ``excess``, (n,), ascending and positive, n > 0.

        With theta = -xi / sigma, the likelihood is maximal over sigma where xi = mean log(1 - theta x). What is left, a
        function of theta alone, is averaged over a grid, weighted with its likelihood and a prior from the data::

            theta_j = 1 / max x + (1 - sqrt(m / (j - 1/2))) / (3 x*),  x* the first quartile,  j = 1 .. m = 20 + sqrt n
            theta = sum_j w_j theta_j,  w_j ~ exp(n (log(-theta_j / xi_j) - xi_j - 1))

        Unlike maximum likelihood (scipy's, or Grimshaw 1993) there is nothing to converge, and it is defined where the
        likelihood has no maximum. An xi below -1, a density that rises towards its end, becomes -1 with the same end.
        Source: Zhang, Stephens, "A new and efficient estimation method for the generalized Pareto distribution"
        (Technometrics 51, 2009).
        """
        mean = max(float(excess.mean()), LEAST)
        if excess.size < FEWEST or excess[0] == excess[-1]:
            return cls(mean, 0.0)
        x = excess[np.linspace(0, excess.size - 1, min(excess.size, MOST)).round().astype(np.intp)] / mean
        theta = _theta(x)
        xi = max(_xi(theta, x), -1.0)
        return cls(max(mean * (-xi / theta if theta else 1.0), LEAST), xi)

    def exceeded_by(self, share: float) -> float:
        """The x with P(X > x) = ``share``, in (0, 1]: sigma/xi (share^-xi - 1)."""
        far = -np.log(share)
        with np.errstate(over="ignore"):  # a tail so heavy that the point lies beyond all numbers
            return float(self.sigma * (far if self._exponential else np.expm1(self.xi * far) / self.xi))

    def density(self, x: ArrayLike) -> NDArray[np.float64]:
        """(m,) density at ``x``, (m,), all at least 0; 0 beyond the end of a bounded tail."""
        z = np.asarray(x, dtype=np.float64) / self.sigma
        if self._exponential:
            return np.exp(-z) / self.sigma
        within = 1 + self.xi * z > 0
        logarithm = np.log1p(np.where(within, self.xi * z, 0.0))
        return np.where(within, np.exp(-(1 / self.xi + 1) * logarithm) / self.sigma, 0.0)

    @property
    def _exponential(self) -> bool:
        return abs(self.xi) < 1e-12  # 1 / xi would lose every digit


def _theta(x: NDArray[np.float64]) -> float:
    """Posterior mean of -xi / sigma for ascending excesses ``x``, (n,)."""
    n = x.size
    m = 20 + int(np.sqrt(n))
    quartile = max(float(x[int(n / 4 + 0.5) - 1]), 1e-9)  # of a mean of 1; ties just above u must not overflow
    theta = 1 / x[-1] + (1 - np.sqrt(m / (np.arange(1, m + 1) - 0.5))) / (3 * quartile)
    theta = theta[theta != 0]
    xi = np.array([_xi(each, x) for each in theta])
    likelihood = n * (np.log(-theta / xi) - xi - 1)
    weight = np.exp(likelihood - likelihood.max())
    return float(theta @ weight / weight.sum())


def _xi(theta: float, x: NDArray[np.float64]) -> float:
    return float(np.log1p(-theta * x).mean())
