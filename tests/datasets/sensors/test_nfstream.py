"""Files of nfstream become records, with the statistics that they have."""

import csv
from datetime import datetime

import pyarrow as pa
import pytest

from pipeline.base.errors import SchemaError
from pipeline.datasets.sensors.nfstream import NFStream

PLAIN = {
    "id": 0, "expiration_id": 0, "src_ip": "10.0.0.7", "src_mac": "02:00:0a:00:00:07", "src_oui": "02:00:0a",
    "src_port": 50123, "dst_ip": "203.0.113.9", "dst_mac": "02", "dst_oui": "02", "dst_port": 443, "protocol": 6,
    "ip_version": 4, "vlan_id": 0, "tunnel_id": 0, "bidirectional_first_seen_ms": 1700000000250,
    "bidirectional_last_seen_ms": 1700000002750, "bidirectional_duration_ms": 2500, "bidirectional_packets": 16,
    "bidirectional_bytes": 5760, "src2dst_first_seen_ms": 1, "src2dst_last_seen_ms": 2, "src2dst_duration_ms": 2400,
    "src2dst_packets": 9, "src2dst_bytes": 1290, "dst2src_first_seen_ms": 1, "dst2src_last_seen_ms": 2,
    "dst2src_duration_ms": 2300, "dst2src_packets": 7, "dst2src_bytes": 4470, "application_name": "TLS.YouTube",
    "application_category_name": "Media", "application_is_guessed": 0, "user_agent": "curl/8, on Linux",
}  # fmt: skip
STATISTICS = {"bidirectional_mean_ps": 360.0, "src2dst_max_piat_ms": 40.0, "dst2src_rst_packets": 1}


def write(path, *rows):
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    return path


def read(path, **given):
    chunks = list(NFStream(path, **given).read())
    return tuple(pa.concat_tables([getattr(each, kind) for each in chunks]) for kind in ("records", "rejected"))


def test_a_flow_by_hand(tmp_path):
    (flow,) = read(write(tmp_path / "flows.csv", PLAIN))[0].to_pylist()
    assert flow["timestamp"] == datetime(2023, 11, 14, 22, 13, 20, 250_000)
    assert (flow["protocol"], flow["proto"], flow["service"], flow["service_kind"]) == (6, "tcp", "TLS", "Media")
    assert (flow["src_ip"], flow["src_port"], flow["dst_ip"], flow["dst_port"]) == (
        "10.0.0.7", 50123, "203.0.113.9", 443,
    )  # fmt: skip
    assert (flow["duration"], flow["fwd_duration"], flow["bwd_duration"]) == pytest.approx((2.5, 2.4, 2.3))
    assert (flow["byte_rate"], flow["fwd_packet_size"], flow["row"]) == (5760 / 2.5, 1290 / 9, 1)
    assert flow["attack"] == "unlabelled"


def test_statistics_are_features_where_the_first_file_has_them(tmp_path):
    (flow,) = read(write(tmp_path / "a.csv", PLAIN | STATISTICS))[0].to_pylist()
    assert (flow["packet_size_mean"], flow["fwd_pause_max"], flow["bwd_rst_packets"]) == (360, 0.04, 1)
    assert "packet_size_mean" not in [column.name for column in NFStream(write(tmp_path / "b.csv", PLAIN)).columns]
    with pytest.raises(SchemaError, match=r"b.csv: .*'bidirectional_mean_ps'"):
        read(tmp_path)


def test_labels_and_bad_rows(tmp_path):
    rows = [{**PLAIN, "label": "benign"}, {**PLAIN, "label": "DDoS"}, {**PLAIN, "src2dst_packets": "x", "label": "1"}]
    path = write(tmp_path / "flows.csv", *rows)
    path.write_text(path.read_text() + "3,0,10.0.0.9\n")
    records, rejected = read(path)
    assert records["attack"].to_pylist() == ["benign", "ddos"]
    assert [(row["row"], row["reason"]) for row in rejected.to_pylist()] == [
        (3, "'x' is not a number"),
        (4, "3 fields where the header has 34"),
    ]


@pytest.mark.parametrize(("name", "said"), [("src2dst_packets", "'src2dst_packets'"), ("protocol", "'protocol'")])
def test_another_file_is_refused_by_what_it_lacks(tmp_path, name, said):
    path = write(tmp_path / "flows.csv", {key: value for key, value in PLAIN.items() if key != name})
    with pytest.raises(SchemaError, match=f"is no CSV of nfstream, or lacks fields of it: {said}"):
        read(path)
