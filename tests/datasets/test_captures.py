"""Captures become records: what each feature is, by hand, and that no form of the file changes it."""

from statistics import stdev

import pyarrow as pa
import pytest

from pipeline.datasets.packets.captures import Captures
from pipeline.datasets.schema import FEATURE_NAMES
from tests.datasets.wire import ACK, FIN, PSH, SECOND, SYN, framed, pcap, talk


def read(path, **settings):
    chunks = list(Captures(path, **settings).read())
    return [pa.concat_tables([getattr(chunk, part) for chunk in chunks]) for part in ("records", "rejected")]


def records(tmp_path, content, **settings):
    """Rows of a capture with this content."""
    (tmp_path / "some.pcap").write_bytes(content)
    return read(tmp_path / "some.pcap", **settings)[0].to_pylist()


WEB = [  # microseconds, flags, bytes of data
    talk(0, SYN, header=40, window=29_200),
    talk(100, SYN | ACK, header=40, window=28_960, back=True),
    talk(150, ACK, header=32, window=229),
    talk(250, ACK | PSH, 100, header=32, window=229),
    talk(6_000_250, ACK | PSH, 500, header=32, window=235, back=True),
    talk(12_000_250, FIN | ACK, header=32, window=229),
    talk(12_000_300, FIN | ACK, header=32, window=236, back=True),
    talk(12_000_310, ACK, header=32, window=230),
]


def test_a_web_request_by_hand(tmp_path):
    (record,) = records(tmp_path, pcap(framed(WEB)))
    lengths = [0, 0, 0, 100, 500, 0, 0, 0]
    fwd_gaps, bwd_gaps = [150, 100, 12_000_000, 60], [6_000_150, 6_000_050]
    gaps = [100, 50, 100, 6_000_000, 6_000_000, 50, 10]
    seconds = 12.00031
    expected = {
        "destination_port": 80,
        "flow_duration": 12_000_310,
        "total_fwd_packets": 5,
        "total_bwd_packets": 3,
        "total_length_fwd_packets": 100,
        "total_length_bwd_packets": 500,
        "fwd_packet_length_max": 100,
        "fwd_packet_length_min": 0,
        "fwd_packet_length_mean": 20,
        "fwd_packet_length_std": stdev([0, 0, 100, 0, 0]),
        "bwd_packet_length_max": 500,
        "bwd_packet_length_min": 0,
        "bwd_packet_length_mean": 500 / 3,
        "bwd_packet_length_std": stdev([0, 500, 0]),
        "flow_bytes_per_s": 600 / seconds,
        "flow_packets_per_s": 8 / seconds,
        "flow_iat_mean": 12_000_310 / 7,
        "flow_iat_std": stdev(gaps),
        "flow_iat_max": 6 * SECOND,
        "flow_iat_min": 10,
        "fwd_iat_total": 12_000_310,
        "fwd_iat_mean": 12_000_310 / 4,
        "fwd_iat_std": stdev(fwd_gaps),
        "fwd_iat_max": 12 * SECOND,
        "fwd_iat_min": 60,
        "bwd_iat_total": 12_000_200,
        "bwd_iat_mean": 6_000_100,
        "bwd_iat_std": stdev(bwd_gaps),
        "bwd_iat_max": 6_000_150,
        "bwd_iat_min": 6_000_050,
        "fwd_psh_flags": 1,
        "bwd_psh_flags": 1,
        "fwd_urg_flags": 0,
        "bwd_urg_flags": 0,
        "fwd_header_length": 40 + 4 * 32,
        "bwd_header_length": 40 + 2 * 32,
        "fwd_packets_per_s": 5 / seconds,
        "bwd_packets_per_s": 3 / seconds,
        "packet_length_min": 0,
        "packet_length_max": 500,
        "packet_length_mean": 75,
        "packet_length_std": stdev(lengths),
        "packet_length_variance": stdev(lengths) ** 2,
        "fin_flag_count": 2,
        "syn_flag_count": 2,
        "rst_flag_count": 0,
        "psh_flag_count": 2,
        "ack_flag_count": 7,
        "urg_flag_count": 0,
        "cwr_flag_count": 0,
        "ece_flag_count": 0,
        "down_up_ratio": 3 / 5,
        "packet_size_mean": 75,
        "fwd_segment_size_mean": 20,
        "bwd_segment_size_mean": 500 / 3,
        "fwd_header_length_repeated": 40 + 4 * 32,
        "fwd_bulk_bytes_mean": 0,
        "fwd_bulk_packets_mean": 0,
        "fwd_bulk_rate_mean": 0,
        "bwd_bulk_bytes_mean": 0,
        "bwd_bulk_packets_mean": 0,
        "bwd_bulk_rate_mean": 0,
        "subflow_fwd_packets": 5 // 3,  # two pauses of more than a second, so three subflows
        "subflow_fwd_bytes": 100 // 3,
        "subflow_bwd_packets": 1,
        "subflow_bwd_bytes": 500 // 3,
        "init_win_bytes_fwd": 29_200,
        "init_win_bytes_bwd": 28_960,
        "fwd_data_packets": 1,
        "fwd_segment_size_min": 32,
        "active_mean": 250,  # nothing happened between the two idle times
        "active_std": 0,
        "active_max": 250,
        "active_min": 250,
        "idle_mean": 6 * SECOND,
        "idle_std": 0,
        "idle_max": 6 * SECOND,
        "idle_min": 6 * SECOND,
    }
    assert set(expected) == set(FEATURE_NAMES)
    assert {name: record[name] for name in expected} == pytest.approx(expected, rel=1e-12)
    assert record["flow_id"] == "10.0.0.1-192.0.2.7-50000-80-6"
    assert (record["src_ip"], record["src_port"], record["dst_ip"], record["dst_port"]) == (
        *("10.0.0.1", 50_000, "192.0.2.7", 80),
    )
    assert (record["protocol"], record["day"], record["timestamp"].isoformat()) == (6, "friday", "2017-07-14T02:40:00")
    assert (record["y"], record["attack"], record["row"]) == (None, "unlabelled", 1)
