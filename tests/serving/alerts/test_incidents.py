"""Alerts that belong together are one incident, however they come."""

from dataclasses import replace
from unittest import mock

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.serving.alerts import evidence
from pipeline.serving.alerts.incidents import Grouping, incidents_of
from pipeline.serving.alerts.schema import alerts_of
from pipeline.serving.alerts.traces import Tracer
from tests.serving.alerts import made
from tests.serving.alerts.made import GROUPED

QUIET = 0.5  # a p-value that nobody looks at


def _worth(incidents):
    return [each for each in incidents if each.severity != "low"]


def test_a_port_scan_of_1000_records_is_one_line():
    alerts, traces = made.known([(n / 10, "10.9.9.9", "10.0.0.80", n + 1, 0.002) for n in range(1000)])
    (incident,) = incidents_of(alerts, GROUPED, traces)
    assert (incident.alerts, incident.port_count, incident.severity) == (1000, 1000, "critical")
    assert incident.sources == (("10.9.9.9", 1000),)
    assert len(incident.keys) == GROUPED.keys
    assert incident.first == made.BEGIN
    assert (incident.last - incident.first).total_seconds() == 99.9


def test_a_sweep_over_many_hosts_is_one_line():
    alerts, traces = made.known([(n, "10.9.9.9", f"10.0.{n // 250}.{n % 250}", 445, 0.005) for n in range(600)])
    (incident,) = incidents_of(alerts, GROUPED, traces)
    assert (incident.view, incident.alerts, incident.destination_count) == ("source", 600, 600)


def test_a_flood_from_many_sources_is_one_line():
    alerts, traces = made.known([(n, f"10.{n // 250}.0.{n % 250}", "10.0.0.80", 80, 0.005) for n in range(600)])
    (incident,) = incidents_of(alerts, GROUPED, traces)
    assert (incident.view, incident.alerts, incident.source_count) == ("destination", 600, 600)


def test_a_brute_force_among_benign_records_of_the_same_hosts_is_one_line():
    rows = [(2 * n, "10.9.9.9", "10.0.0.22", 22, 0.004 if n % 3 else QUIET) for n in range(60)]
    rows += [(2 * n + 1, f"10.0.1.{n % 20}", "10.0.0.22", 22, QUIET) for n in range(60)]
    rows += [(2 * n + 1, "10.9.9.9", f"10.0.2.{n}", 443, QUIET) for n in range(60)]
    (incident,) = _worth(incidents_of(*(made.known(rows)[0], GROUPED, made.known(rows)[1])))
    assert (incident.view, incident.alerts) == ("pair", 40)


def test_a_beacon_of_bots_is_one_line_beside_what_else_they_do():
    rows = [
        (60 * n + bot, f"10.0.1.{bot}", "203.0.113.7", 8080, 0.008 if n % 2 else 0.03)
        for n in range(30)
        for bot in range(8)
    ]
    rows += [(60 * n + 30, f"10.0.1.{bot}", "10.0.0.53", 53, QUIET) for n in range(30) for bot in range(8)]
    alerts, traces = made.known(rows)
    (incident,) = _worth(incidents_of(alerts, GROUPED, traces))
    assert (incident.view, incident.source_count, incident.destination_count) == ("destination", 8, 1)


def test_two_attackers_of_one_server_are_two_lines():
    rows = [(n, f"10.9.9.{n % 2}", "10.0.0.80", 80, 0.004) for n in range(80)]
    alerts, traces = made.known(rows)
    assert [each.sources for each in incidents_of(alerts, GROUPED, traces)] == [
        (("10.9.9.0", 40),),
        (("10.9.9.1", 40),),
    ]


def test_a_gap_ends_an_incident():
    rows = [(n + (n >= 20) * (GROUPED.gap + 1), "a", "b", 80, 0.004) for n in range(40)]
    alerts, traces = made.known(rows)
    assert [each.alerts for each in incidents_of(alerts, GROUPED, traces)] == [20, 20]
    assert [each.alerts for each in incidents_of(alerts, replace(GROUPED, gap=2 * GROUPED.gap), traces)] == [40]


def test_a_lone_alert_is_low_and_has_a_bound():
    alerts, traces = made.known([(0, "a", "b", 80, 0.0001)])
    (incident,) = incidents_of(alerts, GROUPED, traces)
    assert incident.severity == "low"
    assert incident.false_per_million > GROUPED.medium


def test_without_counts_there_is_plainly_no_evidence():
    alerts, _ = made.known([(n, "a", "b", 80, 0.004) for n in range(9)] + [(0, "c", "d", 80, 0.004)])
    found = incidents_of(alerts, GROUPED)
    assert [each.evidence for each in found] == [None, None]
    assert {each.sources[0][0]: each.severity for each in found} == {"a": "medium", "c": "low"}


