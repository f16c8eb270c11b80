"""The batch decision: few of its alarms are false, and a record's p-value never depends on it."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from pipeline.calibration import cross_conformal
from pipeline.calibration.named_thresholds import Decision
from pipeline.calibration.thresholds.percentile import Percentile
from pipeline.models.detectors.folds import Folds
from pipeline.models.detectors.mahalanobis import Mahalanobis
from pipeline.serving import discoveries

LEVEL = 0.2


def share(found, attack):
    return (found & ~attack).sum() / max(found.sum(), 1)


@pytest.mark.parametrize("attacks", [20, 100])
def test_the_share_of_false_alarms_is_as_asked_on_average(attacks):
    random = np.random.default_rng(attacks)
    attack = np.arange(400) < attacks
    false, power = [], []
    for _ in range(300):
        decision = Decision.fit(random.normal(size=1000), [99], Percentile())
        found = discoveries.discoveries(decision.p_value(random.normal(size=400) + 4 * attack), LEVEL)
        false.append(share(found, attack))
        power.append(found[attack].mean())
    assert np.mean(false) <= LEVEL * (1 - attacks / 400) + 4 * np.std(false) / math.sqrt(300)
    assert np.mean(power) > 0.8


def test_it_holds_for_models_of_folds_too():
    attack = np.arange(300) < 40
    false = []
    for draw in range(40):
        random = np.random.default_rng(draw)
        x = random.normal(size=(800, 3)).astype(np.float32)
        new = random.normal(size=(300, 3)).astype(np.float32) + 5 * attack[:, None].astype(np.float32)
        fold = torch.from_numpy(cross_conformal.deal(x, [], 4))
        none = torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)
        model = Folds.fitted(lambda: Mahalanobis(3), torch.from_numpy(x), fold, *none)
        known, scores = (model.score(torch.from_numpy(each)).double().numpy() for each in (x, new))
        p_value = Decision.fit(known, [99], Percentile()).p_value(scores)
        found = discoveries.discoveries(p_value, LEVEL)
        assert found[attack].all()
        false.append(share(found, attack))
    assert np.mean(false) <= LEVEL + 4 * np.std(false) / math.sqrt(40)


def test_no_records_make_no_discoveries():
    assert discoveries.discoveries(np.zeros(0), 0.1).shape == (0,)
    assert not discoveries.discoveries(np.ones(5), 0.1).any()


@pytest.mark.parametrize(("records", "calibration"), [(1000, 999), (30, 99), (7, 5000)])
def test_as_many_records_beyond_all_others_are_needed_as_is_said(records, calibration):
    needed = discoveries.fewest(records, calibration, 0.1)
    for beyond in range(1, records + 1):
        p_value = np.ones(records)
        p_value[:beyond] = 1 / (calibration + 1)
        assert discoveries.discoveries(p_value, 0.1).any() == (beyond >= needed)


def test_scores_beyond_the_reference_are_found_before_others():
    random = np.random.default_rng(0)
    decision = Decision.fit(random.normal(size=2000), [99], Percentile())
    p_value = decision.p_value(np.append(norm.ppf(np.linspace(0.01, 0.99, 99)), [9.0]))
    assert discoveries.discoveries(p_value, 0.1).tolist() == [False] * 99 + [True]
