"""Each kind of breach is found, counted and shown; hard ones stop, soft ones are reported; cuts do not matter."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.base.errors import ExpectationError
from pipeline.datasets.base import record_schema
from pipeline.datasets.registry import DATASETS
from pipeline.datasets.schema import ATTACKS, Column
from pipeline.validation import Example, audit, rules, runner, suite
from pipeline.validation.suite import expect, great_expectations
from tests.settings import limits_with, shortcuts_with

REAL = Path(__file__).parents[2] / ".." / "shared" / "data"
NONE = dict.fromkeys(("missing_share", "null_share", "infinite_share", "outside_share", "identity_share"), 0.0)
STRICT = limits_with(**NONE, scrambled_share=0.0, duplicate_share=0.0, disagreeing_share=0.0)
INF, NAN = float("inf"), float("nan")


def test_records_that_keep_every_rule_break_none(make):
    findings = audit([make(20)], STRICT)
    assert [str(finding) for finding in findings.results if finding.unexpected or not finding.passed] == []
    assert findings.rows == 20
    assert all(
        finding.total == 20 for finding in findings.results if finding.kind in {"ranges", "identities", "labels"}
    )
    findings.check()


FAULTY = {  # column -> row, value; rows with an even index are benign, the others ddos
    "flow_duration": {3: NAN, 7: INF, 11: -1.0},
    "flow_bytes_per_s": {2: NAN, 4: -INF, 5: INF},
    "total_fwd_packets": {8: 3.5},
    "destination_port": {6: 65536.0, 30: 28.0, 32: 28.0, 34: 33.0},
    "attack": {13: "dddos", 15: None},
    "family": {17: "dos", 19: "novel"},
    "y": {21: 0, 22: 1, 23: 2},
    "day": {24: "someday", 25: None},
    "record_id": {27: 1026},
}
BREACHES = [
    # the rule, its columns, rows that break it, hard
    ("is a finite number", ("flow_duration",), (3, 7), True),
    ("is at least 0 (us)", ("flow_duration",), (11,), False),
    ("is not null", ("flow_bytes_per_s",), (2,), True),
    ("is not infinite", ("flow_bytes_per_s",), (4, 5), True),
    ("is at least 0 (B/s)", ("flow_bytes_per_s",), (4,), False),
    ("is at least 0 and at most 65535 (port)", ("destination_port",), (6,), False),
    ("counts are whole numbers", (), (8,), False),
    ("is a known attack or benign", ("attack",), (13,), True),
    ("is known", ("attack",), (15,), True),
    ("family is that of the attack", ("attack", "family"), (17, 19), True),
    ("is a known family", ("family",), (19,), True),
    ("y is 0 exactly where no label names an attack", ("attack", "y"), (21, 22), True),
    ("is 0 or 1", ("y",), (23,), True),
    ("is a day of the week or unknown", ("day",), (24,), False),
    ("is unique", ("record_id",), (26, 27), True),
    ("repeats no earlier record in all features", (), (30, 32, 34), False),
    ("has no exact duplicate with another attack", (), (33, 34), False),
]
FAULTY_FEATURES = ("flow_duration", "flow_bytes_per_s", "total_fwd_packets")


@pytest.fixture(scope="module")
def faulty(make, only):
    """The faulty records, their features, and the findings on them."""
    table, columns = make(50, only(*FAULTY_FEATURES), **FAULTY), only(*FAULTY_FEATURES)
    return table, columns, audit([table], STRICT, columns)


@pytest.mark.parametrize(("text", "columns", "rows", "hard"), BREACHES)
def test_a_breach_is_counted_and_shown_where_it_lies(faulty, rule, text, columns, rows, hard):
    found = rule(faulty[2], text, *columns)
    assert (found.unexpected, found.total, found.passed, found.hard) == (len(rows), 50, False, hard)
    at = [("a.csv" if row < 12 else "b.csv", row + 1) for row in rows]
    assert [(example.source_file, example.row) for example in found.examples] == at


def test_examples_are_the_first_three_and_show_values_that_json_can_write(make, rule, only):
    features = only("flow_bytes_per_s")
    table = make(20, features, flow_bytes_per_s={9: INF, 13: -INF, 14: INF, 19: INF})
    shown = rule(audit([table], STRICT, features), "is not infinite").examples
    assert shown == (
        Example("a.csv", 10, "Infinity"),
        Example("b.csv", 14, "-Infinity"),
        Example("b.csv", 15, "Infinity"),
    )


IDENTITIES = [
    ("fwd_header_length_repeated", 61.0, "fwd_header_length_repeated = fwd_header_length", True),
    ("packet_length_variance", 51.0, "packet_length_variance = packet_length_std ^ 2", True),
    ("fwd_iat_min", 2100.0, "fwd_iat: min <= mean <= max", True),
    ("bwd_packet_length_max", 10.0, "bwd_packet_length: min <= mean <= max", True),
    ("fwd_packet_length_mean", 25.0, "fwd_packet_length_mean * total_fwd_packets = total_length_fwd_packets", True),
    ("fwd_packet_length_std", 15.0, "fwd_packet_length: std <= (max - min) / sqrt(2)", False),
    ("bwd_iat_mean", 1000.0, "bwd_iat_mean * (total_bwd_packets - 1) = bwd_iat_total", False),
    ("flow_packets_per_s", 1300.0, "flow_packets_per_s = total_fwd_packets + total_bwd_packets per second", False),
    ("down_up_ratio", 1.0, "down_up_ratio = bwd packets / fwd packets", False),
    ("packet_length_mean", 29.0, "packet_length_mean = bytes / packets", False),
    ("packet_size_mean", 21.0, "packet_size_mean = bytes / packets", False),
    ("ack_flag_count", 6.0, "no flag on more packets than there are", False),
    ("idle_max", 5000.0, "idle_max <= flow_duration", False),
]


def test_every_broken_identity_is_found_with_the_values_it_relates(make, rule):
    changed = {name: {row: value} for row, (name, value, _, _) in enumerate(IDENTITIES)}
    findings = audit([make(20, **changed)], STRICT)
    for row, (name, value, text, hard) in enumerate(IDENTITIES):
        found = rule(findings, text)
        assert found.hard == hard
        assert not found.passed
        assert f"{name} = {value:g}" in next(str(e.value) for e in found.examples if e.row == row + 1)


def test_both_published_ways_to_average_and_divide_hold(make):
    """As published: the first packet of 30 B is counted twice, and the ratio is divided as integers."""
    published = {"packet_length_mean": 130 / 6, "packet_size_mean": 26.0, "down_up_ratio": 0.0}
    findings = audit([make(4, **{name: dict.fromkeys(range(4), value) for name, value in published.items()})], STRICT)
    assert [finding.text for finding in findings.results if finding.kind == "identities" and finding.unexpected] == []


def test_a_rate_over_no_time_and_an_undefined_operand_break_no_identity(make):
    changed = {"flow_duration": {0: 0.0}, "flow_packets_per_s": {0: INF, 1: NAN}, "fwd_packet_length_mean": {2: NAN}}
    findings = audit([make(4, **changed)], limits_with(missing_share=1.0, null_share=1.0, infinite_share=1.0))
    broken = {finding.text for finding in findings.results if finding.kind == "identities" and finding.unexpected}
    assert broken == {f"{name} <= flow_duration" for name in ("fwd_iat_total", "bwd_iat_total", "flow_iat_max")} | {
        "flow_iat_mean * (packets - 1) = flow_duration"
    }


def test_a_limit_is_applied_to_the_whole_stream(make, rule, only):
    features = only("flow_duration")
    tables = [make(10, features, flow_duration=dict.fromkeys(range(2), -1.0)), make(10, features)]
    tables[1] = tables[1].set_column(0, "record_id", pa.array(range(10), pa.uint64()))
    for share, passed in ((0.1, True), (0.09, False)):
        found = rule(
            audit(tables, limits_with(outside_share=share), features, rows=10), "is at least 0 (us)", "flow_duration"
        )
        assert (found.unexpected, found.total, found.passed) == (2, 20, passed)


def test_a_hard_breach_stops_with_expectation_column_count_and_three_rows(make, only):
    features = only("flow_duration", "flow_bytes_per_s")
    table = make(20, features, flow_duration={3: NAN, 7: NAN, 8: NAN, 9: NAN}, y={0: 1})
    with pytest.raises(ExpectationError) as caught:
        audit([table], limits_with(), features).check()
    message = str(caught.value)
    assert "y is 0 exactly where no label names an attack" in message
    assert "1 of 20" in message
    assert "(a.csv, row 1, attack = benign, y = 1)" in message
    assert "1 more hard expectation is breached: flow_duration (is a finite number)" in message
    table = make(20, features, flow_duration={3: NAN, 7: NAN, 8: NAN, 9: NAN})
    with pytest.raises(
        ExpectationError, match=r"expect_column_values_to_not_be_null: flow_duration: .* 4 of 20"
    ) as caught:
        audit([table], limits_with(), features).check()
    assert "(a.csv, row 4, None), (a.csv, row 8, None), (a.csv, row 9, None)" in str(caught.value)


def test_a_soft_breach_is_reported_and_does_not_stop(make, only):
    features = only("flow_duration")
    findings = audit([make(20, features, flow_duration={3: -1.0})], limits_with(outside_share=0.0), features)
    findings.check()
    assert [finding.columns for finding in findings.warnings] == [("flow_duration",)]
    assert findings.summary()["failed_soft"] == 1
    assert findings.summary()["passed"]


def test_an_open_vocabulary_reports_unknown_attacks_only(make, only):
    table = make(20, only(), attack={3: "novel"}, family={3: "unknown"})
    findings = audit([table], limits_with(open_vocabulary=True), only())
    findings.check()
    assert {finding.columns for finding in findings.warnings} == {("attack",), ("family",)}


def test_attacks_alone_stop(make, only):
    everywhere = {"y": 1, "attack": "ddos", "family": "ddos"}
    table = make(6, only(), **{name: dict.fromkeys(range(6), value) for name, value in everywhere.items()})
    with pytest.raises(ExpectationError, match="are present") as caught:
        audit([table], limits_with(), only()).check()
    assert "no record with y = 0 (benign)" in str(caught.value)


@pytest.mark.parametrize("attack", ["benign", "unlabelled"])
def test_records_without_attacks_are_no_fault(make, only, attack):
    everywhere = {"y": 0, "attack": attack, "family": attack}
    table = make(6, only(), **{name: dict.fromkeys(range(6), value) for name, value in everywhere.items()})
    attacks = {**ATTACKS, "unlabelled": ("unlabelled", ())}
    found = audit([table], limits_with(), only(), attacks)
    found.check()
    assert not found.shortcuts.attacks


def test_no_records_at_all_stop(only):
    with pytest.raises(ExpectationError, match="no record with y = 0"):
        audit([], limits_with(), only()).check()


def test_a_schema_that_differs_is_told_before_anything_else(make, only):
    features = only("flow_duration", "flow_bytes_per_s")
    table = make(4, features)
    renamed = table.rename_columns(
        ["flow_durations" if name == "flow_duration" else name for name in table.column_names]
    )
    text = table.set_column(len(table.column_names) - 1, "flow_bytes_per_s", pa.array(["1"] * 4))
    swapped = table.select([*table.column_names[:-2], *table.column_names[:-3:-1]])
    for broken, told in (
        (renamed, r"'flow_duration' is missing \(did you mean 'flow_durations'\?\)"),
        (table.append_column("extra", pa.array([1] * 4)), "'extra' is not of the schema"),
        (text, "'flow_bytes_per_s' is string, not double"),
        (swapped, "'flow_bytes_per_s' stands where 'flow_duration' belongs"),
    ):
        findings = audit([table, broken], limits_with(), features)
        assert {finding.kind for finding in findings.breaches} == {"schema", "classes"} - (
            {"classes"} if findings.rows else set()
        )
        with pytest.raises(ExpectationError, match=told):
            findings.check()


def test_text_may_be_encoded_or_plain(make, only):
    plain = make(20, only())
    for name in ("source_file", "attack", "family", "day"):
        plain = plain.set_column(plain.column_names.index(name), name, plain[name].cast(pa.string()))
    assert audit([plain], STRICT, only()) == audit([make(20, only())], STRICT, only())


def test_duplicates_are_audited(make, only):
    ports = {4: 2.0, 6: 2.0, 15: 3.0, 9: 8.0}  # 2, 4, 6 benign; 3, 15 attacks in two files; 8 benign, 9 an attack
    copies = audit([make(20, only(), destination_port=ports)], limits_with(), only()).duplicates
    assert (copies.repeated, copies.groups, copies.members) == (4, 3, 7)
    assert (copies.across_files, copies.disagreeing_labels, copies.disagreeing_attacks) == (2, 2, 2)
    assert copies.by_attack == {"benign": 2, "ddos": 2}


def test_ranges_are_those_of_the_finite_values(make, only, rng):
    features = only("flow_iat_mean", "flow_bytes_per_s")
    values = rng.normal(size=500)
    changed = {"flow_iat_mean": dict(enumerate(values)), "flow_bytes_per_s": dict.fromkeys(range(500), NAN)}
    changed["flow_bytes_per_s"][3] = INF
    ranges = audit([make(500, features, **changed)], limits_with(), features).ranges
    seen = ranges["flow_iat_mean"]
    assert (seen.low, seen.high, seen.nulls, seen.infinite) == (values.min(), values.max(), 0, 0)
    np.testing.assert_allclose([seen.p01, seen.p50, seen.p99], np.percentile(values, [1, 50, 99]))
    empty = ranges["flow_bytes_per_s"]
    assert (empty.low, empty.p50, empty.nulls, empty.infinite) == (None, None, 499, 1)


def test_classes_are_counted_by_file_and_day(make, only):
    findings = audit([make(20, only(), day={19: None})], limits_with(), only())
    assert findings.counts(by=1) == {"a.csv": {"benign": 6, "ddos": 6}, "b.csv": {"benign": 4, "ddos": 4}}
    assert findings.counts(by=2) == {"monday": {"benign": 10, "ddos": 9}, "unknown": {"ddos": 1}}
    assert findings.attacks == {"benign": 10, "ddos": 10}


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 50), max_size=6), rows=st.integers(15, 60))
def test_findings_do_not_depend_on_how_the_rows_are_cut(faulty, cuts, rows):
    table, columns, whole = faulty
    parts = [table.slice(start, stop - start) for start, stop in pairwise([0, *sorted(cuts), 50])]
    assert audit(iter(parts), STRICT, columns, rows=rows) == whole


def _by_great_expectations(rule, frame):
    """How many rows of a frame break a rule; how many columns or values, where the rule is about those."""
    context = great_expectations().get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    result = context.data_sources.pandas_default.read_dataframe(frame).validate(rule).result
    if "element_count" in result:
        return result["unexpected_count"], result["element_count"]
    wrong = result.get("missing_count", len(result.get("details", {}).get("mismatched", ())))
    return wrong, len(rule.value_set) if "missing_count" in result else len(result["observed_value"])


def test_the_counts_are_those_of_great_expectations(faulty, monkeypatch):
    table, columns, _ = faulty
    frames, add = {}, runner.Counts.add

    def seen(counts, scope, frame, *rest, **more):
        frames[scope] = frame
        return add(counts, scope, frame, *rest, **more)

    monkeypatch.setattr(runner.Counts, "add", seen)
    results = audit([table], STRICT, columns).results
    assert {"columns", "types", "labels", "features", "identities", "stream", "classes"} <= frames.keys()
    for rule, found in zip(suite(STRICT, columns).expectations, results, strict=True):
        if rule.meta["scope"] in frames:
            assert (found.unexpected, found.total) == _by_great_expectations(rule, frames[rule.meta["scope"]]), found


@pytest.mark.parametrize("names", [["a", "b", "c"], ["a", "c", "b"], ["a", "c"], ["a", "b", "c", "d"], ["x", "a"]])
def test_columns_out_of_place_are_those_of_great_expectations(names):
    rule = expect(
        "ExpectTableColumnsToMatchOrderedList", ("columns", "schema", "in order"), (), column_list=list("abc")
    )
    frame = pd.DataFrame(columns=names)
    assert rules.broken(rule, frame).sum() == _by_great_expectations(rule, frame)[0]


@pytest.mark.parametrize("values", [[0, 1, 1], [1, 1], [], [2, 0]])
def test_absent_values_are_those_of_great_expectations(values):
    about = ("classes", "classes", "both")
    rule = expect("ExpectColumnDistinctValuesToContainSet", about, ("y",), column="y", value_set=[0, 1])
    frame = pd.DataFrame({"y": np.array(values, np.int8)})
    assert rules.broken(rule, frame).sum() == _by_great_expectations(rule, frame)[0]


def test_great_expectations_judges_the_sums_by_their_limits():
    counts = pd.DataFrame({"unexpected": [0, 3, 5, 0], "allowed": [0.0, 2.5, 5.0, 1.0]})
    assert runner.over_limit(counts) == {1}
    assert runner.over_limit(counts[:1]) == set()


def test_the_summary_is_plain_json(faulty):
    findings = faulty[2]
    told = json.loads(json.dumps(findings.summary(), allow_nan=False))
    assert told["failed_hard"] == len(findings.breaches) > 3
    assert {"rows", "passed", "findings", "duplicates", "attacks", "attacks_by_day"} <= told.keys()
    assert json.dumps(findings.intervals(), allow_nan=False)


def test_a_share_outside_its_limits_is_refused():
    with pytest.raises(ValueError, match="null_share must lie in"):
        limits_with(null_share=1.5)


def test_the_suite_says_what_is_hard(only):
    expectations = suite(limits_with(), only("flow_duration")).expectations
    assert all((e.severity == "critical") == e.meta["hard"] for e in expectations)
    assert {e.meta["kind"] for e in expectations if e.meta["hard"]} >= {"schema", "labels", "classes", "duplicates"}


NUMBER = Column("size", low=None, integer=False, may_be_undefined=True)
WORD = Column("colour", low=None, integer=False, may_be_undefined=True, categorical=True)
VOCABULARY = {"benign": ("benign", ()), "ddos": ("ddos", ())}


def coloured(make, rows=20, **changed):
    """Records of a table of one's own: a number, unless told otherwise different in each, and a word."""
    table = make(rows, ())
    columns = {"size": [float(row) for row in range(rows)], "colour": ["red", "blue", "red", "green"] * (rows // 4)}
    for name, cells in changed.items():
        for row, value in cells.items():
            columns[name][row] = value
    for field in record_schema((NUMBER, WORD)):
        if field.name in columns:
            table = table.append_column(field, pa.array(columns[field.name], field.type))
    return table


def test_words_are_counted_and_judged_like_numbers(make, rule):
    size = {3: NAN, 6: 2.0, 9: 7.0}
    table = coloured(make, size=size, colour={1: "", 5: ""})
    columns = (NUMBER, WORD)
    findings = audit([table.slice(0, 7), table.slice(7)], STRICT, columns, VOCABULARY, rows=6)
    assert findings.words == {"colour": {"red": 10, "green": 5, "blue": 3, "": 2}}
    found = rule(findings, "is not null", "colour")
    assert (found.unexpected, found.total, found.hard) == (2, 20, True)
    assert [example.row for example in found.examples] == [2, 6]
    # 6 repeats 2; 9 has the number of 7 and another word
    assert rule(findings, "repeats no earlier record in all features").unexpected == 1
    assert findings.intervals()["colour"] == {
        "words": 3,
        "records": {"red": 10, "green": 5, "blue": 3},
        "other_records": 0,
        "nulls": 2,
    }
    assert not [f for f in findings.results if f.kind in {"ranges", "identities"}]


def test_words_alone_can_be_judged(make):
    table = coloured(make).drop_columns(["size"])
    limits = limits_with(duplicate_share=1.0, disagreeing_share=1.0, shortcuts=shortcuts_with(known=("colour",)))
    findings = audit([table], limits, (WORD,), VOCABULARY)
    findings.check()
    assert findings.words["colour"] == {"red": 10, "blue": 5, "green": 5}
    assert findings.ranges == {}


def test_a_word_where_a_number_is_promised_stops(make):
    with pytest.raises(ExpectationError, match="'colour' is string, not double"):
        audit([coloured(make)], limits_with(), (NUMBER, Column("colour")), VOCABULARY).check()


@pytest.mark.real
@pytest.mark.parametrize("folder", ["cicids2017", "cicids2017_improved", "cicids2017_with_flow_ids"])
def test_published_records_break_no_hard_expectation(folder):
    if not (REAL / folder).is_dir():
        pytest.skip(f"the real records of {folder} are not at hand")
    chunks = DATASETS["cicids2017"](REAL / folder).read()
    findings = audit((chunk.records for chunk in chunks), limits_with())
    findings.check()
    assert {finding.kind for finding in findings.warnings} <= {"shortcuts"}
