"""A benign label is doubted where most labels of the same two hosts around it are attacks, in bounded memory."""

from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.settings.validate import DoubtLimits
from pipeline.validation import Trust
from pipeline.validation.doubts import READS, RULE, SCHEMA, Doubts
from pipeline.validation.meetings import UNTIMED, Meetings, Places

LIMITS = DoubtLimits(hours=1.0, below=0.5)
NOON = datetime(2017, 7, 5, 12)
ATTACKER, VICTIM, SERVER, CLIENT = "172.16.0.1", "192.168.10.50", "192.168.10.3", "2001:db8::17"


def at(hours):
    return NOON + timedelta(hours=hours)


def table(*rows):
    """Records from (source, destination, hours after noon or None, label)."""
    columns = {
        "record_id": pa.array(range(100, 100 + len(rows)), pa.uint64()),
        "source_file": pa.array(["a.csv"] * len(rows)).dictionary_encode(),
        "row": pa.array(range(1, 1 + len(rows)), pa.int64()),
        "attack": pa.array([row[3] for row in rows], pa.string()).dictionary_encode(),
        "timestamp": pa.array([None if row[2] is None else at(row[2]) for row in rows], pa.timestamp("us")),
        "src_ip": pa.array([row[0] for row in rows], pa.string()).dictionary_encode(),
        "dst_ip": pa.array([row[1] for row in rows], pa.string()).dictionary_encode(),
    }
    assert tuple(columns) == READS
    return pa.table(columns)


def doubts_of(records, limits=LIMITS, cuts=(), **more):
    """What is doubted in records that are read in parts, and the list."""
    edges = [0, *sorted(cuts), records.num_rows]
    parts = [records.slice(start, end - start) for start, end in pairwise(edges)]
    doubts = Doubts.of(lambda: iter(parts), limits, **more)
    listed = pa.concat_tables([SCHEMA.empty_table(), *doubts.listed(lambda: iter(parts))])
    return doubts, listed


def doubted_rows(records, **more):
    doubts, listed = doubts_of(records, **more)
    rows = np.concatenate([np.empty(0, int), *doubts.rows]).tolist()
    assert listed.column("row").to_pylist() == [row + 1 for row in rows]
    return rows


def flood(n, hours=0.5, source=ATTACKER, destination=VICTIM, label="ddos"):
    return [(source, destination, hours, label)] * n


def test_benign_labels_among_attacks_of_the_same_hosts_are_doubted_in_both_directions():
    wrong = [(ATTACKER, VICTIM, 0.2, "benign"), (VICTIM, ATTACKER, 1.9, "benign")]
    honest = [
        (ATTACKER, VICTIM, 4, "benign"),  # long after the attack
        (ATTACKER, VICTIM, -3, "benign"),
        (CLIENT, VICTIM, 0.5, "benign"),  # another client of the victim
        (ATTACKER, SERVER, 0.5, "benign"),
    ]
    doubts, listed = doubts_of(table(*wrong, *flood(8), *honest))
    assert listed.column("row").to_pylist() == [1, 2]
    assert listed.column("attacks_around").to_pylist() == [8, 8]
    assert listed.column("benign_around").to_pylist() == [2, 2]
    assert listed.column("benign_of_pair").to_pylist() == [4, 4]
    assert listed.column("trust").to_pylist() == [pytest.approx(0.2)] * 2
    assert listed.column("reason")[0].as_py() == (
        "between these hosts around this time: 8 attack records, 2 benign; benign at any time: 4"
    )
    found = doubts.summary()
    assert (found["doubted"], found["benign_between_them"], found["pairs_with_attacks"]) == (2, 4, 1)
    assert doubts.sentence() == (
        f"Benign labels that are doubted: 2 ({RULE}). Pairs of hosts that attack each other: 1; "
        "benign records between them: 4; records with both addresses: 14 of 14"
    )


def test_hosts_whose_traffic_is_mostly_benign_are_believed():
    honest = [(ATTACKER, VICTIM, 0.1, "benign")] * 50
    assert doubted_rows(table(*honest, *flood(40))) == []
    assert doubted_rows(table(*honest[:30], *flood(40))) == [*range(30)]


def test_a_record_without_a_label_is_neither_doubted_nor_counted():
    records = table((ATTACKER, VICTIM, 0.5, "unlabelled"), (ATTACKER, VICTIM, 0.5, None), *flood(3, label="unlabelled"))
    assert doubted_rows(records) == []
    assert doubts_of(records)[0].summary()["pairs_with_attacks"] == 0


def test_without_addresses_nothing_is_doubted_and_that_is_said():
    records = table(*[(None, None, 0.5, "ddos")] * 5, (None, None, 0.5, "benign"), ("", "", 0.5, "benign"))
    doubts, listed = doubts_of(records)
    assert listed.num_rows == 0
    assert doubts.sentence() == (
        "Benign labels are not compared with the attacks around them: no record has both addresses"
    )
    assert doubts.summary()["with_both_addresses"] == 0


def test_records_that_lack_an_address_change_nothing():
    known = [(ATTACKER, VICTIM, 0.5, "benign"), *flood(3)]
    gaps = [(None, VICTIM, 0.5, "benign"), (ATTACKER, None, 0.5, "ddos"), (ATTACKER, "", 0.5, "benign")]
    doubts, _ = doubts_of(table(*known, *gaps * 2))
    assert doubted_rows(table(*known, *gaps * 2)) == [0]
    assert doubts.sentence().endswith("records with both addresses: 4 of 10")


