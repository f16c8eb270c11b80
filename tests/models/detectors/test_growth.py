"""Trees that count no histogram that nobody reads: they are those of scikit-learn, to the last bit."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from pipeline.models.detectors.binning import Binned, binned
from pipeline.models.detectors.growing_tree import Growth
from pipeline.models.detectors.growth import Grown, draw, grow


def rows(n: int, features: int = 12) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Rows with smooth, coarse and constant features, and copies of features, so that splits tie; which are attacks."""
    generator = np.random.default_rng(n)
    x = generator.normal(size=(n, features)).astype(np.float32)
    x[:, 1] = np.round(x[:, 1], 1)
    x[:, 2] = x[:, 3] > 0
    x[:, 4], x[:, 5] = 0, x[:, 6]
    return x, x[:, 0] * x[:, 7] + x[:, 2] + 0.3 * generator.normal(size=n) > 1.5


def theirs(x: NDArray[np.float32], attack: NDArray[np.bool_], growth: Growth) -> Any:
    """The public class, fitted."""
    settings = {"max_iter": growth.trees, "max_leaf_nodes": growth.leaves, "learning_rate": growth.shrinkage}
    settings |= {"max_features": growth.feature_share, "l2_regularization": growth.l2, "random_state": growth.seed}
    return HistGradientBoostingClassifier(**settings, early_stopping=False).fit(x.astype(np.float64), attack)


def assert_same(ours: Grown, bins: Binned, library: Any) -> None:
    for own, their in zip(bins.thresholds, library._bin_mapper.bin_thresholds_, strict=True):
        np.testing.assert_array_equal(own, their)
    assert ours.start == library._baseline_prediction.item()
    for tree, (predictor,) in zip(ours.trees, library._predictors, strict=True):
        nodes, leaf = predictor.nodes, tree["leaf"]
        np.testing.assert_array_equal(leaf, nodes["is_leaf"].astype(bool))
        np.testing.assert_array_equal(tree["value"][leaf], nodes["value"][leaf])
        for own, their in (("feature", "feature_idx"), ("threshold", "num_threshold"), ("left", "left")):
            np.testing.assert_array_equal(tree[own][~leaf], nodes[their][~leaf])
    assert ours.depth == max(int(predictor.nodes["depth"].max()) for (predictor,) in library._predictors)


@pytest.mark.parametrize(
    "growth",
    [
        Growth(trees=30, leaves=8, shrinkage=0.1, feature_share=0.2, l2=1.0, seed=0),
        Growth(trees=10, leaves=40, shrinkage=0.3, feature_share=0.5, l2=0.0, seed=3),
        Growth(trees=10, leaves=2, shrinkage=0.1, feature_share=1.0, l2=1.0, seed=1),
        Growth(trees=5, leaves=31, shrinkage=0.1, feature_share=0.01, l2=1.0, seed=2),
    ],
)
@pytest.mark.parametrize("n", [30, 300, 4000])
def test_the_trees_are_those_of_scikit_learn(n: int, growth: Growth) -> None:
    x, attack = rows(n)
    attack[:2] = False, True
    bins = binned(x)
    assert_same(grow(bins, attack, growth), bins, theirs(x, attack, growth))


def test_its_log_odds_are_those_of_scikit_learn() -> None:
    x, attack = rows(2000)
    growth = Growth(trees=20, leaves=8, shrinkage=0.1, feature_share=0.5, l2=1.0, seed=0)
    ours, others = grow(binned(x), attack, growth), rows(500)[0]
    expected = theirs(x, attack, growth).decision_function(others.astype(np.float64))
    np.testing.assert_allclose(ours.odds(others), expected, rtol=1e-12, atol=1e-12)


def test_a_histogram_is_counted_only_where_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40 features each split looks at two: the root of a stump needs these, and one more for its sums."""
    from sklearn.ensemble._hist_gradient_boosting import histogram

    counted, builder = [], histogram.HistogramBuilder

    class Counting:
        def __init__(self, *given: Any) -> None:
            self.own = builder(*given)

        def compute_histograms_brute(self, some: Any, features: Any) -> Any:
            counted.append(len(features))
            return self.own.compute_histograms_brute(some, features)

    monkeypatch.setattr(histogram, "HistogramBuilder", Counting)
    x, attack = rows(500, 40)
    grow(binned(x), attack, Growth(4, 2, 0.1, 0.05, 1.0, 0))
    assert sum(counted) <= 4 * 3


@given(
    importance=arrays(np.float32, st.integers(2, 200), elements=st.floats(2**-16, 1, width=32)),
    share=st.floats(0.05, 0.95),
)
def test_a_row_is_drawn_as_likely_as_it_is_important(importance: NDArray[np.float32], share: float) -> None:
    rows = max(1, int(share * len(importance)))
    drawn, weights = draw(importance, rows, np.random.default_rng(0))
    assume((weights > 1).any())
    level = (weights * importance[drawn])[weights > 1][0]
    chance = np.minimum(1, importance / level)
    assert chance.sum() == pytest.approx(rows, rel=1e-4)
    np.testing.assert_allclose(weights, 1 / chance[drawn], rtol=1e-4)
    assert set(np.flatnonzero(importance > level * 1.001)) <= set(drawn.tolist())


def test_the_sum_over_a_draw_is_on_average_that_over_all_rows() -> None:
    generator = np.random.default_rng(0)
    value = generator.exponential(size=500).astype(np.float32)
    sums = []
    for seed in range(400):
        drawn, weights = draw(np.sqrt(value), 50, np.random.default_rng(seed))
        sums.append((weights * value[drawn]).sum())
    assert abs(np.mean(sums) - value.sum()) < 4 * np.std(sums) / np.sqrt(len(sums))


def test_trees_on_a_draw_find_what_trees_on_all_rows_find() -> None:
    x, attack = rows(20_000)
    growth = Growth(trees=60, leaves=8, shrinkage=0.1, feature_share=0.5, l2=1.0, seed=0)
    others, found = rows(4000)
    whole, drawn = (grow(binned(x), attack, replace(growth, sample=sample)) for sample in (None, 2000))
    best, less = (roc_auc_score(found, trees.odds(others)) for trees in (whole, drawn))
    assert less > best - 0.01
    # Their log-odds are those of all rows, not of the rows drawn, of which many more are attacks.
    share = 1 / (1 + np.exp(-drawn.odds(x)))
    assert share.mean() == pytest.approx(attack.mean(), rel=0.1)


def test_the_same_seed_draws_the_same_rows() -> None:
    x, attack = rows(3000)
    growth = Growth(trees=12, leaves=8, shrinkage=0.1, feature_share=0.5, l2=1.0, seed=0, sample=300)
    first, second = (grow(binned(x), attack, growth) for _ in range(2))
    np.testing.assert_array_equal(np.concatenate(first.trees), np.concatenate(second.trees))
