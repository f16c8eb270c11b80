"""Figures of published labels: an attack record without payload takes its own weight with it, and no other."""

import numpy as np
import pytest

from benchmarks.published_labels import f1, figures, ranked
from pipeline.evaluation.metrics import auroc


def test_shares_that_are_beaten_are_the_auroc():
    random = np.random.default_rng(0)
    score, benign = random.integers(0, 9, 200).astype(float), np.arange(200) < 120
    assert ranked(score, benign, ~benign).mean() == pytest.approx(auroc(~benign, score))


def test_what_is_left_keeps_its_weight():
    attack = np.array(["benign"] * 100 + ["bot"] * 4 + ["dos"] * 2)
    benign, empty = attack == "benign", np.zeros(106, bool)
    empty[[0, 1, 100, 101]] = True
    score = np.concatenate([np.arange(100.0), [0.0, 0.5, 200.0, 200.0], [200.0, 50.5]])
    found = {"attack": attack, "score": score, "alarm": score >= 99, "empty": empty}
    weight = np.where(attack == "bot", 3.0, 1.0)
    false = found["alarm"][benign]
    whole, rest = (figures(found, false, benign, kept, weight) for kept in (np.ones(106, bool), ~empty))
    assert whole["recall"] == pytest.approx(100 * 7 / 14)
    assert rest["recall"] == pytest.approx(100 * 7 / 8)
    assert whole["FPR"] == rest["FPR"] == pytest.approx(1)
    assert rest["F1"] == pytest.approx(100 * f1(7 / 8, 0.01))
    assert (whole["bots"], rest["bots"]) == (4, 2)
    assert (whole["their recall"], rest["their recall"]) == (50, 100)
    assert whole["no payload"] == pytest.approx(100 * auroc([0, 0, 1, 1], [0, 1, 0, 0.5]))
    assert np.isnan(rest["no payload"])
