"""Captures become records: what each feature is, by hand, and that no form of the file changes it."""

import gzip
import zipfile
from statistics import stdev

import pyarrow as pa
import pytest

from pipeline.datasets.packets.captures import Captures
from pipeline.datasets.schema import FEATURE_NAMES
from tests.datasets.wire import (
    A6,
    ACK,
    B6,
    FIN,
    PSH,
    RST,
    SECOND,
    START,
    SYN,
    URG,
    A,
    B,
    block,
    enhanced,
    framed,
    icmp,
    interface,
    ipv4,
    ipv6,
    pcap,
    pcapng,
    section,
    simple,
    talk,
    udp,
)


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


FEATURES_AND_ENDS = [*FEATURE_NAMES, "timestamp", "flow_id", "src_ip", "src_port", "dst_ip", "dst_port", "protocol"]


def known(rows, names=FEATURES_AND_ENDS):
    return [{name: row[name] for name in names} for row in rows]


def cooked(packet, version):
    """A frame of Linux cooked capture."""
    kind = (0x0800 if packet[0] >> 4 == 4 else 0x86DD).to_bytes(2, "big")
    return bytes(14) + kind + packet if version == 1 else kind + bytes(18) + packet


FORMS = {
    "big-endian": lambda web: pcap(framed(web), order=">"),
    "nanoseconds": lambda web: pcap(framed(web), nano=True),
    "big-endian nanoseconds": lambda web: pcap(framed(web), order=">", nano=True),
    "pcapng": lambda web: pcapng(framed(web)),
    "big-endian pcapng": lambda web: pcapng(framed(web), order=">"),
    "gzip under a plain name": lambda web: gzip.compress(pcap(framed(web))),
    "VLAN": lambda web: pcap(framed(web, tags=[0x8100])),
    "QinQ": lambda web: pcap(framed(web, tags=[0x88A8, 0x8100])),
    "snap length": lambda web: pcap(framed(web), snap=14 + 20 + 16),
    "raw IP": lambda web: pcap(web, link=101),
    "BSD raw IP": lambda web: pcap(web, link=12),
    "loopback": lambda web: pcap([(time, b"\x02\0\0\0" + packet) for time, packet in web], link=0),
    "cooked": lambda web: pcap([(time, cooked(packet, 1)) for time, packet in web], link=113),
    "cooked, version 2": lambda web: pcap([(time, cooked(packet, 2)) for time, packet in web], link=276),
    "check sums behind frames": lambda web: pcap(framed(web), link=1 | 1 << 26 | 2 << 28),
    "Ethernet padding": lambda web: pcap([(time, frame.ljust(60, b"\0")) for time, frame in framed(web)]),
    "IP options": lambda web: pcap(framed((t, p[:1].replace(b"E", b"F") + lengthened(p)) for t, p in web)),
    "length told by the frame": lambda web: pcap(framed((t, p[:2] + b"\0\0" + p[4:]) for t, p in web)),
    "packets in reverse": lambda web: pcap([*framed(web)[:3][::-1], *framed(web)[3:]]),
}


def lengthened(packet):
    """The bytes behind the first one of an IPv4 packet, with four bytes of options."""
    total = (len(packet) + 4).to_bytes(2, "big")
    return packet[1:2] + total + packet[4:20] + b"\1\1\1\0" + packet[20:]


@pytest.mark.parametrize("form", FORMS)
def test_the_form_of_the_file_changes_no_record(tmp_path, form):
    plain = records(tmp_path, pcap(framed(WEB)))
    assert known(records(tmp_path, FORMS[form](WEB))) == known(plain)


@pytest.mark.parametrize("suffix", [".pcap", ".pcapng", ".cap", ".pcap.gz", ".PCAP"])
def test_captures_are_known_by_their_suffix_in_a_folder(tmp_path, suffix):
    content = pcap(framed(WEB))
    (tmp_path / f"some{suffix}").write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    (tmp_path / "notes.txt").write_text("no capture")
    assert read(tmp_path)[0].num_rows == 1


