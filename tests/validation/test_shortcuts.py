"""What one feature alone tells, against an independent AUROC; days, labels and classes of a few records."""

import json

import numpy as np
import pandas as pd
import pytest

from pipeline.datasets.schema import Column
from pipeline.evaluation import metrics
from pipeline.validation import audit, shortcut_sentences
from pipeline.validation.sample import ClassSample, Sample
from pipeline.validation.single_feature import feature_aurocs
from tests.settings import limits_with, shortcuts_with

NUMBER = Column("size", integer=False)
ATTACKS = ("benign", "bot", "ddos", "dos")


def sample(x, attack, seed=0):
    half = np.random.default_rng(seed).integers(0, 2, len(attack))
    return Sample(np.asarray(attack), ATTACKS, half, np.asarray(x, dtype=float).reshape(len(attack), -1))


@pytest.fixture
def mixed(rng):
    """Values with ties, infinities and missing ones, rising with the class."""
    attack = np.sort(rng.integers(0, 4, 400))
    x = np.round(rng.normal(size=400) + attack / 2, 1)
    x[rng.integers(0, 400, 60)] = rng.choice([np.nan, np.inf, -np.inf], 60)
    return x, attack


def test_the_auroc_is_that_of_the_metrics(mixed):
    x, attack = mixed
    (told,) = feature_aurocs(sample(x, attack), [NUMBER])
    score = np.where(np.isnan(x), -np.inf, x)
    expected = [metrics.auroc(attack[rows] > 0, score[rows]) for k in (1, 2, 3) for rows in [np.isin(attack, [0, k])]]
    assert told.reading == "rank"
    np.testing.assert_allclose(list(told.by_attack.values()), np.maximum(expected, 1 - np.array(expected)))
    assert told.pooled == pytest.approx(metrics.auroc(attack > 0, score))
    assert told.mean == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("change", [np.arctan, lambda x: -(x**3), lambda x: np.exp(x / 4)])
def test_a_monotone_change_of_the_feature_changes_nothing(rng, change):
    attack = np.sort(rng.integers(0, 4, 300))
    x = rng.normal(size=300) + attack
    (before,), (after,) = (feature_aurocs(sample(each, attack), [NUMBER]) for each in (x, change(x)))
    assert after.by_attack == pytest.approx(before.by_attack)
    assert after.of_all == pytest.approx(before.of_all)


def test_one_direction_serves_all_attacks(rng):
    attack = np.repeat([0, 1, 2, 3], 100)
    x = rng.normal(size=400) + np.choose(attack, [0, 9, -9, 9])
    (told,) = feature_aurocs(sample(x, attack), [NUMBER])
    assert min(told.by_attack.values()) > 0.999
    assert told.of_all < 0.7


def test_codes_and_words_are_read_by_value_and_names_of_single_records_tell_nothing(rng):
    attack = np.repeat([0, 1, 2, 3], [300, 100, 100, 100])
    code = np.choose(attack, [1.0, 0.0, 2.0, 3.0])  # benign in the middle: no order tells it from the others
    unique, word = rng.permutation(600), np.choose(attack, [7, 5, 9, 5]) + 10 * rng.integers(0, 3, 600)
    columns = [Column("code"), Column("id", categorical=True), Column("word", categorical=True), Column("p", "port")]
    told = feature_aurocs(sample(np.stack([code, unique, word, word], axis=1), attack), columns)
    assert [each.reading for each in told] == ["value"] * 4
    assert [each.of_all for each in told] == pytest.approx([1.0, 0.5, 1.0, 1.0], abs=0.1)


def test_classes_of_fewer_than_five_records_tell_nothing():
    attack = np.repeat([0, 1, 2], [20, 4, 5])
    (told,) = feature_aurocs(sample(attack, attack), [NUMBER])
    assert list(told.by_attack) == ["ddos"]
    assert feature_aurocs(sample(attack[18:], attack[18:]), [NUMBER]) == ()
    assert feature_aurocs(sample(attack[:24], attack[:24]), [NUMBER]) == ()


def test_the_sample_is_bounded_and_the_same_for_whatever_batches(rng):
    frame = pd.DataFrame({"record_id": np.arange(500), "attack": pd.Categorical(rng.choice(ATTACKS, 500))})
    x = rng.normal(size=500)

    def drawn(*cuts):
        kept = ClassSample([NUMBER], 30)
        for rows in np.split(np.arange(500), cuts):
            kept.add(frame.iloc[rows].reset_index(drop=True), {"size": x[rows]}, {})
        return kept.result()

    whole, cut = drawn(), drawn(1, 7, 200, 201, 450)
    assert np.bincount(whole.attack).tolist() == [30] * 4
    assert set(whole.half) == {0, 1}
    for name in ("attack", "half", "x"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(cut, name))


def test_days_labels_attempts_and_few_records_are_told(make, only):
    attack = dict.fromkeys((1, 3, 5), "bot")
    days = dict.fromkeys(range(12, 20), "tuesday") | {19: None}
    changed = {
        "attack": attack,
        "family": attack,
        "day": days,
        "attempted": dict.fromkeys(range(1, 20, 2), False) | {7: True},
        "destination_port": {3: 2.0},
    }
    findings = audit([make(20, only(), **changed)], limits_with(), only())
    found, told = findings.shortcuts, shortcut_sentences(findings.shortcuts)
    assert list(found.attacks) == ["ddos", "bot"]
    assert found.too_few == ("bot",)
    assert found.one_day == {"bot": "monday"}
    assert found.attacks["ddos"].days == {"monday": 3, "tuesday": 3}
    assert found.attempted_share == 0.1
    assert (found.attacks["bot"].disagreeing, found.both_labels) == (1, 2)
    assert "1 attack records equal one of another class" in told["labels"]
    assert "2 records, benign ones among them, bear both labels" in told["labels"]
    # Cramér: [[3, 0], [3, 3]] has chi2 = 9 (9 - 0)^2 / (3 * 6 * 6 * 3) = 2.25
    assert found.day_association == pytest.approx((2.25 / 9) ** 0.5)
    assert "bot" in told["too_few"]
    assert "10.0%" in told["attempted"]
    assert json.dumps(found.summary(), allow_nan=False)
    findings.check()


def test_on_one_day_no_attack_coincides_with_it(make, only):
    found = audit([make(20, only())], limits_with(), only()).shortcuts
    assert (found.one_day, found.day_association) == ({}, None)


def test_a_limit_below_chance_is_refused():
    with pytest.raises(ValueError, match=r"leak_auroc must lie in \[0.5, 1\], given 0.4"):
        shortcuts_with(leak_auroc=0.4)
