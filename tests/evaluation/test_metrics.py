"""Metrics against scikit-learn, scipy and the formulae; nothing undefined becomes a NaN."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import average_precision_score, confusion_matrix, f1_score, precision_score, roc_auc_score

from pipeline.evaluation import metrics

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


def test_ssads_file_holds_numbers():
    random = np.random.default_rng(0)
    y = np.repeat([0, 1], [500, 200])
    score = random.standard_normal(700) + 1.5 * y
    found = metrics.test_metrics(y, score > 1.6, 1.6)
    assert list(found)[:5] == ["threshold", "TP", "TN", "FP", "FN"]
    assert found["TPR"] + found["FNR"] == pytest.approx(1) and found["TNR"] + found["FPR"] == pytest.approx(1)
    assert all(isinstance(value, int | float) for value in found.values())
    json.dumps(metrics.test_metrics([], [], math.inf), allow_nan=False)


def test_a_mask_of_other_length_is_refused():
    with pytest.raises(ValueError, match="shape"):
        metrics.rates([0, 1], [True])
