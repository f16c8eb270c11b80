"""Logs of Zeek become records: by hand-worked values, and whatever form a log has."""

import bz2
import gzip
import json
import lzma
import zipfile
from datetime import datetime

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.base.errors import SchemaError, SourceError
from pipeline.datasets.reading import Reading
from pipeline.datasets.sensors import base, zeek_tsv
from pipeline.datasets.sensors.zeek import Zeek
from pipeline.datasets.sources import blocks
from tests.datasets.sensors.logs import FIELDS, SCAN, TLS, header, json_lines, line, tsv

WHERE = ["record_id", "source_file", "row"]


def read(path, **given):
    chunks = list(Zeek(path, **given).read())
    return tuple(pa.concat_tables([getattr(each, kind) for each in chunks]) for kind in ("records", "rejected"))


def reasons(rejected):
    return [(row["row"], row["reason"]) for row in rejected.to_pylist() if row["reason"] != "blank row"]


def parted_by(separator):
    text = header().replace("\\x09", f"\\x{ord(separator):02x}") + line(TLS)
    return text.replace("\t", separator)


def test_a_connection_by_hand(tmp_path):
    records, rejected = read(tsv(tmp_path / "conn.log", [TLS, SCAN]))
    tls, scan = records.to_pylist()
    assert tls["timestamp"] == datetime(2023, 11, 14, 22, 13, 20, 250_000)
    assert (tls["day"], tls["protocol"], tls["flow_id"], tls["row"]) == ("tuesday", 6, "CTLS1", 9)
    assert (tls["src_ip"], tls["src_port"], tls["dst_ip"], tls["dst_port"]) == ("10.0.0.7", 50123, "203.0.113.9", 443)
    assert (tls["proto"], tls["service"], tls["state"], tls["local_orig"], tls["local_resp"]) == (
        "tcp", "ssl", "SF", "T", "F",
    )  # fmt: skip
    assert tls["fwd_packet_size"] == 1200 / 9
    assert tls["bwd_packet_size"] == 4400 / 7
    assert tls["answered_share"] == 7 / 16
    assert tls["byte_rate"] == 5600 / 2.5
    assert tls["packet_gap"] == 2.5 / 15
    assert (tls["fwd_fin"], tls["bwd_fin"], tls["fwd_reset"], tls["history_length"]) == (1, 1, 0, 8)
    assert (tls["y"], tls["attack"]) == (None, "unlabelled")
    assert (scan["service"], scan["duration"], scan["fwd_payload_bytes"], scan["local_orig"]) == ("-", 0, 0, "-")
    assert (scan["answered_share"], scan["fwd_packet_size"], scan["packet_rate"]) == (0, 60, 1000)
    assert rejected.num_rows == 0


def test_times_are_stored_in_the_zone_of_the_settings(tmp_path):
    path = tsv(tmp_path / "conn.log", [TLS])
    (record,) = read(path, reading=Reading.of("auto", "Asia/Tokyo", ()))[0].to_pylist()
    assert (record["timestamp"], record["day"]) == (datetime(2023, 11, 15, 7, 13, 20, 250_000), "wednesday")


def test_words_of_the_settings_say_that_there_is_no_label(tmp_path):
    path = tsv(
        tmp_path / "conn.log", [{**TLS, "label": word} for word in ("todo", "NeedManualLabel")], (*FIELDS, "label")
    )
    records, _ = read(path, reading=Reading.of("auto", "UTC", ("todo",)))
    assert records["attack"].to_pylist() == ["unlabelled"] * 2


def test_letters_of_the_history(tmp_path):
    (record,) = read(tsv(tmp_path / "conn.log", [{**TLS, "history": "^hAdTttWrq"}]))[0].to_pylist()
    events = ("fwd_syn", "bwd_syn_ack", "fwd_ack", "bwd_data", "bwd_reset", "retransmissions", "zero_windows")
    assert [record[name] for name in events] == [0, 1, 1, 1, 1, 3, 1]
    assert (record["turned_round"], record["contradictions"], record["history_length"]) == (1, 1, 10)


