"""What a section states: against scikit-learn, scipy, brute force and simulation; nothing undefined becomes a NaN."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import roc_auc_score

from pipeline.evaluation import metrics, sections, single_feature
from tests.settings import asked_with

ASKED = asked_with({"p99": 0.01, "p95": 0.05}, n_calibration=400, rounds=100)


@pytest.fixture
def section():
    random = np.random.default_rng(0)
    attack = np.repeat(["benign", "bot", "ddos"], [500, 40, 160])
    y = (attack != "benign").astype(np.int8)
    score = random.standard_normal(700) + 2.0 * (attack == "ddos") + 0.5 * y
    return y, attack, score, {"p99": score > 2.3, "p95": score > 1.6}


def test_the_report_has_the_keys_that_its_readers_know(section):
    report = sections.report(*section, ASKED)
    assert (report["n"], report["n_benign"], report["n_attack"]) == (700, 500, 200)
    assert {"auroc", "auprc", "auprc_balanced", "tpr_at_fpr_1pct", "tpr_at_fpr_01pct"} <= set(report)
    assert list(report["thresholds"]) == list(report["macro_recall"]) == ["p99", "p95"]
    assert {"precision", "recall", "f1", "f1_balanced", "fpr"} <= set(report["thresholds"]["p99"])
    assert report["recall_by_attack"].keys() == {"bot", "ddos"}
    assert report["recall_by_attack"]["bot"].keys() == {"n", "p99", "p95"}
    assert report["recall_by_attack"]["bot"]["p99"].keys() == {"recall", "low", "high"}


def test_the_report_agrees_with_itself(section):
    report = sections.report(*section, ASKED)
    for name, rates in report["thresholds"].items():
        by_attack = report["recall_by_attack"].values()
        assert sum(by["n"] for by in by_attack) == report["n_attack"]
        assert sum(by["n"] * by[name]["recall"] for by in by_attack) == pytest.approx(rates["tp"])
        assert report["macro_recall"][name] == pytest.approx(np.mean([by[name]["recall"] for by in by_attack]))


def test_flagging_everything_is_the_baseline_beside(section):
    y, attack, score, _ = section
    everything = {"all": np.ones(700, dtype=bool)}
    report = sections.report(y, attack, score, everything, ASKED)
    assert report["flag_everything_f1"] == pytest.approx(report["thresholds"]["all"]["f1"])
    assert report["flag_everything_f1_balanced"] == pytest.approx(report["thresholds"]["all"]["f1_balanced"])


@pytest.mark.parametrize("kept", ["benign", "ddos", "nothing"])
def test_a_section_of_one_class_or_none_is_defined_and_valid_json(section, kept):
    y, attack, score, flagged = section
    rows = attack == kept
    masks = {name: mask[rows] for name, mask in flagged.items()}
    report = sections.report(y[rows], attack[rows], score[rows], masks, ASKED)
    json.dumps(report, allow_nan=False)
    assert report["auroc_low"] is report["auroc_macro"] is report["recall_at_fpr"]["0.01"]["recall"] is None
    assert report["auroc"] is report["auprc"] is report["tpr_at_fpr_1pct"] is None
    assert report["thresholds"]["p99"]["f1_balanced"] is None
    assert (report["thresholds"]["p99"]["fpr"] is None) == (kept != "benign")
    assert (report["thresholds"]["p99"]["recall"] is None) == (kept != "ddos")


records = st.lists(st.tuples(st.sampled_from(["benign", "bot", "ddos"]), st.integers(-4, 4)), min_size=2, max_size=60)
both_classes = records.filter(lambda rows: 0 < sum(name == "benign" for name, _ in rows) < len(rows))


def _arrays(rows):
    attack, score = np.array([name for name, _ in rows]), np.array([value for _, value in rows], dtype=float)
    return (attack != "benign").astype(int), attack, score


@settings(max_examples=50)
@given(both_classes)
def test_each_attack_is_ranked_against_all_benign_records(rows):
    y, attack, score = _arrays(rows)
    found = sections.auroc_by_attack(y, attack, score)
    assert found.keys() == set(attack) - {"benign"}
    for name, by in found.items():
        kept = (attack == name) | (y == 0)
        assert by["n"] == (attack == name).sum()
        assert by["auroc"] == pytest.approx(roc_auc_score(y[kept], score[kept]))
    pooled = sum(by["n"] * by["auroc"] for by in found.values()) / y.sum()
    assert pooled == pytest.approx(metrics.auroc(y, score))


@settings(max_examples=50)
@given(both_classes, st.floats(0, 1))
def test_recall_at_fpr_is_of_the_laxest_threshold_that_keeps_to_it(rows, fpr):
    y, attack, score = _arrays(rows)
    found = sections.recall_at_fpr(y, attack, score, fpr)
    cuts = [cut for cut in [*np.unique(score), math.inf] if (score[y == 0] >= cut).mean() <= fpr]
    flagged = score >= min(cuts)
    assert found["recall"] == pytest.approx(flagged[y == 1].mean()) == metrics.tpr_at_fpr(y, score, fpr)
    assert found["fpr"] == pytest.approx(flagged[y == 0].mean()) and found["fpr"] <= fpr
    recalls = {name: flagged[attack == name].mean() for name in set(attack) - {"benign"}}
    assert {name: by["recall"] for name, by in found["by_attack"].items()} == pytest.approx(recalls)
    assert found["macro"] == pytest.approx(np.mean(list(recalls.values())))
    assert all(by["low"] <= by["recall"] <= by["high"] for by in [found, *found["by_attack"].values()])


def test_a_family_of_one_record_has_its_figures_and_its_n():
    y, attack, score = [0, 0, 1], ["benign", "benign", "rare"], [0.0, 1.0, 2.0]
    report = sections.report(y, attack, score, {"p99": np.array([False, False, True])}, ASKED)
    assert report["auroc_by_attack"] == {"rare": {"n": 1, "auroc": 1.0}}
    assert report["recall_at_fpr"]["0.001"]["by_attack"]["rare"]["n"] == 1
    assert report["recall_at_fpr"]["0.001"]["by_attack"]["rare"]["low"] < 0.5


def test_the_interval_of_the_auroc_holds_it_and_narrows_with_n(section):
    y, attack, score, _ = section
    few, many = (sections.auroc_interval(*(np.repeat(a, k) for a in (y, attack, score)), 200, 0) for k in (1, 16))
    area = metrics.auroc(y, score)
    assert few[0] < many[0] < area < many[1] < few[1]
    assert (few[1] - few[0]) / (many[1] - many[0]) == pytest.approx(4, rel=0.3)
    assert few == sections.auroc_interval(y, attack, score, 200, 0) != sections.auroc_interval(y, attack, score, 200, 1)


def test_the_interval_covers_the_true_auroc_about_as_often_as_it_says():
    random, true, covered = np.random.default_rng(3), 0.9213503964748575, 0  # of two unit normals 2 apart
    y, attack = np.repeat([0, 1], 80), np.repeat(["benign", "bot"], 80)
    for _ in range(100):
        low, high = sections.auroc_interval(y, attack, random.standard_normal(160) + 2 * y, 200, 0)
        covered += low <= true <= high
    assert covered >= binom.ppf(0.001, 100, 0.93)


def test_a_promise_that_is_kept_and_one_that_is_not():
    flagged = {"p99": np.arange(1000) < 12, "p95": np.arange(1000) < 200, "other": np.arange(1000) < 3}
    recalls = {"unseen": dict.fromkeys(flagged, 0.5), "seen": dict.fromkeys(flagged)}
    found = sections.guarantee(flagged, recalls, ASKED)
    assert (found["n_calibration"], found["n_benign"]) == (400, 1000)
    assert [found["levels"][name]["within"] for name in flagged] == [True, False, None]
    level = found["levels"]["p99"]
    assert level["alerts_per_million_benign"] == pytest.approx(1e6 * level["fpr"]) == pytest.approx(12000)
    assert level["true_low"] < 0.01 < level["true_high"] and level["fpr_low"] < 0.012 < level["fpr_high"]
    assert level["precision_at_prevalence"]["unseen"]["0.1"] == sections.precision_at(0.1, 0.5, 0.012)
    assert level["precision_at_prevalence"]["seen"]["0.1"] is None
    none = {name: mask[:0] for name, mask in flagged.items()}
    json.dumps(sections.guarantee(none, recalls, ASKED), allow_nan=False)


def test_rates_say_what_was_promised(section):
    rates = sections.report(*section, ASKED)["thresholds"]["p95"]
    assert rates["fpr_nominal"] == 0.05
    assert rates["fpr_within"] == (rates["fpr_expected_low"] <= rates["fpr"] <= rates["fpr_expected_high"])


@given(st.integers(0, 50), st.integers(0, 200))
def test_precision_at_the_prevalence_of_the_records_is_their_precision(found, alarms):
    y = np.repeat([1, 0], [50, 200])
    flagged = np.concatenate([np.arange(50) < found, np.arange(200) < alarms])
    rates = metrics.rates(y, flagged)
    precision = sections.precision_at(0.2, rates["recall"], rates["fpr"])
    assert precision == (None if rates["precision"] is None else pytest.approx(rates["precision"]))


def test_the_single_feature_is_the_one_that_tells_attacks_apart_in_its_direction():
    random = np.random.default_rng(0)
    y = np.repeat([0, 1], 200)
    x = random.standard_normal((400, 3)).astype(np.float32)
    x[:, 0] += y  # attacks are high, not by much
    x[:, 2] -= 2 * y  # attacks are low
    best = single_feature.best_feature(y, zip(("some", "nothing", "most"), x.T, strict=True))
    assert (best.name, best.direction) == ("most", "low")
    baseline = single_feature.one_feature(best, y[::2], x[::2, 2])
    assert baseline["auroc"] == pytest.approx(roc_auc_score(y[::2], -x[::2, 2]))
    assert baseline["auroc_val"] == pytest.approx(roc_auc_score(y, -x[:, 2]))


def test_without_attacks_no_feature_is_chosen():
    assert single_feature.best_feature(np.zeros(3), [("a", np.zeros(3, dtype=np.float32))]) is None


def test_the_false_alarms_of_groups_are_those_of_all_records_told_apart():
    random = np.random.default_rng(0)
    names = [f"port {number}" for number in range(60)]
    groups = np.array(["", *names], dtype=object)[random.choice(61, 4000, p=np.r_[0.4, np.full(60, 0.01)])]
    flagged = {"p99": random.random(4000) < 0.01, "p95": random.random(4000) < 0.05}
    own = {"port 7": asked_with({"p99": 0.01, "p95": 0.05}, n_calibration=150)}
    told = sections.by_group(flagged, groups, own)
    json.dumps(told, allow_nan=False)
    sizes = [each["n"] for each in told.values()]
    assert len(told) == sections.MOST_GROUPS and sizes == sorted(sizes, reverse=True) and next(iter(told)) == ""
    for name, group in told.items():
        for threshold, mask in flagged.items():
            level = group["levels"][threshold]
            assert level["fpr"] == mask[groups == name].mean()
            assert level["nominal"] == (own[name].nominal[threshold] if name in own else None)
            assert (level["expected_low"] is None) == (name not in own)
