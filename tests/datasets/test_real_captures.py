"""Real captures: each is read, and flows whose records were published have the published features."""

import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.schema import FEATURE_NAMES
from tests.datasets.test_captures import read

DATA = Path(__file__).parents[3] / "shared" / "data"
pytestmark = [pytest.mark.real, pytest.mark.skipif(not DATA.is_dir(), reason="the real captures are not there")]

# Capture -> frames, flows.
CAPTURES = {
    "CIC-DDoS-2019-WebDDoS.pcap": (3_104, 148),
    "WebattackSQLinj.pcap": (94, 9),
    "nfstream_ftp.pcap": (1_192, 3),
    "nfstream_http-manipulated.pcap": (328, 2),
    "nfstream_ssh.pcap": (258, 2),
    "nfstream_synscan.pcap": (2_011, 1_994),
    "slips_test12-icmp-portscan.pcap": (37, 18),
    "slips_test8-malicious.pcap": (534, 1),
}
# What the published rows have under these names is another quantity; docs/how-to/captures.md says which.
OTHER = {
    "init_win_bytes_bwd": "the window of the last backward packet",
    **dict.fromkeys(
        (f"subflow_{way}_{what}" for way in ("fwd", "bwd") for what in ("packets", "bytes")),
        "the total over the number of packets",
    ),
}


def frames_with_ip(path):
    """Frames and those that carry IP, counted one after the other."""
    data = path.read_bytes()
    places, at = [], 24
    if data[:4] == b"\n\r\r\n":
        at = 0
        while at < len(data):
            kind, length = struct.unpack_from("<II", data, at)
            places += [at + 28] if kind == 6 else []
            at += length
    while at < len(data):
        places.append(at + 16)
        at += 16 + struct.unpack_from("<I", data, at + 8)[0]
    return len(places), sum(data[place + 12 : place + 14] in (b"\x08\x00", b"\x86\xdd") for place in places)


def test_every_capture_is_there():
    assert {path.name for path in (DATA / "pcaps").iterdir()} == set(CAPTURES)


@pytest.mark.parametrize("name", CAPTURES)
def test_each_packet_of_a_capture_is_in_one_flow(name):
    frames, flows = CAPTURES[name]
    records, rejected = read(DATA / "pcaps" / name)
    assert records.num_rows == flows
    counted = sum(int(pc.sum(records[f"total_{way}_packets"]).as_py()) for way in ("fwd", "bwd"))
    assert frames_with_ip(DATA / "pcaps" / name) == (frames, counted)
    assert [row["reason"] for row in rejected.to_pylist()] == (
        ["passed over: 519 frames: carries no IP (ARP)"] if counted < frames else []
    )
    for feature in FEATURE_NAMES:
        assert pc.all(pc.is_finite(records[feature])).as_py()


@pytest.fixture(scope="module")
def pairs():
    """Flow of the SQL injection, and the published record of the same flow and moment."""
    published = {}
    for chunk in CICIDS2017(DATA / "cicids2017_improved").read():
        for row in chunk.records.filter(pc.equal(chunk.records["src_ip"], "172.16.0.1")).to_pylist():
            published[row["flow_id"], row["timestamp"]] = row
    captured = read(DATA / "pcaps" / "WebattackSQLinj.pcap")[0].to_pylist()
    return [
        (row, published[row["flow_id"], row["timestamp"]])
        for row in captured
        if (row["flow_id"], row["timestamp"]) in published
    ]


def test_published_flows_are_found_by_their_ends_and_moment(pairs):
    assert sorted(row["src_port"] for row, _ in pairs) == [36_204, 36_206, 36_212]
    assert {row["attack"] for _, row in pairs} == {"web_sql_injection"}
    for captured, published in pairs:
        ends = ("src_ip", "src_port", "dst_ip", "dst_port", "protocol", "day")
        assert [captured[name] for name in ends] == [published[name] for name in ends]


def test_published_features_are_the_measured_ones(pairs):
    for captured, published in pairs:
        same = [name for name in FEATURE_NAMES if name not in OTHER]
        assert {name: captured[name] for name in same} == pytest.approx(
            {name: published[name] for name in same}, rel=1e-12
        )


def test_features_that_differ_are_the_listed_ones_for_the_listed_reasons(pairs):
    for captured, published in pairs:
        packets = captured["total_fwd_packets"] + captured["total_bwd_packets"]
        assert {name for name in FEATURE_NAMES if captured[name] != pytest.approx(published[name])} == set(OTHER)
        for way in ("fwd", "bwd"):
            assert published[f"subflow_{way}_packets"] == captured[f"total_{way}_packets"] // packets
            assert published[f"subflow_{way}_bytes"] == captured[f"total_length_{way}_packets"] // packets
        assert published["init_win_bytes_bwd"] < captured["init_win_bytes_bwd"] == 28_960  # the SYN's, not scaled


def test_a_folder_of_captures_is_one_data_set():
    records, _ = read(DATA / "pcaps")
    assert pa.types.is_dictionary(records["source_file"].type)
    assert records.num_rows == sum(flows for _, flows in CAPTURES.values())