def test_a_log_that_was_rotated_in_the_middle_and_changed_its_fields(tmp_path):
    fields = [*reversed(FIELDS), "community_id"]
    text = header() + line(TLS) + "#close\t1\n" + header(fields) + line({**SCAN, "community_id": "1:x"}, fields)
    (tmp_path / "conn.log").write_text(text)
    apart = read(tsv(tmp_path / "conn.2.log", [TLS, SCAN]))[0]
    joined = read(tmp_path / "conn.log")[0]
    assert joined["row"].to_pylist() == [9, 19]
    assert joined.drop_columns(WHERE).to_pylist() == apart.drop_columns(WHERE).to_pylist()


def test_rotated_and_packed_logs_of_a_folder(tmp_path):
    plain = tsv(tmp_path / "conn.log", [TLS])
    with gzip.open(tmp_path / "conn.00:00:00-01:00:00.log.gz", "wt") as file:
        file.write(header() + line(SCAN))
    (tmp_path / "dns.log").write_text(header(["ts", "query"], path="dns") + "1.0\tx\n")
    assert read(tmp_path)[0]["flow_id"].to_pylist() == ["CSCAN", "CTLS1"]
    assert read(plain)[0]["flow_id"].to_pylist() == ["CTLS1"]


def test_bad_lines_are_told_with_their_rows(tmp_path):
    text = header() + line(TLS) + "\n" + line({**TLS, "orig_pkts": "many"}) + line(SCAN)[:40]
    (tmp_path / "conn.log").write_text(text)
    records, rejected = read(tmp_path / "conn.log")
    assert records["row"].to_pylist() == [9]
    assert reasons(rejected) == [(11, "'many' is not a number"), (12, "5 fields where the header has 21")]
    assert rejected.to_pylist()[-2]["column"] == "orig_pkts"
    assert "many" in rejected.to_pylist()[-2]["text"]
    assert [row["row"] for row in rejected.to_pylist() if row["reason"] == "blank row"] == [10]


def test_comments_are_counted_and_no_rejects(tmp_path):
    path = tsv(tmp_path / "conn.log", [TLS, SCAN])
    path.write_text("\n" + path.read_text())
    chunks = list(Zeek(path).read())
    assert sum(each.passed_over.get("comment", 0) for each in chunks) == 9
    assert [row for each in chunks for row in each.rejected["row"].to_pylist()] == [1]


def test_an_odd_port_loses_no_record(tmp_path):
    records, rejected = read(tsv(tmp_path / "conn.log", [{**TLS, "id.orig_p": "none"}, {**SCAN, "id.orig_p": 70000}]))
    assert records["src_port"].to_pylist() == [None, None]
    assert not reasons(rejected)


@pytest.mark.parametrize(
    ("label", "detail", "attack", "y"),
    [
        ("Malicious", "PartOfAHorizontalPortScan", "partofahorizontalportscan", 1),
        ("Malicious", "-", "attack", 1),
        ("benign", "-", "benign", 0),
        ("-", "-", "unlabelled", None),
    ],
)
def test_labels_behind_spaces(tmp_path, label, detail, attack, y):
    fields = (*FIELDS[:-1], "tunnel_parents   label   detailed-label")
    connection = {**TLS, fields[-1]: f"(empty)   {label}   {detail}"}
    (record,) = read(tsv(tmp_path / "conn.log.labeled", [connection], fields))[0].to_pylist()
    assert (record["attack"], record["y"]) == (attack, y)


