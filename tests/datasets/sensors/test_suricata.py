"""Events of Suricata: flows become records, all others are counted."""

import json
from datetime import datetime

import pyarrow as pa
import pytest

from pipeline.base.errors import SchemaError, SourceError
from pipeline.datasets.sensors import base, json_blocks
from pipeline.datasets.sensors import json_lines as json_lines_module
from pipeline.datasets.sensors.suricata import Suricata
from pipeline.datasets.sources import blocks
from tests.datasets.sensors.logs import json_lines

FLOW = {
    "timestamp": "2023-11-14T23:13:30.000000+0100", "flow_id": 586497171462735, "in_iface": "eth0",
    "event_type": "flow", "src_ip": "10.0.0.7", "src_port": 50123, "dest_ip": "203.0.113.9", "dest_port": 443,
    "proto": "TCP", "app_proto": "tls",
    "flow": {
        "pkts_toserver": 9, "pkts_toclient": 7, "bytes_toserver": 1290, "bytes_toclient": 4470,
        "start": "2023-11-14T23:13:20.250000+0100", "end": "2023-11-14T23:13:22.750000+0100", "age": 2,
        "state": "closed", "reason": "timeout", "alerted": True,
    },
    "tcp": {"tcp_flags": "1b", "tcp_flags_ts": "1b", "tcp_flags_tc": "1e", "syn": True, "state": "closed"},
}  # fmt: skip
PING = {
    "timestamp": "2023-11-14T22:20:00.000000+0000", "flow_id": 7, "event_type": "flow", "src_ip": "fe80::1",
    "dest_ip": "fe80::2", "proto": "IPv6-ICMP", "icmp_type": 128,
    "flow": {"pkts_toserver": 1, "pkts_toclient": 0, "bytes_toserver": 118, "bytes_toclient": 0, "age": 0,
             "start": "2023-11-14T22:19:50.5+00:00", "state": "new"},
}  # fmt: skip
DNS = {"event_type": "dns", "src_ip": "10.0.0.7", "dns": {"rrname": "example.org"}}
ALERT = {**FLOW, "event_type": "alert", "alert": {"severity": 1}}


def read(path, **given):
    chunks = list(Suricata(path, **given).read())
    others = sum((each.passed_over for each in chunks), start=type(chunks[0].passed_over)())
    return *(pa.concat_tables([getattr(each, kind) for each in chunks]) for kind in ("records", "rejected")), others


def test_flows_by_hand(tmp_path):
    records, rejected, _ = read(json_lines(tmp_path / "eve.json", [FLOW, PING]))
    flow, ping = records.to_pylist()
    assert flow["timestamp"] == datetime(2023, 11, 14, 22, 13, 20, 250_000)
    assert (flow["protocol"], flow["proto"], flow["flow_id"]) == (6, "tcp", "586497171462735")
    assert (flow["src_ip"], flow["src_port"], flow["dst_ip"], flow["dst_port"]) == (
        "10.0.0.7", 50123, "203.0.113.9", 443,
    )  # fmt: skip
    assert (flow["duration"], flow["service"], flow["state"], flow["tcp_state"]) == (2.5, "tls", "closed", "closed")
    assert (flow["byte_rate"], flow["answered_share"], flow["fwd_packet_size"]) == (5760 / 2.5, 7 / 16, 1290 / 9)
    assert [flow[f"fwd_{name}"] for name in ("fin", "syn", "reset", "push", "ack", "urgent")] == [1, 1, 0, 1, 1, 0]
    assert [flow[f"bwd_{name}"] for name in ("fin", "syn", "reset", "push", "ack", "urgent")] == [0, 1, 1, 1, 1, 0]
    assert (ping["protocol"], ping["proto"], ping["src_port"], ping["dst_port"]) == (58, "icmp6", None, None)
    assert (ping["duration"], ping["service"], ping["tcp_state"], ping["fwd_syn"]) == (0, "-", "-", 0)
    assert ping["timestamp"] == datetime(2023, 11, 14, 22, 19, 50, 500_000)
    assert rejected.num_rows == 0


def test_other_events_are_counted_and_never_rejected(tmp_path):
    path = json_lines(tmp_path / "eve.json", [ALERT, FLOW, {"event_type": "stats"}, ALERT, FLOW])
    records, rejected, others = read(path)
    assert records["row"].to_pylist() == [2, 5]
    assert rejected.num_rows == 0
    assert others == {"alert": 2, "stats": 1}


def test_an_alert_is_no_label_and_no_feature(tmp_path):
    records, _, _ = read(json_lines(tmp_path / "eve.json", [ALERT, FLOW]))
    assert records["attack"].to_pylist() == ["unlabelled"]
    assert not [name for name in records.column_names if "alert" in name]


def test_a_truncated_last_line_and_a_flow_without_counts(tmp_path):
    path = json_lines(tmp_path / "eve.json", [FLOW, {"event_type": "flow", "proto": "TCP"}])
    path.write_text(path.read_text() + json.dumps(FLOW)[:200])
    records, rejected, _ = read(path)
    assert records.num_rows == 1
    assert [(row["row"], row["reason"]) for row in rejected.to_pylist()] == [
        (2, "has no 'flow.pkts_toserver'"),
        (3, "is no object of JSON, or was cut off"),
    ]


