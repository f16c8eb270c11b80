"""Boosted trees on histograms; of many rows, those are drawn that the trees so far are not sure of."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.models.arrays.trees import Trees
from pipeline.models.detectors.base import at_most
from pipeline.models.detectors.binning import BINS, Binned
from pipeline.models.detectors.growing_tree import Growth, Tree

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

FLATTEST: Final = -37.0  # log-odds below which the gradient no longer changes
ROUND: Final = 10  # trees that grow on the same draw of rows


class Grown(NamedTuple):
    """A set of trees.

    Attributes:
        start: log-odds before the first tree.
        trees: T arrays of nodes, of type ``NODE``; the first is the root, and a node comes before those below it.
        depth: of the deepest tree.
    """

    start: float
    trees: Sequence[NDArray[Any]]
    depth: int

    def odds(self, x: NDArray[np.float32]) -> Floats:
        """(n,) log-odds of x, (n, F)."""
        return Trees(**packed(self.trees), start=np.array([self.start]), depth=self.depth).odds(x)[:, 0]


def packed(trees: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The nodes of all trees in one vector of each kind, as ``Trees`` takes them."""
    roots = np.cumsum([0, *(len(nodes) for nodes in trees)])[:-1]
    offset = np.repeat(roots, [len(nodes) for nodes in trees])
    nodes = np.concatenate(trees)
    threshold = np.where(nodes["leaf"], np.float32(0), at_most(nodes["threshold"]))
    feature, value = (np.ascontiguousarray(nodes[name]) for name in ("feature", "value"))
    left, right = (nodes[name] + offset for name in ("left", "right"))
    return {"root": roots, "feature": feature, "threshold": threshold, "left": left, "right": right, "value": value}


def grow(binned: Binned, attack: NDArray[np.bool_], growth: Growth) -> Grown:
    """Grow trees that tell attacks, a mask (n,), from benign rows.

    Friedman, "Greedy Function Approximation: A Gradient Boosting Machine", 2001, with the binomial deviance.
    """
    share = float(attack.mean())
    start = math.log(share / (1 - share))
    odds, features = np.full(len(attack), start), _generator(growth.seed)
    if growth.sample is None or growth.sample >= len(attack):
        grown = list(_trees(binned, attack, odds, np.ones(1, np.float32), growth, features, growth.trees))
    else:
        grown = list(_by_rounds(binned, attack, odds, growth, features, growth.sample))
    return Grown(start, [nodes for nodes, _ in grown], max(depth for _, depth in grown))


def _by_rounds(
    binned: Binned, attack: NDArray[np.bool_], odds: Floats, growth: Growth, features: np.random.Generator, sample: int
) -> Iterator[tuple[NDArray[Any], int]]:
    """Grow each round of trees on a draw of the rows; see ``draw``."""
    generator = np.random.default_rng(growth.seed)
    for before in range(0, growth.trees, ROUND):
        gradients, hessians = _slopes(odds, attack)
        rows, weights = draw(np.hypot(gradients, hessians), sample, generator)
        count = min(ROUND, growth.trees - before)
        for nodes, depth in _trees(binned.part(rows), attack[rows], odds[rows], weights, growth, features, count):
            odds += _values(nodes, binned.codes)
            yield nodes, depth


def draw(importance: Singles, rows: int, generator: np.random.Generator) -> tuple[NDArray[np.int64], Singles]:
    """About so many rows of (n,), each as likely as it is important, and one over the chance of each.

    A sum over the rows drawn, each by its weight, is on average the sum over all rows. Its variance is least if the
    importance is the root of squared gradient plus squared Hessian.

    Source: Ibragimov, Gusev, "Minimal Variance Sampling in Stochastic Gradient Boosting", 2019, theorem 1, lambda 1.
    """
    rising = np.sort(importance).astype(np.float64)
    certain = np.arange(min(rows, len(rising)))  # how many rows are drawn for certain: the most important ones
    rest = np.cumsum(rising)[len(rising) - 1 - certain] / (rows - certain)
    level = rest[np.argmax(rising[len(rising) - 1 - certain] <= rest)]
    chance = np.minimum(importance / level, 1).astype(np.float32)
    drawn = np.flatnonzero(generator.random(len(chance), np.float32) < chance)
    return drawn, 1 / chance[drawn]


def _trees(
    binned: Binned,
    attack: NDArray[np.bool_],
    odds: Floats,
    weights: Singles,
    growth: Growth,
    features: np.random.Generator,
    count: int,
) -> Iterator[tuple[NDArray[Any], int]]:
    """The nodes and the depth of so many trees on weighted rows, whose log-odds, (n,), begin as given."""
    odds = odds.copy()
    for _ in range(count):
        gradients, hessians = _slopes(odds, attack)
        tree = Tree(binned, gradients * weights, hessians * weights, growth, features)
        for leaf in tree.leaves:
            odds[tree.rows(leaf)] += leaf.value * growth.shrinkage
        yield tree.nodes(binned.thresholds), max(leaf.depth for leaf in tree.leaves)


def _slopes(odds: Floats, attack: NDArray[np.bool_]) -> tuple[Singles, Singles]:
    """(n,) gradient and Hessian of the deviance at these log-odds, (n,)."""
    falling = np.exp(-np.maximum(odds, FLATTEST))
    gradients = (np.where(attack, -falling, 1.0) / (1 + falling)).astype(np.float32)
    return gradients, (falling / (1 + falling) ** 2).astype(np.float32)


def _values(nodes: NDArray[Any], codes: NDArray[np.uint8]) -> Floats:
    """(n,) what a tree adds to the log-odds of rows in bins, (n, F)."""
    from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
    from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor

    theirs = np.zeros(len(nodes), PREDICTOR_RECORD_DTYPE)
    names = (("is_leaf", "leaf"), ("feature_idx", "feature"), ("bin_threshold", "bin"))
    for name, own in (*names, ("left", "left"), ("right", "right"), ("value", "value")):
        theirs[name] = nodes[own]
    none = np.zeros((0, 8), np.uint32)
    found: Floats = TreePredictor(theirs, none, none).predict_binned(codes, BINS, 1)
    return found


def _generator(seed: int) -> np.random.Generator:
    """What draws the features of each split: seeded as in the library, which draws another number first."""
    legacy = np.random.RandomState(seed)
    _, own = (legacy.randint(np.iinfo(np.uint32).max, dtype="u8") for _ in range(2))
    return np.random.default_rng(own)
