"""Labels that a file has are counted beside the alarms. No record needs one."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from pipeline.serving.label_counts import MOST_ATTACKS, LabelCounts


def counted(*batches):
    counts = LabelCounts(["p99", "p95"])
    for attack, p99, p95 in batches:
        flagged = {"p99": np.array(p99, bool), "p95": np.array(p95, bool)}
        counts.add(pa.table({"attack": attack}), SimpleNamespace(flagged=flagged))
    return counts.counts()


WORDS = ["benign", "scan", "unlabelled", "scan", "benign", None, "bot"]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_records_and_alarms_by_hand(kind):
    first = (pa.array(WORDS, pa.string()).cast(kind), [0, 1, 1, 0, 0, 1, 0], [1, 1, 1, 1, 0, 1, 0])
    labels = counted(first, (pa.array(["benign", "scan"]).cast(kind), [1, 1], [1, 1]))["labels"]
    assert labels["benign"] == {"records": 3, "alarms": {"p99": 1, "p95": 2}}
    assert labels["attacks"] == {"records": 4, "alarms": {"p99": 2, "p95": 3}}
    assert labels["by_attack"] == {
        "scan": {"records": 3, "alarms": {"p99": 2, "p95": 3}},
        "bot": {"records": 1, "alarms": {"p99": 0, "p95": 0}},
    }


@pytest.mark.parametrize(
    "attack", [pa.array(["unlabelled"] * 2), pa.array([None, ""], pa.string()), pa.array([1, 2]), pa.array([[1], [2]])]
)
def test_records_without_a_label_are_not_counted(attack):
    assert counted((attack, [1, 1], [1, 1])) == {}


def test_records_that_have_no_column_of_labels_are_not_counted():
    counts = LabelCounts(["p99"])
    counts.add(pa.table({"duration": [1.0]}), SimpleNamespace(flagged={"p99": np.ones(1, bool)}))
    assert counts.counts() == {}


def test_a_summary_names_the_most_frequent_attacks_and_counts_all():
    attack = pa.array([f"a{n}" for n in range(100)] + ["a99"])
    labels = counted((attack, [1] * 101, [1] * 101))["labels"]
    assert labels["attacks"]["records"] == 101
    assert len(labels["by_attack"]) == MOST_ATTACKS and next(iter(labels["by_attack"])) == "a99"