def test_addresses_of_any_kind_are_told_apart():
    hosts = ["2001:db8::1", "2001:db8::2", "fe80::1%eth0", "10.0.0.1", "printer"]
    records = [(a, b, 0.5, "ddos" if (a, b) == (hosts[0], hosts[1]) else "benign") for a in hosts for b in hosts]
    wrong = records.index((hosts[1], hosts[0], 0.5, "benign"))
    assert doubted_rows(table(*records, *flood(1, source=hosts[0], destination=hosts[1]))) == [wrong]


def test_records_without_a_time_are_compared_with_each_other():
    records = table((ATTACKER, VICTIM, None, "benign"), (ATTACKER, VICTIM, 0.5, "benign"), *flood(3, hours=None))
    assert doubted_rows(records) == [0]


def test_the_limit_decides():
    records = table(*[(ATTACKER, VICTIM, 0.5, "benign")] * 2, *flood(6))  # a quarter is benign
    assert doubted_rows(records, limits=DoubtLimits(1.0, 0.25)) == []
    assert doubted_rows(records, limits=DoubtLimits(1.0, 0.26)) == [0, 1]
    assert doubted_rows(records, limits=DoubtLimits(1.0, 0.0)) == []
    late = table((ATTACKER, VICTIM, 5, "benign"), *flood(6))
    assert doubted_rows(late) == []
    assert doubted_rows(late, limits=DoubtLimits(24.0, 0.5)) == [0]


HOSTS = st.sampled_from([ATTACKER, VICTIM, CLIENT, None])
ROWS = st.lists(
    st.tuples(HOSTS, HOSTS, st.sampled_from([None, -2.5, 0.5, 1.5, 2.5]), st.sampled_from(["benign", "bot", "ddos"])),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROWS, st.randoms(use_true_random=False))
def test_the_order_of_the_records_and_how_they_are_cut_do_not_matter(rows, random):
    expected = {rows[row] for row in doubted_rows(table(*rows))}
    shuffled = random.sample(rows, len(rows))
    cuts = [random.randrange(len(rows) + 1) for _ in range(3)]
    assert {shuffled[row] for row in doubted_rows(table(*shuffled), cuts=cuts)} == expected


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_what_is_doubted_is_what_counting_says(rows):
    def around(own, label):
        def near(other):
            if own[2] is None or other[2] is None:
                return own[2] is other[2]
            return abs(np.floor(own[2]) - np.floor(other[2])) <= 1

        same = [each for each in rows if {*each[:2]} == {*own[:2]} and near(each)]
        return sum((each[3] == "benign") == (label == "benign") for each in same)

    expected = [
        place
        for place, row in enumerate(rows)
        if row[3] == "benign" and None not in row[:2] and around(row, "benign") < around(row, "attack")
    ]
    assert doubted_rows(table(*rows)) == expected


def places(hosts, hours):
    hosts = np.asarray(hosts, np.uint64) * np.uint64(0x9E3779B97F4A7C15)  # spread over all numbers
    return Places(hosts, np.asarray(hours, np.int64), np.ones(len(hosts), bool))


def test_millions_of_pairs_take_bounded_memory_and_leave_exact_counts(rng):
    hosts, hours = rng.integers(0, 5_000, 40_000), rng.integers(0, 3, 40_000)
    both = []
    for order in (np.arange(40_000), rng.permutation(40_000)):
        meetings = Meetings(most=1_000)
        for rows in np.array_split(order, 17):
            meetings.add(places(hosts[rows], hours[rows]))
        assert 0 < meetings.share < 0.1
        assert 0 < meetings.pairs() <= 1_000
        both.append(meetings.ever(places(np.arange(5_000), np.zeros(5_000))))
    assert (both[0] == both[1]).all()
    known = both[0] > 0
    assert (both[0][known] == np.bincount(hosts, minlength=5_000)[known]).all()


def test_a_pair_that_is_not_looked_at_is_not_doubted():
    pairs = [(f"10.0.{n // 250}.{n % 250}", VICTIM) for n in range(500)]
    records = table(*[(*pair, 0.5, label) for pair in pairs for label in ("benign", "ddos", "ddos")])
    whole, some = doubts_of(records)[0], doubts_of(records, most=100)[0]
    assert whole.summary()["doubted"] == 500
    assert 0 < some.summary()["doubted"] < 110
    assert "% of the pairs were looked at: there are too many" in some.sentence()
    assert whole.summary()["share_of_pairs"] == 1


def test_hours_without_a_time_meet_no_hour():
    meetings = Meetings()
    meetings.add(places([1, 1], [UNTIMED, 0]))
    assert meetings.around(places([1, 1, 1], [UNTIMED, 1, 2])).tolist() == [1, 1, 0]


def test_a_doubted_record_keeps_the_rules_that_it_breaks_and_the_least_trust():
    trust = Trust(
        record_id=np.arange(4, dtype=np.uint64),
        confidence=np.array([1, 0.9, 0.1, 1], np.float32),
        code=np.array([0, 1, 1, 0], np.int32),
        rules=("", "flow_duration is a finite number"),
    )
    lowered = trust.doubting(np.array([1, 2, 3]), np.array([0.2, 0.3, 0.4], np.float32), RULE)
    assert lowered.confidence.tolist() == pytest.approx([1, 0.2, 0.1, 0.4])
    said = [lowered.rules[code] for code in lowered.code]
    assert said == ["", *[f"flow_duration is a finite number; {RULE}"] * 2, RULE]
    assert trust.doubting(np.empty(0, np.int64), np.empty(0, np.float32), RULE).rules == trust.rules


def test_times_before_1970_have_an_hour():
    early = partial(table, *flood(2, hours=-24 * 365 * 60))
    assert doubts_of(early())[0].attacks.pairs() == 1
