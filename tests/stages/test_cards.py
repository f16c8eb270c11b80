"""The cards say what the files say: models, figures, splits, what the audit found."""

import pytest

from pipeline.stages.reports import cards

RATES = {"recall": 0.5, "recall_low": 0.4, "recall_high": 0.6}
BY_ATTACK = {"n": 1200, "p99": {"recall": 0.25, "low": 0.2, "high": 0.3}}
METRICS = {
    "synthetic": False,
    "fusion": "fisher",
    "unseen": {"n_attack": 1200, "auroc": 0.9, "thresholds": {"p99": RATES}, "recall_by_attack": {"bot": BY_ATTACK}},
    "seen": {"n_attack": 0, "auroc": None, "thresholds": {"p99": {"recall": None}}, "recall_by_attack": {}},
    "guarantee": {"n_benign": 3000, "levels": {"p99": {"fpr": 0.012, "nominal": 0.01}}},
}
MODELS = {"encoder": {"encoder": "identity"}, "detector": {"detector": "ensemble"}, "head": {"detector": "none"}}
SOURCE = {"synthetic": True, "dataset": "synthetic", "records": 5000, "rejected": 3, "files": {"a": 1}, "digest": "ab"}
SPLITS = {"train": {"benign": 900, "bot": 80, "ddos": 20}, "hidden": {}, "columns": ["x"], "dropped": ["y", "z"]}
SPLITS |= {name: {"benign": 10} for name in ("val", "calibration", "test_seen", "test_unseen", "left_out")}
BROKEN = {
    "columns": ["port", "a|b"],
    "text": "repeats no earlier record",
    "unexpected": 7,
    "total": 5000,
    "passed": False,
}
SUMMARY = {"findings": [BROKEN, BROKEN | {"text": "is finite", "passed": True}]}
SHORTCUTS = {"means": {"leak": "No column carries the label."}}


def test_the_model_card_has_models_figures_and_limits():
    card = cards.model_card(METRICS, "p99", MODELS)
    assert "encoder `identity`, detector `ensemble`; scores joined by `fisher`" in card
    assert "| unseen | 1,200 | 50 % (40 % to 60 %) | 0.900 |" in card
    assert "| seen | 0 | undefined | undefined |" in card
    assert "| bot | unseen | 1,200 | 25 % (20 % to 30 %) |" in card
    assert "Of 3,000 benign test records 1.2 % raise an alarm. It was set for 1 %." in card
    assert all(limit in card for limit in cards.LIMITS)
    assert "synthetic" not in card


def test_the_model_card_says_how_many_alarms_are_at_doubted_labels():
    parts = {
        "doubted": {"n": 5, "levels": {"p99": {"fpr": 0.6}}},
        "others": {"n": 2995, "levels": {"p99": {"fpr": 0.011}}},
    }
    card = cards.model_card(METRICS | {"guarantee": METRICS["guarantee"] | {"doubted_labels": parts}}, "p99", MODELS)
    assert "The labels of 5 of them are doubted" in card
    assert "60 % of these raise an alarm, and 1.1 % of the other 2,995." in card
    only = METRICS | {"guarantee": METRICS["guarantee"] | {"doubted_labels": {"others": parts["others"]}}}
    assert cards.model_card(only, "p99", MODELS) == cards.model_card(METRICS, "p99", MODELS)


def test_the_model_card_says_that_records_are_synthetic():
    assert "no figure here is about real traffic" in cards.model_card(METRICS | {"synthetic": True}, "p99", MODELS)


def test_a_name_with_a_bar_or_a_new_line_breaks_no_table():
    odd = METRICS | {"unseen": METRICS["unseen"] | {"recall_by_attack": {"a|b\n| c": BY_ATTACK}}}
    (row,) = [line for line in cards.model_card(odd, "p99", MODELS).splitlines() if "a&#124;b" in line]
    assert row.count("|") == 5


def test_the_data_card_has_splits_and_findings():
    card = cards.data_card(SOURCE, SPLITS, SUMMARY, SHORTCUTS)
    assert "5,000 simulated records in 1 file; 3 rows could not be read" in card
    assert "| train | 900 | 100 |" in card
    assert "| hidden |" not in card
    assert "left out: y, z." in card
    assert "- port, a&#124;b repeats no earlier record: 7 of 5,000 break it" in card
    assert "is finite" not in card
    assert "- No column carries the label." in card


@pytest.mark.parametrize("source", [SOURCE, SOURCE | {"synthetic": False, "dataset": "nslkdd"}])
def test_the_data_card_says_where_the_records_come_from(source):
    card = cards.data_card(source, SPLITS, {"findings": []}, SHORTCUTS)
    assert ("simulated" in card) is source["synthetic"]
    assert "No expectation was broken." in card
