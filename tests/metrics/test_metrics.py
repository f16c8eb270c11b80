"""Metrics against scikit-learn, scipy and the formulae; nothing undefined becomes a NaN."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, confusion_matrix, f1_score, precision_score, roc_auc_score

from pipeline import metrics

tied_scores = st.integers(-4, 4).map(float)
records = st.lists(st.tuples(st.integers(0, 1), tied_scores), min_size=2, max_size=60)
both_classes = records.filter(lambda rows: 0 < sum(y for y, _ in rows) < len(rows)).map(lambda rows: np.array(rows).T)


@settings(max_examples=50)
@given(both_classes)
def test_ranking_metrics_are_those_of_sklearn_ties_included(rows):
    y, score = rows
    assert metrics.auroc(y, score) == pytest.approx(roc_auc_score(y, score))
    assert metrics.auprc(y, score) == pytest.approx(average_precision_score(y, score))


@settings(max_examples=50)
@given(both_classes)
def test_balanced_auprc_is_that_of_reweighted_benign_records(rows):
    y, score = rows
    weight = np.where(y == 1, 1.0, y.sum() / (1 - y).sum())
    expected = average_precision_score(y, score, sample_weight=weight)
    assert metrics.auprc(y, score, balanced=True) == pytest.approx(expected)


@settings(max_examples=50)
@given(both_classes, st.floats(0, 1))
def test_tpr_at_fpr_is_the_best_of_all_thresholds(rows, target):
    y, score = rows
    cuts = [*np.unique(score), math.inf]
    fair = [(score[y == 1] >= cut).mean() for cut in cuts if (score[y == 0] >= cut).mean() <= target]
    assert metrics.tpr_at_fpr(y, score, target) == pytest.approx(max(fair))


@settings(max_examples=50)
@given(both_classes, st.randoms(use_true_random=False))
def test_ranking_metrics_do_not_see_the_order_or_the_scale(rows, random):
    y, score = rows
    order = list(range(len(y)))
    random.shuffle(order)
    for metric in (metrics.auroc, metrics.auprc, lambda a, b: metrics.tpr_at_fpr(a, b, 0.2)):
        assert metric(y[order], np.exp(score[order])) == pytest.approx(metric(y, score))


def test_infinite_scores_tie_at_the_top():
    y, score = [0, 1, 1, 0], [math.inf, math.inf, 1.0, 0.0]
    assert metrics.auroc(y, score) == pytest.approx(roc_auc_score(y, [2, 2, 1, 0]))
    assert metrics.tpr_at_fpr(y, score, 0.0) == 0.0


def test_a_nan_score_is_refused():
    with pytest.raises(ValueError, match="1 of 2 scores are NaN"):
        metrics.auroc([0, 1], [math.nan, 1.0])


@given(st.integers(0, 500), st.integers(1, 500), st.floats(0.5, 0.999))
def test_wilson_is_that_of_scipy(k, n, level):
    k = min(k, n)
    expected = binomtest(k, n).proportion_ci(level, method="wilson")
    assert metrics.wilson(k, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_nothing_says_nothing():
    assert metrics.wilson(0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(("k", "n", "level"), [(3, 2, 0.95), (-1, 2, 0.95), (1, 2, 1.0), (1, 2, 0.0)])
def test_wilson_refuses_what_is_no_proportion(k, n, level):
    with pytest.raises(ValueError, match="wilson"):
        metrics.wilson(k, n, level)


@settings(max_examples=50)
@given(both_classes, st.integers(-5, 5))
def test_rates_are_those_of_sklearn(rows, cut):
    y, score = rows
    flagged = score > cut
    tn, fp, fn, tp = confusion_matrix(y, flagged).ravel()
    rates = metrics.rates(y, flagged)
    assert (rates["tp"], rates["fp"], rates["tn"], rates["fn"]) == (tp, fp, tn, fn)
    assert rates["f1"] == pytest.approx(f1_score(y, flagged, zero_division=0))
    assert rates["recall"] == pytest.approx(tp / (tp + fn)) and rates["fpr"] == pytest.approx(fp / (fp + tn))
    assert rates["recall_low"] <= rates["recall"] <= rates["recall_high"]
    assert rates["fpr_low"] <= rates["fpr"] <= rates["fpr_high"]
    if flagged.any():
        assert rates["precision"] == pytest.approx(precision_score(y, flagged))
    else:
        assert rates["precision"] is None


@given(st.integers(0, 20), st.integers(0, 20))
def test_on_a_balanced_set_the_balanced_rates_are_the_plain_ones(found, alarms):
    y = np.repeat([1, 0], 20)
    flagged = np.concatenate([np.arange(20) < found, np.arange(20) < alarms])
    rates = metrics.rates(y, flagged)
    assert rates["f1_balanced"] == pytest.approx(rates["f1"])
    assert rates["precision_balanced"] == pytest.approx(rates["precision"])


def test_the_published_figures_of_the_paper_follow_from_recall_and_fpr():
    recall, fpr = 0.847, 1315 / 13297  # unseen attacks at the 95th percentile, references 1.2
    y = np.repeat([1, 0], 13297)
    n = [round(recall * 13297), 1315]
    flagged = np.concatenate([np.arange(13297) < n[0], np.arange(13297) < n[1]])
    assert metrics.rates(y, flagged)["f1_balanced"] == pytest.approx(0.870, abs=1e-3)  # printed in three digits
    assert metrics.rates(y, flagged)["alerts_per_million_benign"] == pytest.approx(1e6 * fpr)


@pytest.fixture
def section():
    random = np.random.default_rng(0)
    attack = np.repeat(["benign", "bot", "ddos"], [500, 40, 160])
    y = (attack != "benign").astype(np.int8)
    score = random.standard_normal(700) + 2.0 * (attack == "ddos") + 0.5 * y
    return y, attack, score, {"p99": score > 2.3, "p95": score > 1.6}


def test_the_report_has_the_keys_that_its_readers_know(section):
    report = metrics.report(*section)
    assert (report["n"], report["n_benign"], report["n_attack"]) == (700, 500, 200)
    assert {"auroc", "auprc", "auprc_balanced", "tpr_at_fpr_1pct", "tpr_at_fpr_01pct"} <= set(report)
    assert list(report["thresholds"]) == list(report["macro_recall"]) == ["p99", "p95"]
    assert {"precision", "recall", "f1", "f1_balanced", "fpr"} <= set(report["thresholds"]["p99"])
    assert report["recall_by_attack"].keys() == {"bot", "ddos"}
    assert report["recall_by_attack"]["bot"].keys() == {"n", "p99", "p95"}
    assert report["recall_by_attack"]["bot"]["p99"].keys() == {"recall", "low", "high"}


def test_the_report_agrees_with_itself(section):
    report = metrics.report(*section)
    for name, rates in report["thresholds"].items():
        by_attack = report["recall_by_attack"].values()
        assert sum(by["n"] for by in by_attack) == report["n_attack"]
        assert sum(by["n"] * by[name]["recall"] for by in by_attack) == pytest.approx(rates["tp"])
        assert report["macro_recall"][name] == pytest.approx(np.mean([by[name]["recall"] for by in by_attack]))


def test_flagging_everything_is_the_baseline_beside(section):
    y, attack, score, _ = section
    everything = {"all": np.ones(700, dtype=bool)}
    report = metrics.report(y, attack, score, everything)
    assert report["flag_everything_f1"] == pytest.approx(report["thresholds"]["all"]["f1"])
    assert report["flag_everything_f1_balanced"] == pytest.approx(report["thresholds"]["all"]["f1_balanced"])


@pytest.mark.parametrize("kept", ["benign", "ddos", "nothing"])
def test_a_section_of_one_class_or_none_is_defined_and_valid_json(section, kept):
    y, attack, score, flagged = section
    rows = attack == kept
    report = metrics.report(y[rows], attack[rows], score[rows], {name: mask[rows] for name, mask in flagged.items()})
    json.dumps(report, allow_nan=False)
    assert report["auroc"] is report["auprc"] is report["tpr_at_fpr_1pct"] is None
    assert report["thresholds"]["p99"]["f1_balanced"] is None
    assert (report["thresholds"]["p99"]["fpr"] is None) == (kept != "benign")
    assert (report["thresholds"]["p99"]["recall"] is None) == (kept != "ddos")


def test_ssads_file_holds_numbers(section):
    y, _, score, _ = section
    found = metrics.test_metrics(y, score > 1.6, 1.6)
    assert list(found)[:5] == ["threshold", "TP", "TN", "FP", "FN"]
    assert found["TPR"] + found["FNR"] == pytest.approx(1) and found["TNR"] + found["FPR"] == pytest.approx(1)
    assert all(isinstance(value, int | float) for value in found.values())
    json.dumps(metrics.test_metrics([], [], math.inf), allow_nan=False)


def test_a_mask_of_other_length_is_refused():
    with pytest.raises(ValueError, match="shape"):
        metrics.rates([0, 1], [True])