def test_quiet_records_between_alerts_weaken_the_evidence():
    busy = [(n, "a", "b", 80, 0.004 if n % 4 == 0 else QUIET) for n in range(40)]
    idle = [row for row in busy if row[-1] < QUIET]
    strongest = [max(each.evidence for each in incidents_of(*_split(rows))) for rows in (busy, idle)]
    assert strongest[0] < strongest[1]


def _split(rows):
    alerts, traces = made.known(rows)
    return alerts, GROUPED, traces


def test_alerts_without_time_and_address_are_grouped_by_file_and_row():
    near = [(None, None, None, None, 0.004, "a.csv") for _ in range(20)]
    far = [(None, None, None, None, QUIET, "a.csv") for _ in range(200)]
    other = [(None, None, None, None, 0.004, "b.csv") for _ in range(10)]
    alerts, traces = made.known([*near, *far, *near, *other])
    found = incidents_of(alerts, GROUPED, traces)
    assert [(each.view, each.file, each.alerts) for each in found] == [
        ("file", "a.csv", 20),
        ("file", "a.csv", 20),
        ("file", "b.csv", 10),
    ]
    assert {each.first for each in found} == {None}


def test_the_newest_version_of_the_model_counts_where_several_have_judged_a_record():
    table = made.scored([(n, "a", "b", 80, 0.004) for n in range(9)])
    both = [*alerts_of(made.alerts(table, version=2)), *alerts_of(made.alerts(table, version=1))]
    (incident,) = incidents_of(both, GROUPED)
    assert incident.alerts == 9
    assert {*incident.keys} <= {each.alert for each in both if each.model_version == 2}


HOSTS = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3", None])
ROWS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 9000), st.sampled_from([0, 60])),
        HOSTS,
        HOSTS,
        st.sampled_from([80, 443]),
        st.sampled_from([0.0005, 0.004, 0.03, QUIET]),
        st.sampled_from(["a.csv", "b.csv"]),
    ),
    max_size=60,
)


@settings(max_examples=60)
@given(rows=ROWS, seed=st.integers(0, 2**32 - 1), cuts=st.integers(1, 6), timed=st.booleans(), counted=st.booleans())
def test_neither_order_nor_parts_nor_repetitions_change_the_incidents(rows, seed, cuts, timed, counted):
    rows = [(row[0] if timed else None, *row[1:]) for row in rows]
    alerts, traces = made.known(rows)
    rules, traces = replace(GROUPED, many=2, gap=600.0), traces if counted else None
    whole = incidents_of(alerts, rules, traces)
    random = np.random.default_rng(seed)
    mixed = [alerts[place] for place in random.permutation(len(alerts))] + alerts[:3]
    grouping = Grouping(rules)
    seen = {}
    for part in np.array_split(np.arange(len(mixed)), cuts):
        changed = grouping.add([mixed[place] for place in part], traces)
        seen |= {each.incident: each for each in changed}
    assert grouping.incidents() == whole
    assert sum(each.alerts for each in whole) == len(alerts)
    assert len({each.incident for each in whole}) == len(whole)
    # What was returned last of each incident is what it is now, or says what became of it.
    assert {key: each for key, each in seen.items() if each.alerts} == {each.incident: each for each in whole}
    assert all(each.merged_into in seen for each in seen.values() if not each.alerts)


@settings(max_examples=60)
@given(rows=ROWS, cuts=st.integers(1, 6))
def test_how_records_are_cut_into_files_changes_no_evidence(rows, cuts):
    rows = sorted(rows, key=lambda row: row[0])
    table = made.scored(rows)
    ids = made.alerts(table).column("record_id").to_numpy()
    whole, tracer, parts = Tracer(600.0).add(table, ids), Tracer(600.0), {}
    # Records of one moment stay together, as the order among them is by file and row.
    edges = [edge for edge in range(1, len(rows)) if rows[edge][0] > rows[edge - 1][0]]
    chosen = sorted({edges[each * len(edges) // cuts] for each in range(cuts)}) if edges else []
    for begin, end in zip([0, *chosen], [*chosen, len(rows)], strict=True):
        parts |= tracer.add(table.slice(begin, end - begin), ids)
    assert parts == whole


@settings(max_examples=60)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 4000), st.integers(1, 3), st.sampled_from([0.0005, 0.004, 0.03, 0.08, QUIET])),
        min_size=1,
        max_size=50,
    )
)
def test_the_evidence_is_the_largest_m_of_the_formula(rows):
    """Held against a plain loop over the records of one pair, in 1000ths of log10."""
    rows, gap = sorted(rows), 900.0
    table = made.scored([(second, "a", "b", 80, p_value) for second, _, p_value in rows])
    ports = pa.array([port for _, port, _ in rows], pa.int32())
    table = table.set_column(table.schema.get_field_index("src_port"), "src_port", ports)
    alerts = made.alerts(table)
    traces = Tracer(gap).add(table, alerts.column("record_id").to_numpy())
    pairs = replace(GROUPED, gap=gap)
    with mock.patch.object(evidence, "SHARES", {"source": 1e-9, "destination": 1e-9, "pair": 1.0, "file": 1.0}):
        found = incidents_of(alerts_of(alerts), pairs, traces)
    assert sorted(round(1000 * each.evidence) for each in found) == sorted(_naive(rows, gap))


