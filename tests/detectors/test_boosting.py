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


def test_its_state_is_all_that_it_is():
    x, y = rows()
    head, back = grown(x, y), Boosting(x.shape[1])
    back.load_state_dict(head.state_dict())
    assert torch.equal(back.score(torch.from_numpy(x)), head.score(torch.from_numpy(x)))
    assert torch.equal(grown(x, y).score(torch.from_numpy(x)), head.score(torch.from_numpy(x)))


@pytest.mark.parametrize(("label", "absent"), [(0, "no seen attacks"), (1, "no benign records")])
def test_one_class_is_refused(label, absent):
    x, y = rows()
    with pytest.raises(TrainingError, match=absent):
        grown(x, np.full_like(y, label))


@pytest.mark.parametrize("wrong", [{"trees": 0}, {"leaves": 1}, {"share": 0.0}, {"share": 1.1}, {"l2": -1.0}])
def test_settings_outside_their_limits_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        Boosting(3, **wrong)
