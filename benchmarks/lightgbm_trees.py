"""Boosted trees: grown by LightGBM on rows that are binned once, and read as plain arrays."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.base.parallel import cores, in_order
from pipeline.models.detectors.base import at_most

FIXED: Final = {
    "objective": "binary",
    "max_bin": 63,
    "min_data_in_leaf": 20,
    "use_missing": False,  # features have no gaps
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,  # several sets of trees grow at once instead
    "verbosity": -1,
}


class Growth(NamedTuple):
    """How trees grow.

    Attributes:
        trees: T, how many.
        leaves: of a tree, at most.
        learning_rate: by which each tree's values are shrunk.
        share: of the features that a split chooses from.
        l2: penalty on the values of the leaves.
        seed: of these features.
    """

    trees: int
    leaves: int
    learning_rate: float
    share: float
    l2: float
    seed: int

    def parameters(self) -> dict[str, Any]:
        """What LightGBM calls them."""
        return FIXED | {
            "num_leaves": self.leaves,
            "learning_rate": self.learning_rate,
            "feature_fraction_bynode": self.share,
            "lambda_l2": self.l2,
            "seed": self.seed,
        }


class Binned:
    """Rows whose values are put into bins once, for any number of sets of trees on some of these rows.

    Ke et al., "LightGBM: A Highly Efficient Gradient Boosting Decision Tree", 2017.

    Args:
        x: (n, F) without NaN.
        attack: (n,) what the trees tell apart.
        growth: how they grow.
    """

    def __init__(self, x: NDArray[np.float32], attack: NDArray[np.bool_], growth: Growth) -> None:
        from lightgbm import Dataset

        self.x, self.attack, self.growth = np.ascontiguousarray(x), attack, growth
        self._bins = Dataset(self.x, label=attack, params=growth.parameters()).construct()

    def grow(self, sets: Sequence[NDArray[np.bool_]]) -> list[Any]:
        """The library's model for each set of rows, an (n,) mask."""
        return list(in_order(self._grow, sets, cores()))

    def _grow(self, rows: NDArray[np.bool_]) -> Any:
        from lightgbm import train

        chosen: Any = np.flatnonzero(rows)  # LightGBM takes an array, although it says a list
        return train(self.growth.parameters(), self._bins.subset(chosen), self.growth.trees)

    def odds(self, models: Iterable[Any], rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        """(m, G) log-odds that each model gives to some of the rows, an (n,) mask."""
        x = self.x[rows]
        return np.stack([model.predict(x, raw_score=True, num_threads=1) for model in models], axis=1)


class Nodes(NamedTuple):
    """The N nodes of several trees, one tree behind the other.

    A row whose ``feature`` exceeds the ``threshold`` goes to ``right``, else to ``left``. A leaf leads to itself.

    Attributes:
        root: (T,) node that each tree begins at.
        feature: (N,) 0 for a leaf.
        threshold: (N,) 0 for a leaf.
        left: (N,) node.
        right: (N,) node.
        value: (N,) log-odds that a leaf adds; 0 for any other node.
        depth: steps from a root to the deepest leaf.
    """

    root: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float32]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: NDArray[np.float64]
    depth: int

    @classmethod
    def of(cls, models: Iterable[Any], trees: int) -> "Nodes":
        """The nodes of LightGBM's models, as its public dump in JSON tells them.

        Args:
            models: each with at most ``trees`` trees: it drops one that finds no split.
            trees: of a model; trees that add nothing stand for those that were dropped.
        """
        roots: list[int] = []
        nodes: list[_Node] = []
        for model in models:
            grown = [tree["tree_structure"] for tree in model.dump_model()["tree_info"]]
            for tree in grown + [{"leaf_value": 0.0}] * (trees - len(grown)):
                roots.append(len(nodes))
                nodes += _in_order(tree, len(nodes))
        feature, threshold, left, right, value, level = (np.array(column) for column in zip(*nodes, strict=True))
        return cls(np.array(roots), feature, at_most(threshold), left, right, value, int(level.max()))


_Node = tuple[int, float, int, int, float, int]  # feature, threshold, left, right, value, level


def _in_order(tree: dict[str, Any], first: int) -> list[_Node]:
    """The nodes of a tree, level by level; the first one has the number ``first``."""
    found: list[_Node] = []
    waiting = [(tree, 0)]
    for node, level in waiting:  # grows while it is read
        own, following = first + len(found), first + len(waiting)
        if "leaf_value" in node:
            found.append((0, 0.0, own, own, node["leaf_value"], level))
        else:
            found.append((node["split_feature"], node["threshold"], following, following + 1, 0.0, level))
            waiting += [(node["left_child"], level + 1), (node["right_child"], level + 1)]
    return found