def _naive(rows, gap):
    """The largest M of each stretch, record by record: M since the stretch began, and M since its last alert."""
    most, whole, since, unusual, alert, before, last = [], 0, 0, 0, -np.inf, -np.inf, {}
    for number, (second, port, p_value) in enumerate(rows):
        odd = max(1.0, (40 + unusual) / (40 + 0.05 * number))
        e = 0.2 + sum(weight / min(1, odd * q) * (p_value <= q) for q, weight in evidence.LEVELS)
        again = second - last.get(port, -np.inf) <= gap
        gain = round(1000 * np.log10(e) * (evidence.REPEATED if again else 1.0))
        since *= second - before <= gap
        if p_value > 0.01:
            whole, since = whole + gain, max(since + gain, 0)
        else:
            goes_on = second - alert <= gap and whole > since
            whole = gain + (whole if goes_on else since)
            most = [*most[:-1], max(most[-1], whole)] if goes_on else [*most, whole]
            since, alert = 0, second
        before, unusual, last = second, unusual + (p_value <= 0.05), {**last, port: second}
    return most


def test_a_late_alert_joins_two_incidents_and_the_later_one_is_merged():
    alerts, _ = made.known([(n, "a", "b", 80, 0.004) for n in (0, 10, 2000, 4000, 4010)])
    grouping = Grouping(replace(GROUPED, gap=2500.0))
    grouping.add([*alerts[:2], *alerts[3:]])
    first, later = grouping.incidents()
    changed = grouping.add([alerts[2]])
    assert [(each.incident, each.alerts, each.merged_into) for each in changed] == [
        (first.incident, 5, None),
        (later.incident, 0, first.incident),
    ]


def test_where_records_come_late_the_evidence_is_not_joined():
    table = made.scored([(n, "a", "b", 80, 0.004) for n in range(20)])
    ids = table.column("record_id").to_numpy()
    tracer = Tracer(GROUPED.gap)
    traces = tracer.add(table.slice(10, 10), ids) | tracer.add(table.slice(0, 10), ids)
    in_order = Tracer(GROUPED.gap).add(table, ids)
    late, whole = (incidents_of(alerts_of(made.alerts(table)), GROUPED, each) for each in (traces, in_order))
    assert [each.alerts for each in late] == [10, 10]
    assert max(each.evidence for each in late) < whole[0].evidence


def test_memory_is_bounded():
    alerts, _ = made.known([(n, f"10.0.0.{n % 40}", "b", 80, 0.004) for n in range(400)])
    grouping = Grouping(replace(GROUPED, remembered=50))
    for alert in alerts:
        grouping.add([alert])
    assert sum(each.alerts for each in grouping.incidents()) <= 50
    assert max(each.last for each in grouping.incidents()) == alerts[-1].time


@pytest.mark.parametrize("odd", [{"medium": 1.0, "high": 2.0}, {"gap": 0.0}, {"many": 0}])
def test_settings_that_make_no_sense_are_refused(odd):
    with pytest.raises(ValueError, match="IncidentRules"):
        replace(GROUPED, **odd)


def test_benign_records_that_keep_to_the_promise_keep_to_the_bound():
    """Without allowance for odd hosts the evidence is as strong as it may be."""
    random, n = np.random.default_rng(0), 60_000
    rows = [
        (float(second), f"10.0.1.{source}", f"10.0.2.{destination}", 443, p_value)
        for second, source, destination, p_value in zip(
            np.sort(random.uniform(0, 500_000, n)), *random.integers(0, 60, (2, n)), random.random(n), strict=True
        )
    ]
    rules = replace(GROUPED, medium=5_000.0)
    with mock.patch.object(evidence, "PRIOR", dict.fromkeys(evidence.PRIOR, (10**9, 10**9))):
        alerts, traces = made.known(rows)
    found = len(_worth(incidents_of(alerts, rules, traces)))
    expected = n * rules.medium / 1e6
    assert 0 < found < expected
