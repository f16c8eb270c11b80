"""Expectation maximisation of a mixture of Gaussians that leaves out what rounding would swallow."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import TrainingError

Floats = NDArray[np.float64]
Part = tuple[NDArray[np.int64], Floats]
"""The rows that a component has a share of, (m,), and these shares, (m,)."""

NEGLIGIBLE: Final = 40.0  # nats: e^-40 is below the rounding of a float64
ENOUGH: Final = 1e-3  # nats a row: a step that gains less is the last one
MOST_STEPS: Final = 100
FIRST: Final = 4  # a row's distance from each component is first computed in one of so many parts of its features
AT_ONCE: Final = 256  # rows whose first distances fit into a cache


@dataclass(frozen=True)
class Mixture:
    """K Gaussians.

    Attributes:
        weights: (K,) positive, of sum 1.
        means: (K, F).
        precisions: (K, F, F) upper triangular factors: the precision of a component is its factor times the transpose.
    """

    weights: Floats
    means: Floats
    precisions: Floats

    @classmethod
    def fit(cls, x: Floats, components: int, regularisation: float, seed: int) -> "Mixture":
        """Fit a mixture to x, (n, F), from the clusters of k-means.

        In many dimensions a row belongs to one component, and its share of most others is less than the rounding of its
        own. Such a share is left out: neither the density is computed to its end, nor does the row enter the sums of
        that component. The parameters are those of the full sums but for rounding.

        Raises:
            TrainingError: a covariance has no inverse.
        """
        from sklearn.cluster import KMeans

        label = KMeans(components, n_init=1, random_state=np.random.RandomState(seed)).fit(x).labels_
        rows = [np.flatnonzero(label == k) for k in range(components)]
        mixture = cls._of_parts(x, [(each, np.ones(len(each))) for each in rows], regularisation)
        reached = -math.inf
        for _ in range(MOST_STEPS):
            before = reached
            reached, parts = mixture.shares(x)
            mixture = cls._of_parts(x, parts, regularisation)
            if abs(reached - before) < ENOUGH:
                return mixture
        warnings.warn(
            f"the mixture still gains {reached - before:.2g} nats a record after {MOST_STEPS} steps", stacklevel=2
        )
        return mixture

    @classmethod
    def _of_parts(cls, x: Floats, parts: Sequence[Part], regularisation: float) -> "Mixture":
        """The mixture that is most likely, given which rows of x, (n, F), each component has what share of."""
        from scipy.linalg import solve_triangular

        sizes = np.array([share.sum() for _, share in parts]) + 10 * np.finfo(np.float64).eps
        means, unit = np.empty((len(parts), x.shape[1])), np.eye(x.shape[1])
        precisions = np.empty((len(parts), *unit.shape))
        for k, (rows, share) in enumerate(parts):
            apart = x[rows]
            means[k] = share @ apart / sizes[k]
            apart -= means[k]
            apart *= np.sqrt(share)[:, None]
            covariance = apart.T @ apart / sizes[k] + regularisation * unit
            try:
                root = np.linalg.cholesky(covariance)
            except np.linalg.LinAlgError as error:
                raise TrainingError(
                    f"detector gmm: the covariance of component {k + 1} of {len(parts)} has no inverse; "
                    "lower stage2.gmm.components"
                ) from error
            precisions[k] = solve_triangular(root, unit, lower=True, check_finite=False).T
        return cls(sizes / sizes.sum(), means, precisions)

    def shares(self, x: Floats) -> tuple[float, list[Part]]:
        """The mean log density of x, (n, F), and the rows that each component has a share of."""
        joint = self._joint(x)
        highest = joint.max(1)
        share = np.exp(joint - highest[:, None])
        total = share.sum(1)
        share /= total[:, None]
        rows = [np.flatnonzero(column) for column in share.T]
        return float((highest + np.log(total)).mean()), [(each, share[each, k]) for k, each in enumerate(rows)]

    def _joint(self, x: Floats) -> Floats:
        """(n, K) log of weight times density; -inf where it is ``NEGLIGIBLE`` beside that of another component.

        The factor of a precision is triangular. So the distance in the first features is a part of the whole distance.
        It bounds the density from above, and a row whose bound is too low is not looked at again.
        """
        bound, first = self._bounds(x), max(1, x.shape[1] // FIRST)
        joint, highest, every = np.full_like(bound, -np.inf), np.full(len(x), -np.inf), np.arange(len(x))
        likely = bound.argmax(1)
        likeliest = [np.flatnonzero(likely == k) for k in range(len(self.weights))]
        for k, rows in enumerate(likeliest):
            highest[rows] = joint[rows, k] = bound[rows, k] - self._rest(x[rows], k, first)
        bound[every, likely] = -np.inf
        for k in range(len(self.weights)):
            rows = np.flatnonzero(bound[:, k] > highest - NEGLIGIBLE)
            joint[rows, k] = bound[rows, k] - self._rest(x[rows], k, first)
            highest[rows] = np.maximum(highest[rows], joint[rows, k])
        return joint

    def _bounds(self, x: Floats) -> Floats:
        """(n, K) log of weight times density, but for what the later features take from it."""
        components, features = self.means.shape
        first = max(1, features // FIRST)
        factors = self.precisions[:, :first, :first]  # (K, f, f)
        joined = np.ascontiguousarray(factors.transpose(1, 0, 2)).reshape(first, -1)  # (f, K f)
        centres = np.einsum("kf,kfg->kg", self.means[:, :first], factors).ravel()
        heights = self.precisions.diagonal(axis1=1, axis2=2)
        highest = np.log(self.weights) + np.log(heights).sum(1) - features * math.log(2 * math.pi) / 2
        bounds = np.empty((len(x), components))
        for start in range(0, len(x), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            white = (x[part, :first] @ joined - centres).reshape(-1, components, first)
            bounds[part] = highest - np.einsum("nkf,nkf->nk", white, white) / 2
        return bounds

    def _rest(self, x: Floats, k: int, first: int) -> Any:
        """(m,) by how much the features from ``first`` on lower the log density of x, (m, F), in component k."""
        factor = self.precisions[k, :, first:]
        white = x @ factor
        white -= self.means[k] @ factor
        return np.einsum("mf,mf->m", white, white) / 2
