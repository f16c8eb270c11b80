"""Isolation forest."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.base.errors import TrainingError
from pipeline.models.arrays.isolation_forest import IsolationForestForm
from pipeline.models.arrays.stored import Stored
from pipeline.models.detectors.base import at_most, draw
from pipeline.models.detectors.closed_form import ClosedForm

Floats = NDArray[np.float64]
Grown = tuple[NDArray[np.int64], NDArray[np.float32], Floats]


class IsolationForest(ClosedForm):
    """How fast random splits isolate a row: 2 ^ -(E[h(x)] / c(samples)), between 0 and 1.

    h(x) is the depth of the leaf that x falls into, plus c(rows in the leaf); c(n) is the mean depth of an unsuccessful
    search in a binary tree of n rows. Liu, Ting, Zhou, "Isolation Forest", 2008; the fit is scikit-learn's.

    Each tree is kept as a perfect one, in the order of a heap: the children of node i are 2i + 1 and 2i + 2, and a leaf
    above the last level leads to itself on both sides. A level is then one comparison for all rows and trees.

    Args:
        features: Z.
        trees: T.
        samples: rows that a tree is grown on.
        max_rows: rows that the trees draw from at most, drawn by ``seed``.
        seed: of the rows drawn and of the splits.
    """

    split_feature: Tensor
    split_value: Tensor
    length: Tensor

    def __init__(
        self, features: int, trees: int = 100, samples: int = 256, max_rows: int = 200_000, seed: int = 0
    ) -> None:
        super().__init__(features)
        if trees < 1 or not 2 <= samples <= max_rows:
            raise ValueError(
                f"trees must be at least 1 and samples between 2 and max_rows, not {trees}, {samples} and {max_rows}"
            )
        self.trees, self.samples, self.max_rows, self.seed = trees, samples, max_rows, seed
        self.depth = math.ceil(math.log2(samples))
        inner, leaves = 2**self.depth - 1, 2**self.depth
        self.register_buffer("split_feature", torch.zeros(trees, inner, dtype=torch.int64))
        self.register_buffer("split_value", torch.zeros(trees, inner))
        self.register_buffer("length", torch.zeros(trees, leaves))  # h / (T c(samples))

    def fit(self, x: Tensor, y: Tensor | None = None) -> None:
        """Grow the trees on x (n, F).

        Raises:
            TrainingError: if there are fewer than 2 rows.
        """
        from sklearn.ensemble import IsolationForest as Forest

        if len(x) < 2:
            raise TrainingError(f"detector isolation_forest: at least 2 records are needed, given {len(x)}")
        rows = draw(x, self.max_rows, self.seed).float().cpu().numpy()
        samples = min(self.samples, len(rows))
        forest = Forest(n_estimators=self.trees, max_samples=samples, random_state=self.seed).fit(rows)
        grown = [_grown(tree.tree_, self.depth) for tree in forest.estimators_]
        split_feature, split_value, length = (np.stack(arrays) for arrays in zip(*grown, strict=True))
        self.split_feature.copy_(torch.from_numpy(split_feature))
        self.split_value.copy_(torch.from_numpy(split_value))
        self.length.copy_(torch.from_numpy(length / (self.trees * mean_depth(np.array([samples])))))

    def _formed(self, arrays: Stored) -> IsolationForestForm:
        return IsolationForestForm.of(arrays, self.features)


def mean_depth(n: NDArray[np.int64]) -> Floats:
    """c(n) = 2 H(n - 1) - 2 (n - 1) / n, with H(i) = ln(i) + 0.5772...; 1 for n = 2, 0 below (equation 1)."""
    many = np.maximum(n, 3).astype(np.float64)
    value = 2 * (np.log(many - 1) + np.euler_gamma) - 2 * (many - 1) / many
    return np.where(n > 2, value, (n == 2).astype(np.float64))


def _grown(tree: Any, depth: int) -> Grown:
    """A tree of scikit-learn as a perfect one: (2^depth - 1,) features and thresholds, (2^depth,) path lengths."""
    node, edges = np.zeros(1, np.int64), np.zeros(1)
    split_feature, split_value = [], []
    for _ in range(depth):
        leaf = tree.children_left[node] < 0
        split_feature.append(np.where(leaf, 0, tree.feature[node]))
        split_value.append(np.where(leaf, 0.0, tree.threshold[node]))
        children = np.stack((tree.children_left[node], tree.children_right[node]), 1)
        node = np.where(leaf[:, None], node[:, None], children).ravel()
        edges = (edges + ~leaf).repeat(2)
    length = edges + mean_depth(tree.n_node_samples[node])
    return np.concatenate(split_feature).astype(np.int64), at_most(np.concatenate(split_value)), length
