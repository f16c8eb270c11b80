"""A fitted mixture of Gaussians."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from pipeline.models.arrays.base import Form, squares
from pipeline.models.arrays.mixture import Mixture
from pipeline.models.arrays.parts import Rows, in_parts
from pipeline.models.arrays.standardise import Standardise
from pipeline.models.arrays.stored import Stored

LEAST: int = -80  # nats below the largest part of a sum


@dataclass(frozen=True)
class GMMForm(Form):
    """-log p(x) of K Gaussians of standardised features.

    Attributes:
        standardise: the features.
        log_weights: (K,).
        means: (K, F).
        precisions: (K, F, F) upper triangular factors: the precision of a component is its factor times the transpose.
    """

    standardise: Standardise
    log_weights: Rows
    means: Rows
    precisions: Rows

    @classmethod
    def of(cls, arrays: Stored, features: int) -> Self:
        """That of a fitted ``GMM``."""
        weights = arrays.floats("log_weights", None)
        means = arrays.floats("means", len(weights), features)
        precisions = arrays.floats("precisions", len(weights), features, features)
        return cls(Standardise.of(arrays.part("standardise"), features), weights, means, precisions)

    def scores(self, x: Rows) -> Rows:
        """-log p(x) in nats, (n,) of (n, F)."""
        scores: Rows = -(self._mixture.log_density(self.standardise(x)) + self.standardise.ladj)
        return scores.astype(self.means.dtype, copy=False)

    def terms(self, x: Rows) -> Rows:
        """Half the squared distance from each component, feature by feature, under the responsibilities r: (n, F).

        As in ``MahalanobisForm.terms`` for each component k, with d = z - mean_k and its precision P: sum over k of
        r_k d_i (P d)_i / 2. The score is their sum plus a part that belongs to no feature, since r is given::

            sum over k of r_k (log r_k - log weight_k - log |P_k| / 2) + F log(2 pi) / 2 - ladj
        """
        return in_parts(self._terms, x)

    @property
    def replaces_quickly(self) -> bool:
        """True."""
        return True

    def replaced(self, x: Rows, reference: Rows) -> Rows:
        """(n, F) scores if one entry alone is replaced; each component as in ``MahalanobisForm.replaced``."""
        return in_parts(self._replaced, x, reference)

    def _terms(self, x: Rows) -> Rows:
        z = self.standardise(x)
        joint, white = self._components(z)
        share = np.exp(joint - joint.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)
        parts = (z[:, None] - self.means) * self._towards(white)
        terms: Rows = 0.5 * np.einsum("bk,bkf->bf", share, parts)
        return terms

    def _replaced(self, x: Rows, reference: Rows) -> Rows:
        z = self.standardise(x)
        joint, white = self._components(z)
        step = (self.standardise(reference) - z)[:, None]  # (B, 1, F)
        change = 2 * step * self._towards(white) + step * step * self._lengths
        changed = joint[..., None] - 0.5 * np.maximum(change, -squares(white)[..., None])
        return self._score(changed)

    def _score(self, joint: Rows) -> Rows:
        """(B, ...) -log p of the logs of weight times density, (B, K, ...).

        A part of exp(-80) of the largest one changes no bit of the sum. Smaller ones underflow, which takes a CPU up to
        100 times as long as any other.
        """
        highest = joint.max(1, keepdims=True)
        total = np.exp(np.maximum(joint - highest, LEAST)).sum(1)
        score: Rows = -(np.log(total) + highest[:, 0]) - self.standardise.ladj
        return score

    def _components(self, z: Rows) -> tuple[Rows, Rows]:
        """The log of weight times density of each component, (B, K), and z, (B, F), whitened by each, (B, K, F)."""
        components, features = self.means.shape
        white = (z @ self._joined).reshape(len(z), components, features)
        white -= self._centres
        log_normal = self._log_det - 0.5 * (squares(white) + features * math.log(2 * math.pi))
        return self.log_weights + log_normal, white

    def _towards(self, white: Rows) -> Rows:
        """(B, K, F) whitened differences times the transposed factor of each component."""
        products = white.transpose(1, 0, 2) @ self.precisions.transpose(0, 2, 1)  # (K, B, F)
        return products.transpose(1, 0, 2)

    @cached_property
    def _mixture(self) -> Mixture:
        return Mixture(self.log_weights, self.means, self.precisions)

    @cached_property
    def _joined(self) -> Rows:
        """(F, K F) the factors side by side."""
        return np.ascontiguousarray(self.precisions.transpose(1, 0, 2)).reshape(self.means.shape[1], -1)

    @cached_property
    def _centres(self) -> Rows:
        """(K, F) the means, whitened."""
        return np.stack([mean @ factor for mean, factor in zip(self.means, self.precisions, strict=True)])

    @cached_property
    def _log_det(self) -> Rows:
        """(K,) log |P| / 2 of each precision."""
        found: Rows = np.log(self.precisions.diagonal(axis1=1, axis2=2)).sum(-1)
        return found

    @cached_property
    def _lengths(self) -> Rows:
        """(K, F) the squared length of each row of the factors."""
        return squares(self.precisions)