def test_a_label_field_of_ones_own(tmp_path):
    fields = (*FIELDS, "kind")
    connections = [{**TLS, "kind": "Fine"}, {**SCAN, "kind": "Port Scan"}, {**SCAN, "kind": 1}, SCAN]
    records, _ = read(tsv(tmp_path / "conn.log", connections, fields), label="kind", benign=("fine",))
    assert records["attack"].to_pylist() == ["benign", "port_scan", "attack", "unlabelled"]
    assert records["family"].to_pylist()[1] == "port_scan"


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        (header(["ts", "query"], "dns") + "1.0\tx\n", SchemaError, "is Zeek's dns.log; conn.log holds the connections"),
        (header(FIELDS[:6]) + "1\t" * 5 + "1\n", SchemaError, "'proto'"),
        (line(TLS), SchemaError, "row 1 has no header above it"),
        (header() + "#close\t1\n", SourceError, "holds no connection"),
        ("#separator \\x09\\x09\n", SchemaError, "the separator must be one character"),
        (parted_by("\xe9"), SchemaError, "row 1: the separator must be .* ASCII"),
        (parted_by("\x00"), SchemaError, "row 1: the separator must be .* ASCII"),
        ('{"ts": 1.0, "query": "x"}\n', SchemaError, "has no 'proto'"),
        ("", SourceError, "has no records"),
        ("[" + json.dumps(TLS) + "]\n", SchemaError, "each line must hold one"),
        (json.dumps(TLS, indent=1) + "\n", SchemaError, "each line must hold one"),
    ],
)
def test_what_is_no_log_of_connections_is_refused(tmp_path, text, error, said):
    (tmp_path / "conn.log").write_text(text)
    with pytest.raises(error, match=said):
        read(tmp_path / "conn.log")


def test_fields_may_be_parted_otherwise(tmp_path):
    text = (
        (header() + line(TLS)).replace("\t", "|").replace("\\x09", "\\x7c").replace("#unset_field|-", "#unset_field|~")
    )
    (tmp_path / "conn.log").write_text(text.replace("|-", "|~"))
    plain = read(tsv(tmp_path / "conn.plain.log", [TLS]))[0]
    assert read(tmp_path / "conn.log")[0].drop_columns(WHERE).equals(plain.drop_columns(WHERE))


@pytest.mark.parametrize("change", [lambda text: "\ufeff" + text, lambda text: text.replace("\n", "\r\n")])
@pytest.mark.parametrize("write", [tsv, json_lines])
def test_a_mark_before_the_text_and_other_line_ends_change_nothing(tmp_path, write, change):
    path = write(tmp_path / "conn.log", [TLS, SCAN])
    plain = read(path)[0]
    path.write_bytes(change(path.read_text()).encode())
    assert read(path)[0].to_pylist() == plain.to_pylist()


def test_bytes_that_are_no_text_are_rejected(tmp_path):
    (tmp_path / "conn.log").write_bytes(header().encode() + bytes(range(256)) * 3 + b"\n" + line(TLS).encode())
    records, rejected = read(tmp_path / "conn.log")
    assert records["flow_id"].to_pylist() == ["CTLS1"]
    assert rejected.num_rows > 0


def test_times_of_json_are_numbers_or_iso(tmp_path):
    times = [1700000000.25, "2023-11-14T22:13:20.250000Z", "2023-11-14T23:13:20.25+0100", "1700000000.25"]
    records, _ = read(json_lines(tmp_path / "conn.log", [{**TLS, "ts": time} for time in times]))
    assert records["timestamp"].to_pylist() == [datetime(2023, 11, 14, 22, 13, 20, 250_000)] * 4


@pytest.mark.parametrize("last", [TLS, {**TLS, "uid": [1]}])  # the latter has the block read object by object
def test_fields_with_a_dot_may_lie_in_an_object_in_some_lines_alone(tmp_path, last):
    nested = {name: value for name, value in TLS.items() if not name.startswith("id.")}
    nested["id"] = {name.removeprefix("id."): value for name, value in TLS.items() if name.startswith("id.")}
    records, _ = read(json_lines(tmp_path / "conn.log", [TLS, nested, last]))
    assert records["src_ip"].to_pylist() == ["10.0.0.7"] * 3
    assert records["destination_port"].to_pylist() == [443] * 3


