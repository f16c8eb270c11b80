"""The boosted trees: the same scores as the library that grew them, and what they are refused."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from pipeline.base.errors import TrainingError
from pipeline.models.detectors.boosting import Boosting


def rows(n=1500, features=6, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, features)).astype(np.float32)
    y = (x[:, 0] * x[:, -1] + 0.5 * rng.normal(size=n) > 0.7).astype(np.int8)
    return x, y


def grown(x, y, **settings):
    head = Boosting(x.shape[1], **settings)
    head.fit(torch.from_numpy(x), torch.from_numpy(y))
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
    x = np.round(x * 4) / 4  # so few values that a part of the rows has the bins of all
    y = np.repeat(np.arange(len(counts) + 1), (1200, *counts))
    for number in range(1, len(counts) + 1):
        x[y == number, number - 1] += 3
    return x, y


def units(head, x, y, others, **settings):
    """(n, G) surprise of each set of trees, all attacks first, grown apart from each other."""
    masks = [y > 0, *(y == number for number in range(1, y.max() + 1))]
    odds = [grown(x[(y == 0) | mask], (y > 0)[(y == 0) | mask], **settings).score(others) for mask in masks]
    tail = (torch.stack(odds, 1) - head.begin) / head.excess
    return torch.log1p(torch.exp(tail - np.log(1 - head.quantile)))


def test_the_score_is_what_all_say_and_the_most_that_a_family_says():
    x, y = families()
    head, others = grown(x, y, trees=20), torch.from_numpy(families(seed=1)[0])
    together, first, second = units(head, x, y, others, trees=20).unbind(1)
    expected = together + torch.maximum(first, second)
    torch.testing.assert_close(head.score(others), expected, rtol=1e-4, atol=1e-4)
    each = grown(x, y, trees=20, families="each")
    torch.testing.assert_close(each.score(others), torch.maximum(first, second), rtol=1e-4, atol=1e-4)
    whole = grown(x, y, trees=20, families="together")
    torch.testing.assert_close(whole.score(others), grown(x, y > 0, trees=20).score(others))


@pytest.mark.parametrize("quantile", [0.9, 0.95])
def test_its_surprise_is_that_of_new_benign_rows(quantile):
    x, y = families((300, 300))
    benign = torch.from_numpy(np.random.default_rng(5).normal(size=(20_000, 5)).astype(np.float32))
    others = torch.cat([benign, torch.from_numpy(x[y == 1])])
    head = grown(x, y, parts=6, quantile=quantile)
    for surprise in units(head, x, y, others)[:, 1:].unbind(1):
        for level in (0.1, 0.03, 0.01):
            share = float((surprise[: len(benign)] > -np.log(level)).float().mean())
            assert level / 2.5 < share < 2.5 * level


def test_a_rare_family_is_not_outvoted():
    x, y = families((600, 600, 25))
    others, numbers = families((10, 10, 2000), seed=1)
    rare, benign = torch.from_numpy(others[numbers == 3]), torch.from_numpy(others[numbers == 0])

    def recall(how):
        head = grown(x, y, families=how)
        return float((head.score(rare) > head.score(benign).quantile(0.99)).float().mean())

    assert recall("both") > recall("together")
    assert recall("each") > recall("together")


def test_small_families_share_their_trees():
    x, y = families((200, 12, 9, 30))
    assert grown(x, y, trees=3).start.shape == (4,)
    assert grown(x, y, trees=3, families="each").start.shape == (3,)
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