def test_numbers_that_a_shipper_made_texts(tmp_path):
    texts = {**FLOW, "src_port": "50123", "flow": {**FLOW["flow"], "pkts_toserver": "9"}}
    plain, shipped = (
        read(json_lines(tmp_path / name, [made]))[0] for name, made in (("a.json", FLOW), ("b.json", texts))
    )
    where = ["record_id", "source_file"]
    assert plain.drop_columns(where).equals(shipped.drop_columns(where))


def test_the_way_in_which_a_block_is_read_changes_no_record(tmp_path, monkeypatch):
    path = json_lines(tmp_path / "eve.json", [ALERT, FLOW, PING, {"event_type": "stats", "flow": {}}, FLOW])
    with monkeypatch.context() as patch:
        patch.delattr(json_lines_module, "read")  # by Arrow alone
        some, _, counted = read(path)
    monkeypatch.setattr(json_blocks, "read", lambda *_: None)  # object by object
    records, _, others = read(path)
    assert records.to_pylist() == some.to_pylist()
    assert others == counted == {"alert": 1, "stats": 1}


def test_well_formed_blocks_are_read_by_arrow(tmp_path, monkeypatch):
    path = json_lines(tmp_path / "eve.json", [ALERT, FLOW, PING, {"event_type": "stats", "stats": {"flow": 1}}])
    monkeypatch.delattr(json_lines_module, "read")
    assert read(path)[2] == {"alert": 1, "stats": 1}


def test_a_log_whose_first_events_are_no_flows_is_read_by_arrow(tmp_path, monkeypatch):
    monkeypatch.delattr(json_lines_module, "read")
    texts = {**FLOW, "flow": {**FLOW["flow"], "pkts_toserver": "9"}}  # whose spelling the first events do not tell
    records, _, others = read(json_lines(tmp_path / "eve.json", [DNS] * 1500 + [texts] * 3))
    assert records["row"].to_pylist() == [1501, 1502, 1503]
    assert others == {"dns": 1500}


def test_blocks_without_a_flow_do_not_fix_how_later_ones_are_read(tmp_path, monkeypatch):
    path = json_lines(tmp_path / "eve.json", [{**ALERT, "flow": {}, "tcp": {}}] * 20 + [FLOW] * 3)
    cut = len(json.dumps(FLOW)) // 2
    monkeypatch.setattr(base.sources, "blocks", lambda source: blocks(source, cut))
    slow, ways = json_lines_module.read, []
    monkeypatch.setattr(json_lines_module, "read", lambda block, *rest: ways.append(block) or slow(block, *rest))
    records, _, others = read(path)
    assert (records["row"].to_pylist(), others) == ([21, 22, 23], {"alert": 20})
    assert not [block for block in ways if b'"event_type": "flow"' in block.lines]


def test_what_follows_other_events_is_checked_as_well(tmp_path):
    foreign = {"ts": 1.0, "proto": "tcp"}
    with pytest.raises(SchemaError, match=r"is no eve\.json of Suricata.*'flow.pkts_toserver'"):
        read(json_lines(tmp_path / "eve.json", [ALERT] * 1500 + [foreign] * 3))
    records, rejected, _ = read(json_lines(tmp_path / "eve.json", [ALERT] * 1500 + [foreign] * 3 + [FLOW]))
    assert (records["row"].to_pylist(), rejected["row"].to_pylist()) == ([1504], [1501, 1502, 1503])


def test_a_negative_age_rejects_its_flow(tmp_path):
    odd = {**PING, "flow": {**PING["flow"], "age": -5}}
    records, rejected, _ = read(json_lines(tmp_path / "eve.json", [FLOW, odd]))
    assert records["row"].to_pylist() == [1]
    assert rejected["reason"].to_pylist() == ["-5 is below 0"]


@pytest.mark.parametrize("name", ["eve.json.zst", "eve-2023-11-14.log.zst", "eve.json.3.zst"])
def test_rotated_and_packed_logs_of_a_folder(tmp_path, name):
    plain = json_lines(tmp_path / "plain", [FLOW]).read_bytes()
    (tmp_path / name).write_bytes(pa.compress(plain, "zstd", asbytes=True))
    assert read(tmp_path)[0].num_rows == 1


def test_a_label_that_somebody_added(tmp_path):
    made = [{**FLOW, "truth": "normal"}, {**FLOW, "truth": "Exfiltration"}, FLOW]
    records, _, _ = read(json_lines(tmp_path / "eve.json", made), label="truth")
    assert records["attack"].to_pylist() == ["benign", "exfiltration", "unlabelled"]


@pytest.mark.parametrize(
    ("objects", "error", "said"),
    [
        ([{"ts": 1.0, "proto": "tcp"}], SchemaError, "is no eve.json of Suricata.*'flow.pkts_toserver'"),
        ([ALERT], SourceError, "holds no connection"),
    ],
)
def test_what_holds_no_flow_is_refused(tmp_path, objects, error, said):
    with pytest.raises(error, match=said):
        read(json_lines(tmp_path / "eve.json", objects))