@pytest.mark.parametrize("every", [1, 2, 7])
def test_comments_among_the_lines_do_not_cut_them_into_pieces(tmp_path, every, monkeypatch):
    path = tsv(tmp_path / "conn.log", [TLS, SCAN] * 20)
    plain = read(path)[0]
    remarks = ("# seen\n", "#\n", "#close\t1\n", "#" + "\t" * (len(FIELDS) - 1) + "\n")  # the last: as many cells
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(text + remarks[n % 4] * (n % every == 0) for n, text in enumerate(lines)))
    read_lines, ways = zeek_tsv.read, []
    monkeypatch.setattr(zeek_tsv, "read", lambda *given: ways.append(given) or read_lines(*given))
    chunks = list(Zeek(path).read())
    records = pa.concat_tables([each.records for each in chunks])
    assert records.drop_columns(WHERE).equals(plain.drop_columns(WHERE))
    assert [path.read_text().split("\n")[row - 1][0] for row in records["row"].to_pylist()] == ["1"] * 40
    assert sum(each.passed_over.get("comment", 0) for each in chunks) == path.read_text().count("\n") - 40
    assert not sum(each.rejected.num_rows for each in chunks)
    assert len(ways) == 1


def test_objects_of_json_that_are_none(tmp_path):
    path = json_lines(tmp_path / "conn.log", [TLS, {**SCAN, "ts": "soon"}, {"ts": 1.0, "proto": "tcp"}])
    path.write_text(path.read_text() + "[1]\n\n" + '{"ts": 17000000')
    records, rejected = read(path)
    assert records["row"].to_pylist() == [1]
    assert reasons(rejected) == [
        (2, "'soon' is not a time"),
        (3, "has no 'conn_state'"),
        (4, "is no object of JSON, or was cut off"),
        (6, "is no object of JSON, or was cut off"),
    ]


connections = st.lists(
    st.fixed_dictionaries(
        {
            "ts": st.integers(0, 2_000_000_000).map(float),
            "uid": st.text("abcXYZ019", min_size=1, max_size=8),
            "id.orig_h": st.sampled_from(["10.0.0.1", "fe80::1"]),
            "id.orig_p": st.integers(0, 65535),
            "id.resp_h": st.just("203.0.113.1"),
            "id.resp_p": st.integers(0, 65535),
            "proto": st.sampled_from(["tcp", "udp", "icmp", "unknown_transport"]),
            "conn_state": st.sampled_from(["SF", "S0", "OTH"]),
            "orig_pkts": st.integers(0, 10**9),
            "orig_ip_bytes": st.integers(0, 10**12),
            "resp_pkts": st.integers(0, 10**9),
            "resp_ip_bytes": st.integers(0, 10**12),
        },
        optional={
            "service": st.sampled_from(["ssl", "dns", "ssl,http"]),
            "duration": st.integers(0, 10**6).map(lambda n: n / 64),
            "orig_bytes": st.integers(0, 10**12),
            "resp_bytes": st.integers(0, 10**12),
            "local_orig": st.booleans(),
            "missed_bytes": st.integers(0, 10**6),
            "history": st.text("^ShADadFfRrTtq", max_size=12),
        },
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=connections, size=st.integers(200, 5000))
def test_both_formats_of_the_same_connections_give_equal_records(tmp_path, made, size):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base.sources, "blocks", lambda source: blocks(source, size))  # wherever blocks are cut
        own = read(tsv(tmp_path / "conn.log", made))[0].drop_columns(WHERE)
        as_json = read(json_lines(tmp_path / "conn.json", made))[0].drop_columns(WHERE)
    assert own.to_pylist() == as_json.to_pylist()
    assert own.num_rows == len(made)


def test_a_bad_number_changes_no_other_record(tmp_path):
    path = tsv(tmp_path / "conn.log", [TLS, SCAN] * 3)
    clean = read(path)[0]
    path.write_text(path.read_text() + line({**TLS, "resp_pkts": "1e"}))
    records, rejected = read(path)
    assert records.to_pylist() == clean.to_pylist()
    assert reasons(rejected) == [(16, "'1e' is not a number")]


@pytest.mark.parametrize("write", [tsv, json_lines])
def test_a_protocol_of_thousands_of_digits_is_unknown(tmp_path, write):
    records, _ = read(write(tmp_path / "conn.log", [{**TLS, "proto": "1" * 5000}, SCAN]))
    assert records["protocol"].to_pylist() == [None, 6]