def test_a_file_that_is_named_may_be_called_anything_and_packed(tmp_path):
    whole = {}
    for name in ("trace", "some.pcap1", "some.pcap.gz"):
        content = pcap(framed(WEB))
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
        whole[name] = read(tmp_path / name)[0]
    assert [table.num_rows for table in whole.values()] == [1, 1, 1]
    assert set(whole["some.pcap.gz"]["source_file"].to_pylist()) == {"some.pcap"}
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.write(tmp_path / "some.pcap.gz", "some.pcap.gz")
    assert read(tmp_path / "some.zip")[0].equals(whole["some.pcap.gz"])


def test_ipv6_has_the_features_of_ipv4(tmp_path):
    def six(packet, extensions=()):
        ends = (A6, B6) if packet[12:16] < packet[16:20] else (B6, A6)
        return ipv6(*ends, 6, packet[20:], extensions)

    chain = [(0, b"\0" * 7), (60, b"\1" + b"\0" * 14), (51, b"\4" + b"\0" * 22)]  # 8, 16 and 24 bytes
    expected = known(records(tmp_path, pcap(framed(WEB))), FEATURE_NAMES)
    for extensions in ((), chain):
        content = pcap(framed((time, six(packet, extensions)) for time, packet in WEB))
        (record,) = records(tmp_path, content)
        assert known([record], FEATURE_NAMES) == expected
        assert (record["src_ip"], record["dst_ip"]) == (A6, B6)
        assert record["flow_id"] == f"{A6}-{B6}-50000-80-6"


