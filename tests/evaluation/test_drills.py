"""Drills are altered benign records: the same draw gives the same ones, and each kind alters what it says."""

import numpy as np
import pytest

from pipeline.evaluation import drills, traffic
from pipeline.evaluation.sections import Asked
from pipeline.settings.evaluate import Bootstrap, Figures

RANDOM = np.random.default_rng(3)
RECORDS = {
    "bytes": RANDOM.integers(0, 1500, 400).astype(float),
    "rate": np.where(RANDOM.random(400) < 0.1, np.inf, RANDOM.gamma(2.0, 3.0, 400)),
    "flag": RANDOM.integers(0, 2, 400).astype(float),
    "service": RANDOM.choice(["dns", "http"], 400).astype(object),
}


def made(kind, columns=RECORDS):
    table, kinds = drills.plant(columns, 200, seed=1)
    return {name: values[kinds == kind] for name, values in table.items()}


def test_the_same_seed_gives_the_same_drills_and_the_records_stay():
    before = {name: values.copy() for name, values in RECORDS.items()}
    (first, kinds), (again, _) = (drills.plant(RECORDS, 200, seed=1) for _ in range(2))
    assert all(np.array_equal(first[name], again[name]) for name in RECORDS)
    assert all(np.array_equal(before[name], RECORDS[name]) for name in RECORDS)
    assert set(kinds) == set(drills.KINDS) and np.unique(kinds.astype(str), return_counts=True)[1].min() == 40


def test_each_kind_alters_what_it_says():
    assert (made("unheard")["service"] == drills.UNHEARD).all()
    assert set(made("silent")["service"]) <= {"dns", "http"}
    assert made("largest")["bytes"].max() == RECORDS["bytes"].max()
    assert np.isin(made("mixed")["bytes"], RECORDS["bytes"]).all()
    assert made("multiplied")["bytes"].max() > RECORDS["bytes"].max() and made("multiplied")["flag"].max() <= 1


def test_a_drill_of_silence_has_no_value_that_no_benign_record_has():
    columns = {"header": np.array([20.0, 32.0, 40.0]), "loss": np.array([-3.0, -2.0, -1.0])}
    table, kinds = drills.plant(columns, 80, seed=0)
    for kind in ("mixed", "largest", "silent"):
        for name, values in columns.items():
            assert set(table[name][kinds == kind]) <= set(values), (kind, name)


def test_without_words_there_is_no_kind_of_words():
    _, kinds = drills.plant({"bytes": RECORDS["bytes"]}, 20, seed=0)
    assert "unheard" not in set(kinds)


@pytest.mark.parametrize(("share", "outside"), [(0.01, False), (0.2, True)])
def test_alarms_are_held_against_what_was_promised(share, outside):
    n, day = 20_000, 86_400_000_000
    time = np.linspace(0, 2 * day, n).astype(np.int64)
    flagged = np.random.default_rng(0).random(n) < share
    host = np.where(np.arange(n) % 2, "10.0.0.1", None).astype(object)
    asked = Asked({"p99": 0.01}, 5_000, Figures((0.01,), (0.1,), Bootstrap(100, 0)))
    found = traffic.alarms({"p99": flagged}, asked, time, host)
    level = found["thresholds"]["p99"]
    assert level["alarms"] == flagged.sum() and found["days"] == pytest.approx(2)
    assert level["per_day"] == pytest.approx(flagged.sum() / 2)
    assert (level["windows_outside"] > 5) == outside
    assert level["hosts"] == {"10.0.0.1": int(flagged[host == "10.0.0.1"].sum())}
