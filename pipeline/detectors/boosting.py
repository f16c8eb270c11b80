"""Gradient-boosted trees on the seen attacks: a supervised head."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.detectors.base import Detector, at_most, draw, rows_at_once
from pipeline.errors import TrainingError
from pipeline.nn import in_parts


class Boosting(Detector):
    """Log-odds of being one of the seen attacks, the sum over the trees of the value of the leaf that a row falls into.

    Friedman, "Greedy Function Approximation: A Gradient Boosting Machine", 2001, on histograms; the fit is
    scikit-learn's. Trees of few leaves, each split on a share of the features, ask what several features say of an
    attack instead of the one that parts the seen attacks best, which carries over better to attacks that were not seen.

    The nodes of all trees lie in one vector; a leaf leads to itself, so that after as many steps as the deepest tree
    has levels every row has reached its leaf.

    Args:
        features: Z.
        trees: T, at most.
        leaves: of a tree, at most.
        learning_rate: by which each tree's values are shrunk.
        share: of the features that a split chooses from.
        l2: penalty on the values of the leaves.
        max_rows: rows that the trees are grown on at most, drawn by ``seed``.
        seed: of the rows drawn and of the features of each split.
    """

    trains_on = "all"
    sized_by_data = ("root", "feature", "threshold", "left", "right", "value")

    root: Tensor
    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    value: Tensor
    start: Tensor
    depth: Tensor

    def __init__(
        self,
        features: int,
        *,
        trees: int = 200,
        leaves: int = 8,
        learning_rate: float = 0.1,
        share: float = 0.2,
        l2: float = 1.0,
        max_rows: int = 500_000,
        seed: int = 0,
    ) -> None:
        super().__init__(features)
        if trees < 1 or leaves < 2 or max_rows < 2:
            raise ValueError(f"trees must be at least 1, leaves and max_rows 2, not {trees}, {leaves}, {max_rows}")
        if not 0 < share <= 1 or learning_rate <= 0 or l2 < 0:
            raise ValueError(
                f"share must lie in (0, 1], learning_rate above 0, l2 at 0 or above, not {share}, {learning_rate}, {l2}"
            )
        self.trees, self.leaves, self.learning_rate = trees, leaves, learning_rate
        self.share, self.l2, self.max_rows, self.seed = share, l2, max_rows, seed
        self.register_buffer("root", torch.zeros(0, dtype=torch.int64))  # (T,) node that each tree begins at
        for name in ("feature", "left", "right"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64))  # (N,) of all nodes
        for name in ("threshold", "value"):
            self.register_buffer(name, torch.zeros(0))  # (N,)
        self.register_buffer("start", torch.zeros(()))  # log-odds before the first tree
        self.register_buffer("depth", torch.zeros((), dtype=torch.int64))

    def initialise(self, x: Tensor) -> None:
        """Nothing without labels; see ``initialise_labelled``."""

    def initialise_labelled(self, x: Tensor, y: Tensor) -> None:
        """Grow the trees on x (n, F) and y (n,).

        Raises:
            TrainingError: if a class is absent.
        """
        from sklearn.ensemble import HistGradientBoostingClassifier

        rows = draw(torch.arange(len(x)), self.max_rows, self.seed)
        attack = (y[rows] != 0).cpu().numpy()
        if attack.all() or not attack.any():
            absent = "benign records" if attack.any() else "seen attacks"
            raise TrainingError(
                f"detector boosting: it tells seen attacks from benign records, but there are no {absent} among the "
                f"{len(attack)} training records; check ingest.path and preprocess.unseen, or set stage2.head=none"
            )
        model = HistGradientBoostingClassifier(
            max_iter=self.trees,
            max_leaf_nodes=self.leaves,
            learning_rate=self.learning_rate,
            max_features=self.share,
            l2_regularization=self.l2,
            early_stopping=False,
            random_state=self.seed,
        )
        model.fit(x[rows].double().cpu().numpy(), attack)
        # Not public: scikit-learn has no public way to the trees of this model. A test holds us to its own scores.
        grown = [each.nodes for iteration in model._predictors for each in iteration]
        self._keep(grown, float(np.ravel(model._baseline_prediction)[0]))

    def _keep(self, grown: list[NDArray[Any]], start: float) -> None:
        roots = np.cumsum([0, *(len(nodes) for nodes in grown)])[:-1]
        offset = np.repeat(roots, [len(nodes) for nodes in grown])
        nodes = np.concatenate(grown)
        leaf, own = nodes["is_leaf"].astype(bool), np.arange(len(nodes))
        buffers = {
            "root": roots,
            "feature": np.where(leaf, 0, nodes["feature_idx"]),
            "threshold": np.where(leaf, np.float32(0), at_most(nodes["num_threshold"])),
            "left": np.where(leaf, own, nodes["left"].astype(np.int64) + offset),
            "right": np.where(leaf, own, nodes["right"].astype(np.int64) + offset),
            "value": np.where(leaf, nodes["value"], 0.0),
        }
        for name, array in buffers.items():
            setattr(self, name, torch.from_numpy(array).to(getattr(self, name)))
        self.start.fill_(start)
        self.depth.fill_(int(nodes["depth"].max()))

    def score(self, x: Tensor) -> Tensor:
        """The log-odds, (B, F) to (B,)."""
        return in_parts(self._score, x, rows_at_once(x, 8 * max(len(self.root), 1)))

    def _score(self, x: Tensor) -> Tensor:
        values = x.float()
        node = self.root.expand(len(x), -1)  # (B, T)
        for _ in range(int(self.depth)):
            right = values.gather(1, self.feature.take(node)) > self.threshold.take(node)
            node = torch.where(right, self.right.take(node), self.left.take(node))
        return self.start + self.value.take(node).sum(1)
