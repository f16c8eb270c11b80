"""Manual thresholds, mixtures of confidences, and the objectives as their papers write them."""

import numpy as np
import pytest
import torch

from pipeline import ssad
from pipeline.base.errors import DataError
from tests.ssad.small import train, updates

SCORES = [0.1, 0.2, 0.3, 0.4, 0.9]
CUTS = ssad.Thresholds(0.2, 0.4)


def test_manual_thresholds_are_those_that_were_given():
    assert ssad.Manual(0.2, 0.5)(SCORES) == ssad.Thresholds(0.2, 0.5)
    assert ssad.Manual(0.2)(SCORES, CUTS) == ssad.Thresholds(0.2, 0.2)
    assert len(ssad.Manual(0.2).analysis(SCORES).edges) > 1
    with pytest.raises(ValueError, match="low <= high"):
        ssad.Manual(0.5, 0.2)
    with pytest.raises(DataError, match="NaN"):
        ssad.Manual(0.5)([np.nan])


def test_a_training_with_manual_thresholds_is_cut_there(tmp_path):
    result = train(tmp_path, updates=updates(strategy=ssad.Manual(40, 60)))
    assert result.thresholds == ssad.Thresholds(40, 60)
    assert ((result.scores > 60) == (result.confidence < 0)).all()


def test_a_mixture_is_the_weighted_mean_of_its_rules():
    def sceptic(scores, thresholds):
        return np.zeros(len(scores), dtype=np.float32)

    rules = [ssad.Binary(), ssad.Ecdf(), sceptic]
    mixed = ssad.Mixture((2, rules[0]), (1, rules[1]), (1, rules[2]))(SCORES, CUTS)
    said = [np.asarray(rule(SCORES, CUTS), dtype=np.float64) for rule in rules]
    assert mixed == pytest.approx(0.5 * said[0] + 0.25 * said[1] + 0.25 * said[2])
    assert mixed.dtype == np.float32
    assert (np.diff(mixed) <= 0).all()


def test_a_mixture_of_two_is_the_hybrid():
    mixed = ssad.Mixture((0.3, ssad.Ecdf()), (0.7, ssad.Binary()))(SCORES, CUTS)
    assert mixed == pytest.approx(ssad.Hybrid(0.3)(SCORES, CUTS))


@pytest.mark.parametrize("weights", [[], [0, 0], [-1, 2], [np.nan, 1], [np.inf, 1]])
def test_weights_that_make_no_mean_are_refused(weights):
    with pytest.raises(ValueError, match="weights of at least 0"):
        ssad.Mixture(*((weight, ssad.Binary()) for weight in weights))


def test_a_mixture_of_three_rules_trains(tmp_path):
    thirds = ssad.Mixture((1, ssad.Binary()), (1, ssad.Ecdf()), (1, ssad.Hybrid(0.5)))
    result = train(tmp_path, updates=updates(rule=thirds))
    assert len(set(result.confidence)) > 10
    assert ((result.confidence > 0) == (result.scores <= result.thresholds.low)).mean() > 0.9


def tensors(*rows):
    return [torch.tensor(row, dtype=torch.float64) for row in rows]


def test_radon_is_the_published_loss():
    value, confidence = tensors([0.1, 0.4, 0.7, 0.9], [1, 1, 0, -1])
    s = 1 - value  # the cosine
    expected = ((1 - s[0]) ** 2 + (1 - s[1]) ** 2 + s[3] ** 2) / 3
    assert float(ssad.RADON()(value, confidence)) == pytest.approx(float(expected), abs=1e-15)
    assert float(ssad.RADON()(value, torch.zeros(4, dtype=torch.float64))) == 0


def test_grand_is_the_published_loss():
    energy, confidence = tensors([3.0, 5.0, 4.0, 8.0, 30.0], [1, 1, 0, 0, -1])
    expected = (3 + 5 + 0.5 * abs(10 - 4) + 1.0 * abs(10 - 8) + abs(10 - 30)) / 5
    assert float(ssad.GRAnD(10)(energy, confidence)) == pytest.approx(expected, abs=1e-12)
    without = (3 + 5 + abs(10 - 30)) / 5
    assert float(ssad.GRAnD(10, "ignore")(energy, confidence)) == pytest.approx(without, abs=1e-12)
    with pytest.raises(ValueError, match="margin > 0 and unknown one of"):
        ssad.GRAnD(10, "other")


def test_a_weighted_objective_leaves_out_or_pushes_away():
    value, confidence = tensors([1.0, 2.0, 4.0, 8.0], [1, 1, 0, -1])
    assert float(ssad.Weighted()(value, confidence)) == 1.5
    assert float(ssad.Weighted(unknown=1)(value, confidence)) == pytest.approx(7 / 3)
    assert float(ssad.Weighted(lambda v: 1 / v)(value, confidence)) == pytest.approx((1 + 2 + 1 / 8) / 3)
    assert float(ssad.Weighted()(value, -torch.ones(4, dtype=torch.float64))) == 0
    with pytest.raises(ValueError, match="unknown"):
        ssad.Weighted(unknown=2)


def test_the_scores_of_an_autoencoder():
    x = torch.rand(5, 1, 3, 3, dtype=torch.float64)
    half = torch.nn.Flatten(1, -1)
    assert ssad.squared_error(torch.nn.Identity(), x).tolist() == [0] * 5
    assert ssad.cosine_distance(torch.nn.Identity(), x).abs().max() == 0
    away = torch.nn.ReLU()
    cosine = torch.nn.functional.cosine_similarity((x - 0.5).relu().flatten(1), (x - 0.5).flatten(1))
    assert ssad.cosine_distance(away, x - 0.5).tolist() == pytest.approx((1 - cosine).tolist())
    assert half(x).shape == (5, 9)