def test_identifiers_may_be_numbers_of_any_size(tmp_path):
    records, _ = read(json_lines(tmp_path / "conn.log", [{**TLS, "uid": -1}, {**SCAN, "uid": 2**64 - 1}]))
    assert records["flow_id"].to_pylist() == ["-1", "18446744073709551615"]


UNFIT = {"duration": ["nan", "inf", "-1.5"], "orig_pkts": ["-3"], "ts": ["nan", "1e15", "-inf"]}


@pytest.mark.parametrize("other", [{}, {"resp_pkts": "many"}])  # a word among the numbers has the block read as text
@pytest.mark.parametrize(("name", "cell"), [(name, cell) for name, cells in UNFIT.items() for cell in cells])
def test_numbers_that_no_sensor_counts_reject_their_row_whatever_other_lines_hold(tmp_path, name, cell, other):
    records, rejected = read(tsv(tmp_path / "conn.log", [TLS, {**TLS, name: cell}, {**SCAN, **other}]))
    kind = "is not a time" if name == "ts" else f"is {'below 0' if '.5' in cell or '3' in cell else 'not a number'}"
    assert records["row"].to_pylist() == ([9] if other else [9, 11])
    assert reasons(rejected)[0] == (10, f"{float(cell):.15g} {kind}")
    assert rejected.to_pylist()[0]["column"] == name


@pytest.mark.parametrize(
    "other", [TLS, {**TLS, "id.orig_p": "50123"}, {**TLS, "duration": "2.5", "ts": "1700000000.25"}]
)
@pytest.mark.parametrize(("name", "cell"), [("duration", -1.5), ("orig_pkts", -3), ("ts", 1e15)])
def test_objects_with_such_numbers_are_rejected_too(tmp_path, name, cell, other):
    records, rejected = read(json_lines(tmp_path / "conn.json", [TLS, {**TLS, name: cell}, other]))
    assert records["row"].to_pylist() == [1, 3]
    assert reasons(rejected) == [(2, f"{cell:.15g} is {'not a time' if name == 'ts' else 'below 0'}")]


@pytest.mark.parametrize("last", [SCAN, {**SCAN, "uid": [1]}])
def test_a_bare_nan_is_no_json(tmp_path, last):
    path = json_lines(tmp_path / "conn.json", [TLS, {**TLS, "duration": float("nan")}, last])
    records, rejected = read(path)
    assert records["row"].to_pylist() == [1, 3]
    assert reasons(rejected) == [(2, "is no object of JSON, or was cut off")]


def test_summaries_in_a_folder_of_logs_are_passed_over(tmp_path):
    tsv(tmp_path / "conn.log", [TLS])
    tsv(tmp_path / "conn_2023.log", [SCAN])
    (tmp_path / "conn-summary.00:00:00-01:00:00.log").write_text(">== Total === 2023-11-14\n   - Connections 2\n")
    assert read(tmp_path)[0]["flow_id"].to_pylist() == ["CTLS1", "CSCAN"]
    with zipfile.ZipFile(tmp_path / "logs.zip", "w") as archive:
        for path in tmp_path.glob("*.log"):
            archive.write(path, f"2023-11-14/{path.name}")
    assert read(tmp_path / "logs.zip")[0]["flow_id"].to_pylist() == ["CTLS1", "CSCAN"]


def test_a_log_that_is_named_by_itself_may_be_called_anything(tmp_path):
    assert read(tsv(tmp_path / "connections-of-tuesday.log", [TLS]))[0]["flow_id"].to_pylist() == ["CTLS1"]


@pytest.mark.parametrize("suffix", [".bz2", ".xz", ".zst"])
def test_logs_in_any_packing(tmp_path, suffix):
    pack = {".bz2": bz2.compress, ".xz": lzma.compress, ".zst": lambda text: pa.compress(text, "zstd", asbytes=True)}
    plain = tsv(tmp_path / "conn.log", [TLS]).read_bytes()
    (tmp_path / f"conn.log{suffix}").write_bytes(pack[suffix](plain))
    (tmp_path / "conn.log").unlink()
    assert read(tmp_path)[0]["flow_id"].to_pylist() == ["CTLS1"]
