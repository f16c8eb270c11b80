"""The density of a mixture of Gaussians, which leaves out components that rounding would swallow."""

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Double = NDArray[np.float64]
Single = NDArray[np.float32]

NEGLIGIBLE: Final = 30.0  # nats: e^-30 is far below the rounding of a float32, in which scores are kept
AXES: Final = 20  # along which a row is first compared with all components
ROWS_AT_ONCE: Final = 256  # whose first distances fit into a cache
ROOM: Final = 1e-4  # for rounding in a first distance, relative to it


class Mixture:
    """K Gaussians.

    In many dimensions a row belongs to one component or two. A Gaussian of a few coordinates is that of all, seen from
    one side, and its squared distance is at most the whole one. So the principal axes of the mixture give an upper
    bound of each density. Only components whose bound comes near the highest density are computed to their end, in
    float64, so that the density of a row does not depend on the rows beside it but for the last bits of a float64.

    Args:
        log_weights: (K,) of the components.
        means: (K, F).
        precisions: (K, F, F) upper triangular factors: the precision of a component is its factor times the transpose.
    """

    def __init__(self, log_weights: Floats, means: Floats, precisions: Floats) -> None:
        self.means, self.precisions = means.astype(np.float64), precisions.astype(np.float64)
        determinants = np.log(self.precisions.diagonal(axis1=1, axis2=2)).sum(1)
        self.highest = (
            log_weights.astype(np.float64) + determinants - means.shape[1] * math.log(2 * math.pi) / 2
        )  # (K,)
        self._narrow(np.exp(log_weights.astype(np.float64)))

    def _narrow(self, weights: Double) -> None:
        """Keep the principal axes, and the components as they are along these."""
        roots = np.linalg.inv(self.precisions)  # the transpose of one times it is a covariance
        middle = weights @ self.means / weights.sum()
        apart = (self.means - middle) * np.sqrt(weights)[:, None]
        wide = (roots * np.sqrt(weights)[:, None, None]).reshape(-1, len(middle))
        _, axes = np.linalg.eigh(wide.T @ wide + apart.T @ apart)
        self.axes = np.ascontiguousarray(axes[:, ::-1][:, :AXES], dtype=np.float32)  # (F, A)
        narrow = roots @ self.axes.astype(np.float64)  # (K, F, A)
        factors = np.linalg.cholesky(np.linalg.inv(narrow.transpose(0, 2, 1) @ narrow))  # (K, A, A)
        centres = np.einsum("kf,fa,kab->kb", self.means, self.axes.astype(np.float64), factors)
        joined = np.concatenate([factors.transpose(1, 0, 2).reshape(self.axes.shape[1], -1), -centres.reshape(1, -1)])
        self.joined = joined.astype(np.float32)  # (A + 1, K A)

    def log_density(self, z: Floats) -> Double:
        """(n,) in nats, of z, (n, F)."""
        with np.errstate(all="ignore"):  # a row may be infinitely far away
            joint = self.joint(z)
            highest = joint.max(1, initial=-np.inf)
            found: Double = highest + np.log(np.exp(joint - highest[:, None]).sum(1))
        return found

    def joint(self, z: Floats) -> Double:
        """(n, K) log of weight times density; -inf where it is ``NEGLIGIBLE`` beside that of another component."""
        bound = self._bounds(z)
        joint = np.full(bound.shape, -np.inf)
        likely = bound.argmax(1)
        for k in range(bound.shape[1]):
            self._compute(z, k, np.flatnonzero(likely == k), joint)
        may = bound > (joint.max(1) - NEGLIGIBLE)[:, None]
        may[np.arange(len(z)), likely] = False
        for k in range(bound.shape[1]):
            self._compute(z, k, np.flatnonzero(may[:, k]), joint)
        return joint

    def _bounds(self, z: Floats) -> Single:
        """(n, K) log of weight times density at most, by the axes alone."""
        bounds, number = np.empty((len(z), len(self.means)), np.float32), self.axes.shape[1]
        highest = self.highest.astype(np.float32)
        for start in range(0, len(z), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            some = np.ones((len(bounds[part]), number + 1), np.float32)
            some[:, :-1] = z[part] @ self.axes
            white = (some @ self.joined).reshape(len(some), len(highest), number)
            bounds[part] = highest - np.einsum("nka,nka->nk", white, white) * np.float32((1 - ROOM) / 2)
        far = ~np.isfinite(bounds)  # too far for a float32
        if far.any():
            bounds[far] = np.inf
        return bounds

    def _compute(self, z: Floats, k: int, rows: NDArray[np.intp], joint: Double) -> None:
        """Put the log of weight times density of component k into its column of ``joint``, for some rows of z."""
        if len(rows):
            apart, factor, half = z.take(rows, axis=0) - self.means[k], self.precisions[k], z.shape[1] // 2
            parts = apart[:, :half] @ factor[:half, :half], apart @ factor[:, half:]  # the rest of the factor is 0
            joint[rows, k] = self.highest[k] - sum(np.einsum("mf,mf->m", white, white) for white in parts) / 2
