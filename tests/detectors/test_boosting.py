"""The boosted trees: the same scores as the library that grew them, and what they are refused."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from pipeline.detectors import Boosting
from pipeline.errors import TrainingError


def rows(n=1500, features=6, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, features)).astype(np.float32)
    y = (x[:, 0] * x[:, -1] + 0.5 * rng.normal(size=n) > 0.7).astype(np.int8)
    return x, y


def grown(x, y, **settings):
    head = Boosting(x.shape[1], **settings)
    head.initialise_labelled(torch.from_numpy(x), torch.from_numpy(y))
    return head


@pytest.mark.parametrize(("trees", "leaves"), [(1, 2), (40, 8), (15, 60)])
def test_scores_are_the_log_odds_of_the_library(trees, leaves):
    x, y = rows()
    settings = {"max_iter": trees, "max_leaf_nodes": leaves, "l2_regularization": 1.0, "max_features": 0.2}
    oracle = HistGradientBoostingClassifier(**settings, early_stopping=False, random_state=0)
    oracle.fit(x.astype(np.float64), y == 1)
    others = rows(seed=1)[0]
    score = grown(x, y, trees=trees, leaves=leaves).score(torch.from_numpy(others))
    np.testing.assert_allclose(score, oracle.decision_function(others.astype(np.float64)), atol=2e-5)


def test_values_at_and_beside_a_split_go_the_way_of_the_library():
    x, y = rows(200, 1)
    head = grown(x, y, trees=3, share=1.0)
    oracle = HistGradientBoostingClassifier(
        max_iter=3, max_leaf_nodes=8, l2_regularization=1.0, max_features=1.0, early_stopping=False, random_state=0
    ).fit(x.astype(np.float64), y == 1)
    split = head.threshold[head.left != torch.arange(len(head.left))].unique()
    beside = torch.cat([split, torch.nextafter(split, split - 1), torch.nextafter(split, split + 1)])[:, None]
    expected = oracle.decision_function(beside.double().numpy())
    np.testing.assert_allclose(head.score(beside), expected, atol=2e-5)


def families(counts=(200, 200), seed=0):
    """Benign rows around 0, of each family as many as counted, far out along a feature of its own; number of family."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(1200 + sum(counts), 5)).astype(np.float32)
    y = np.repeat(np.arange(len(counts) + 1), (1200, *counts))
    for number in range(1, len(counts) + 1):
        x[y == number, number - 1] += 3
    return x, y


def test_each_family_has_its_own_trees_and_the_one_that_says_most_counts():
    x, y = families()
    head, others = grown(x, y, trees=20), torch.from_numpy(families(seed=1)[0])
    each = []
    for number in (1, 2):
        kept = (y == 0) | (y == number)
        odds = grown(x[kept], y[kept], trees=20).score(others)
        each.append((odds - head.begin[number - 1]) / head.excess[number - 1])
    torch.testing.assert_close(head.score(others), torch.maximum(*each), rtol=1e-5, atol=1e-5)


def test_a_unit_of_its_score_is_the_mean_excess_of_new_benign_rows():
    x, y = families((300, 60, 25))
    head = grown(x, y, parts=6, quantile=0.95)
    benign = torch.from_numpy(np.random.default_rng(5).normal(size=(20_000, 5)).astype(np.float32))
    for number in range(3):
        alone = Boosting(5)
        alone.load_state_dict(head.state_dict())
        alone.root, alone.start = head.root.view(3, -1)[number], head.start[number : number + 1]
        alone.begin, alone.excess = head.begin[number : number + 1], head.excess[number : number + 1]
        score = alone.score(benign)
        assert (score > 0).float().mean() == pytest.approx(0.05, abs=0.025)
        assert score[score > 0].mean() == pytest.approx(1.0, rel=0.4)


def test_a_rare_family_is_not_outvoted():
    x, y = families((600, 600, 25))
    others, numbers = families((10, 10, 2000), seed=1)
    rare, benign = torch.from_numpy(others[numbers == 3]), torch.from_numpy(others[numbers == 0])

    def recall(how):
        head = grown(x, y, families=how)
        return float((head.score(rare) > head.score(benign).quantile(0.99)).float().mean())

    assert recall("each") > recall("together")


def test_small_families_share_their_trees():
    x, y = families((200, 12, 9, 30))
    assert grown(x, y, trees=3).start.shape == (3,)
    assert grown(x, y, trees=3, least=300).start.shape == (1,)
    assert grown(x, y, trees=3, families="together").start.shape == (1,)


def test_copies_of_one_benign_row_and_a_single_one_are_survived():
    x, y = families()
    x[y == 0] = x[0]
    assert grown(x, y, trees=5).score(torch.from_numpy(x)).isfinite().all()
    assert grown(x[1199:], y[1199:], trees=5).score(torch.from_numpy(x)).isfinite().all()


@pytest.mark.parametrize("draw", [rows, families])
def test_its_state_is_all_that_it_is(draw):
    x, y = draw()
    head, back = grown(x, y), Boosting(x.shape[1])
    back.load_state_dict(head.state_dict())
    assert torch.equal(back.score(torch.from_numpy(x)), head.score(torch.from_numpy(x)))
    assert torch.equal(grown(x, y).score(torch.from_numpy(x)), head.score(torch.from_numpy(x)))


@pytest.mark.parametrize(("label", "absent"), [(0, "no seen attacks"), (1, "no benign records")])
def test_one_class_is_refused(label, absent):
    x, y = rows()
    with pytest.raises(TrainingError, match=absent):
        grown(x, np.full_like(y, label))


@pytest.mark.parametrize(
    "wrong",
    [
        {"trees": 0},
        {"leaves": 1},
        {"share": 0.0},
        {"share": 1.1},
        {"l2": -1.0},
        {"families": "all"},
        {"least": 0},
        {"parts": 1},
        {"quantile": 1.0},
    ],
)
def test_settings_outside_their_limits_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        Boosting(3, **wrong)