def test_interfaces_and_sections_have_times_of_their_own(tmp_path):
    frames = [frame for _, frame in framed(WEB)]
    times = [time for time, _ in WEB]
    content = section() + interface(resolution=9) + interface(resolution=0x80 | 20, offset=1_000_000_000)
    content += enhanced(times[0] * 1000 + 999, frames[0])
    ticks = -(-(times[1] - 1_000_000_000 * SECOND) * 2**20 // SECOND)
    content += enhanced(ticks, frames[1], number=1, kept=54)
    content += block(5, bytes(8)) + enhanced(times[2] * 1000, frames[2])
    content += (
        section(">")
        + interface(">")
        + b"".join(enhanced(*pair, ">") for pair in zip(times[3:], frames[3:], strict=True))
    )
    assert known(records(tmp_path, content)) == known(records(tmp_path, pcap(framed(WEB))))


def test_a_simple_packet_block_has_the_time_of_the_frame_before(tmp_path):
    (time, first), (_, second) = framed([talk(0, SYN), talk(0, SYN | ACK, back=True)])
    (record,) = records(tmp_path, section() + interface(snap=40) + enhanced(time, first) + simple(second))
    assert (record["total_fwd_packets"], record["total_bwd_packets"], record["flow_duration"]) == (1, 1, 0)


def test_directions_bulks_and_flags_by_hand(tmp_path):
    upload = [talk(1000 * n, ACK | URG if n == 2 else ACK, 1_000 + n, header=20) for n in range(5)]
    answer = [talk(10_000 + n, ACK, 10, back=True) for n in range(3)]  # too few for a bulk
    late = [talk(20_000 + 2_000_000 * n, ACK, 7) for n in range(4)]  # too slow for a bulk
    (record,) = records(tmp_path, pcap(framed([*upload, *answer, *late])))
    assert record["fwd_bulk_bytes_mean"] == 5_010
    assert record["fwd_bulk_packets_mean"] == 5
    assert record["fwd_bulk_rate_mean"] == pytest.approx(5_010 / 0.004)
    assert record["bwd_bulk_bytes_mean"] == record["bwd_bulk_packets_mean"] == record["bwd_bulk_rate_mean"] == 0
    assert (record["fwd_urg_flags"], record["urg_flag_count"], record["bwd_urg_flags"]) == (1, 1, 0)
    assert (record["fwd_data_packets"], record["ack_flag_count"]) == (9, 12)


def test_one_packet_is_a_flow_without_rates(tmp_path):
    (record,) = records(tmp_path, pcap(framed([talk(0, SYN, header=40)])))
    assert (record["total_fwd_packets"], record["total_bwd_packets"], record["flow_duration"]) == (1, 0, 0)
    rates = [record[name] for name in FEATURE_NAMES if name.endswith("_per_s")]
    assert rates == [0, 0, 0, 0]
    assert (record["init_win_bytes_fwd"], record["init_win_bytes_bwd"], record["down_up_ratio"]) == (100, 0, 0)


def lengths(rows):
    return [(row["total_fwd_packets"], row["total_bwd_packets"]) for row in rows]


def test_a_connection_ends_with_the_farewell_of_both_sides_or_a_reset(tmp_path):
    farewell = [talk(2, FIN | ACK), talk(3, ACK, back=True), talk(4, FIN | ACK, back=True), talk(5, ACK)]
    reused = [talk(10, SYN), talk(11, SYN | ACK, back=True)]
    half = [talk(2, FIN | ACK), talk(3, ACK, back=True)]
    reset = [talk(2, RST | ACK, back=True), talk(3, RST, back=True)]
    begin = [talk(0, SYN), talk(1, SYN | ACK, back=True)]
    assert lengths(records(tmp_path, pcap(framed([*begin, *farewell, *reused])))) == [(3, 3), (1, 1)]
    assert lengths(records(tmp_path, pcap(framed([*begin, *half, *reused])))) == [(3, 3)]
    assert lengths(records(tmp_path, pcap(framed([*begin, *reset, *reused])))) == [(1, 3), (1, 1)]


def test_two_minutes_end_a_flow_and_the_next_keeps_its_direction(tmp_path):
    packets = [
        talk(0, ACK, 1),
        talk(120 * SECOND, ACK, 2, back=True),  # just in time
        talk(120 * SECOND + 1, ACK, 4, back=True),  # begins the next, whose forward side is still A
        talk(300 * SECOND, ACK, 8, back=True),  # after too long a silence: forward is who sends
    ]
    rows = records(tmp_path, pcap(framed(packets)))
    assert lengths(rows) == [(1, 1), (0, 1), (1, 0)]
    assert [row["src_ip"] for row in rows] == [A, A, B]
    assert [row["destination_port"] for row in rows] == [80, 80, 50_000]
    short = records(tmp_path, pcap(framed(packets)), flow_timeout=119.0)
    assert lengths(short) == [(1, 0), (2, 0), (1, 0)]  # after a silence of more than the timeout: who sends


def test_an_answer_that_comes_first_has_the_client_as_its_source(tmp_path):
    rows = records(tmp_path, pcap(framed([talk(0, SYN | ACK, back=True), talk(1, ACK)])))
    assert [row["src_ip"] for row in rows] == [A]
    assert lengths(rows) == [(1, 1)]


def test_pauses_are_settings(tmp_path):
    content = pcap(framed([talk(n * 2 * SECOND, ACK, 9) for n in range(4)]))
    (usual,) = records(tmp_path, content)
    (patient,) = records(tmp_path, content, activity_timeout=1.0, subflow_gap=3.0, bulk_gap=3.0)
    assert (usual["idle_max"], usual["subflow_fwd_packets"], usual["fwd_bulk_packets_mean"]) == (0, 1, 0)
    assert (patient["idle_max"], patient["subflow_fwd_packets"], patient["fwd_bulk_packets_mean"]) == (2 * SECOND, 4, 4)


def test_icmp_is_a_flow_for_each_pair_of_hosts_and_kind(tmp_path):
    packets = [
        (START, ipv4(A, B, 1, icmp(8, data=b"ping"))),
        (START + 1, ipv4(B, A, 1, icmp(0, data=b"ping"))),
        (START + 2, ipv4(B, A, 1, icmp(3, 3, bytes(28)))),
        (START + 3, ipv6(A6, B6, 58, icmp(128))),
        (START + 4, ipv6(B6, A6, 58, icmp(129))),
    ]
    rows = records(tmp_path, pcap(framed(packets)))
    assert lengths(rows) == [(1, 1), (1, 0), (1, 1)]
    assert [row["flow_id"] for row in rows] == [f"{A}-{B}-0-0-1", f"{B}-{A}-0-0-1", f"{A6}-{B6}-0-0-58"]
    assert (rows[0]["total_length_fwd_packets"], rows[0]["fwd_header_length"]) == (4, 8)


def test_other_protocols_are_flows_without_ports(tmp_path):
    sctp = udp(4, 5)[:4] + bytes(8)
    rows = records(tmp_path, pcap(framed([(START, ipv4(A, B, 47, bytes(30))), (START, ipv4(A, B, 132, sctp + b"ab"))])))
    assert [row["flow_id"] for row in rows] == [f"{A}-{B}-0-0-47", f"{A}-{B}-4-5-132"]
    assert [row["total_length_fwd_packets"] for row in rows] == [30, 2]
