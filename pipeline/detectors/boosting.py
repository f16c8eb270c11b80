"""Gradient-boosted trees on the seen attacks: a supervised head."""

from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.detectors.base import Detector, at_most, draw, rows_at_once
from pipeline.errors import TrainingError
from pipeline.nn import in_parts

LEAST_EXCESS: Final = 1e-3  # of log-odds that hardly differ


class Boosting(Detector):
    """How much like seen attacks a row is: log-odds of gradient-boosted trees, the greatest over the seen families.

    Friedman, "Greedy Function Approximation: A Gradient Boosting Machine", 2001, on histograms; the fit is
    scikit-learn's. Trees of few leaves, each split on a share of the features, ask what several features say of an
    attack instead of the one that parts the seen attacks best, which carries over better to attacks that were not seen.

    Each family f of the seen attacks has trees of its own against the benign rows, so that what tells a rare family
    is not outvoted by a frequent one. Log-odds of different trees have no common unit; they are put into that of the
    upper tail of benign rows that the trees have not seen, which lies above its quantile t with a mean excess e::

        score(x) = max over f of (log-odds_f(x) - t_f) / e_f

    These rows are left out of the fit part by part. With one family the score is its log-odds.

    The nodes of all trees lie in one vector; a leaf leads to itself, so that after as many steps as the deepest tree
    has levels every row has reached its leaf.

    Args:
        features: Z.
        families: ``each`` has its own trees | ``together``: one set of trees tells all of them from benign rows.
        trees: T, of a family.
        leaves: of a tree, at most.
        learning_rate: by which each tree's values are shrunk.
        share: of the features that a split chooses from.
        l2: penalty on the values of the leaves.
        least: rows that a family needs for trees of its own; the smaller ones share theirs.
        parts: that the benign rows are left out in.
        quantile: of their log-odds, where the tail begins.
        max_rows: rows that the trees are grown on at most, drawn by ``seed``.
        seed: of the rows drawn and of the features of each split.
    """

    trains_on = "all"
    sized_by_data = ("root", "start", "begin", "excess", "feature", "threshold", "left", "right", "value")

    root: Tensor
    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    value: Tensor
    start: Tensor
    begin: Tensor
    excess: Tensor
    depth: Tensor

    def __init__(
        self,
        features: int,
        *,
        families: Literal["each", "together"] = "each",
        trees: int = 100,
        leaves: int = 8,
        learning_rate: float = 0.1,
        share: float = 0.2,
        l2: float = 1.0,
        least: int = 20,
        parts: int = 3,
        quantile: float = 0.99,
        max_rows: int = 500_000,
        seed: int = 0,
    ) -> None:
        super().__init__(features)
        if families not in ("each", "together"):
            raise ValueError(f"families must be 'each' or 'together', not {families!r}")
        if trees < 1 or leaves < 2 or max_rows < 2:
            raise ValueError(f"trees must be at least 1, leaves and max_rows 2, not {trees}, {leaves}, {max_rows}")
        if not 0 < share <= 1 or learning_rate <= 0 or l2 < 0:
            raise ValueError(
                f"share must lie in (0, 1], learning_rate above 0, l2 at 0 or above, not {share}, {learning_rate}, {l2}"
            )
        if least < 1 or parts < 2 or not 0 < quantile < 1:
            raise ValueError(
                f"least must be at least 1, parts 2, quantile must lie in (0, 1), not {least}, {parts}, {quantile}"
            )
        self.families, self.least, self.parts, self.quantile = families, least, parts, quantile
        self.trees, self.leaves, self.learning_rate = trees, leaves, learning_rate
        self.share, self.l2, self.max_rows, self.seed = share, l2, max_rows, seed
        self.register_buffer("root", torch.zeros(0, dtype=torch.int64))  # (G T,) node that each tree begins at
        for name in ("feature", "left", "right"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64))  # (N,) of all nodes
        for name in ("threshold", "value"):
            self.register_buffer(name, torch.zeros(0))  # (N,)
        self.register_buffer("start", torch.zeros(1))  # (G,) log-odds before the first tree
        self.register_buffer("begin", torch.zeros(1))  # (G,) where the tail begins
        self.register_buffer("excess", torch.ones(1))  # (G,) mean above that
        self.register_buffer("depth", torch.zeros((), dtype=torch.int64))

    def initialise(self, x: Tensor) -> None:
        """Nothing without labels; see ``initialise_labelled``."""

    def initialise_labelled(self, x: Tensor, y: Tensor) -> None:
        """Grow the trees on x (n, F) and y (n,), the number of the family of each attack.

        Raises:
            TrainingError: if a class is absent.
        """
        rows = draw(torch.arange(len(x)), self.max_rows, self.seed)
        values, family = x[rows].double().cpu().numpy(), self._grouped(y[rows].cpu().numpy())
        attack = family != 0
        if attack.all() or not attack.any():
            absent = "benign records" if attack.any() else "seen attacks"
            raise TrainingError(
                f"detector boosting: it tells seen attacks from benign records, but there are no {absent} among the "
                f"{len(attack)} training records; check ingest.path and preprocess.unseen, or set stage2.head=none"
            )
        numbers = np.unique(family[attack])
        grown = [self._grow(values, family, number) for number in numbers]
        self._keep([each for model in grown for each in _trees(model)])
        self.start = torch.tensor([float(np.ravel(model._baseline_prediction)[0]) for model in grown]).to(self.start)
        tails = [(0.0, 1.0)]
        if len(numbers) > 1:
            part = np.random.default_rng(self.seed).integers(self.parts, size=int((~attack).sum()))
            tails = [self._tail(values, family, number, part) for number in numbers]
        self.begin, self.excess = torch.tensor(tails).to(self.begin).unbind(1)

    def _grouped(self, y: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """(n,) 0 for benign rows, else the number of the trees that a row belongs to."""
        if self.families == "together":
            y = (y != 0).astype(np.int64)
        numbers, counts = np.unique(y[y != 0], return_counts=True)
        small = np.isin(y, numbers[counts < self.least])
        grouped: NDArray[np.int64] = np.where(small, -1, y).astype(np.int64)
        return grouped

    def _grow(self, x: NDArray[np.float64], family: NDArray[np.int64], number: int) -> Any:
        """The library's model of one family against the benign rows."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        kept = (family == 0) | (family == number)
        model = HistGradientBoostingClassifier(
            max_iter=self.trees,
            max_leaf_nodes=self.leaves,
            learning_rate=self.learning_rate,
            max_features=self.share,
            l2_regularization=self.l2,
            early_stopping=False,
            random_state=self.seed,
        )
        return model.fit(x[kept], family[kept] != 0)

    def _tail(
        self, x: NDArray[np.float64], family: NDArray[np.int64], number: int, part: NDArray[np.int64]
    ) -> tuple[float, float]:
        """Where the tail of the log-odds of unseen benign rows begins, and their mean excess above that."""
        benign, scores = np.flatnonzero(family == 0), []
        for left_out in (part == each for each in np.unique(part)):
            fitted = np.ones(len(x), bool)
            fitted[benign[left_out]] = left_out.all()  # a single row cannot be left out
            model = self._grow(x[fitted], family[fitted], number)
            fewer = float(np.log(fitted[benign].mean()))  # fewer benign rows raise the odds of an attack
            scores.append(model.decision_function(x[benign[left_out]]) + fewer)
        odds = np.concatenate(scores)
        begin = float(np.quantile(odds, self.quantile))
        above = odds[odds > begin]
        return begin, max(float((above - begin).mean()), LEAST_EXCESS) if above.size else 1.0

    def _keep(self, grown: list[NDArray[Any]]) -> None:
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
        self.depth.fill_(int(nodes["depth"].max()))

    def score(self, x: Tensor) -> Tensor:
        """How far the family that says most lies out of the benign tail, in its mean excess: (B, F) to (B,)."""
        return in_parts(self._score, x, rows_at_once(x, 8 * max(len(self.root), 1)))

    def _score(self, x: Tensor) -> Tensor:
        values, families = x.float(), len(self.start)
        node = self.root.expand(len(x), -1)  # (B, G T)
        for _ in range(int(self.depth)):
            right = values.gather(1, self.feature.take(node)) > self.threshold.take(node)
            node = torch.where(right, self.right.take(node), self.left.take(node))
        odds = self.start + self.value.take(node).view(len(x), families, len(self.root) // families).sum(2)  # (B, G)
        said: Tensor = ((odds - self.begin) / self.excess).amax(1)
        return said


def _trees(model: Any) -> list[NDArray[Any]]:
    """The nodes of each tree of the library's model.

    Not public: scikit-learn has no public way to them. A test holds us to its own scores.
    """
    return [tree.nodes for iteration in model._predictors for tree in iteration]
