"""Captures that are cut, damaged or strange: what can be read is read, and what cannot is named."""

import gzip
import struct
import zipfile
from random import Random

import pytest

from pipeline.base.errors import ConfigError, DataError, SchemaError, SourceError
from pipeline.base.registry import build
from pipeline.datasets.base import PASSED_OVER
from pipeline.datasets.findings import Findings
from pipeline.datasets.packets import rejects
from pipeline.datasets.packets.captures import Captures
from pipeline.datasets.packets.files import Capture
from pipeline.datasets.packets.sections import Sections
from pipeline.datasets.reading import Reading
from pipeline.datasets.registry import DATASETS
from tests.datasets.test_captures import WEB, known, lengths, read
from tests.datasets.wire import (
    A6,
    ACK,
    B6,
    SECOND,
    START,
    SYN,
    A,
    B,
    block,
    enhanced,
    ethernet,
    framed,
    interface,
    ipv4,
    ipv6,
    pcap,
    pcapng,
    section,
    talk,
    tcp,
    udp,
)


@pytest.fixture
def opened(tmp_path):
    """Records and rejected rows of a capture with some content."""

    def open_capture(content, name="some.pcap", **settings):
        (tmp_path / name).write_bytes(content)
        return [table.to_pylist() for table in read(tmp_path / name, **settings)]

    return open_capture


def reasons(rejected):
    return [row["reason"] for row in rejected]


@pytest.mark.parametrize("missing", [1, 20, 53])
def test_a_file_that_ends_within_a_frame_says_what_is_missing(opened, missing):
    whole = pcap(framed(WEB))
    records, rejected = opened(whole[:-missing])
    assert known(records) == known(opened(pcap(framed(WEB[:-1])))[0])
    assert rejected == [
        {
            "source_file": "some.pcap",
            "row": 7,
            "column": "frame",
            "reason": f"{PASSED_OVER}the file ends within frame 8: {missing} of its bytes are missing",
            "text": "",
        }
    ]


def test_a_file_that_ends_within_the_header_of_a_frame_or_block_says_so(opened):
    one = framed(WEB[:1])
    assert reasons(opened(pcap(one) + bytes(9))[1]) == [
        f"{PASSED_OVER}the file ends within frame 2, before its length is told"
    ]
    assert reasons(opened(pcapng(one) + b"\6\0")[1]) == [
        f"{PASSED_OVER}the file ends within the block behind frame 1, before its length is told"
    ]
    two = pcapng(framed(WEB[:2]))
    assert reasons(opened(two[:-4])[1]) == [
        f"{PASSED_OVER}the file ends within the block behind frame 1: 4 of its bytes are missing"
    ]


def test_a_truncated_gzip_is_read_as_far_as_it_goes(opened):
    content = gzip.compress(pcap(framed(talk(n, ACK, n % 99) for n in range(3_000))))
    records, rejected = opened(content[: len(content) // 2], "some.pcap.gz")
    assert records
    (reason,) = reasons(rejected)
    assert reason.startswith("the file cannot be decompressed beyond byte ")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "some.pcap: is empty; a pcap or pcapng is expected; remove the file"),
        (b"Flow ID,Src IP\n1,2\n", "is no pcap or pcapng (it begins with the bytes 46 6c 6f 77)"),
        (b"\xd4\xc3", "is no pcap or pcapng"),
        (pcap([]), "no IP packet was found"),
        (section() + interface(), "no IP packet was found"),
        (
            pcap(framed(WEB), link=127),
            "link type 127 (IEEE 802.11 with radiotap headers) is not read; read are Ethernet",
        ),
        (pcap(framed(WEB), link=999), "link type 999 is not read"),
        (section() + interface(link=105) + enhanced(START, b"x" * 60), "link type 105 (IEEE 802.11) is not read"),
    ],
)
def test_what_is_no_capture_of_packets_is_refused_by_name(opened, content, told):
    with pytest.raises(SourceError) as error:
        opened(content)
    assert told in str(error.value)


def test_an_interface_of_another_link_type_does_not_matter_while_it_is_silent(opened):
    content = section() + interface() + interface(link=105) + enhanced(START, framed(WEB)[0][1])
    assert lengths(opened(content)[0]) == [(1, 0)]


@pytest.mark.parametrize("kept", [14 + 19, 14 + 20 + 15])
def test_frames_that_are_cut_within_their_headers_are_rejected(opened, kept):
    long = framed(WEB)
    content = pcap(long[:1]) + pcap(long[1:3], snap=kept)[24:]
    records, rejected = opened(content)
    assert lengths(records) == [(1, 0)]
    assert [(row["row"], row["reason"]) for row in rejected] == [
        (number, "is cut before its headers end") for number in (2, 3)
    ]
    assert bytes.fromhex(rejected[0]["text"]) == long[1][1][:kept]


def test_headers_that_contradict_each_other_are_rejected(opened):
    bad = [
        b"\x41" + ipv4(A, B, 6, tcp(1, 2))[1:],  # a header of 4 bytes
        ipv4(A, B, 6, tcp(1, 2), total=19),  # shorter than its header
        ipv4(A, B, 6, tcp(1, 2), version=5),
        ipv4(A, B, 6, tcp(1, 2), total=39),  # TCP header longer than what IP carries
        ipv4(A, B, 6, tcp(1, 2)[:12] + b"\x40" + tcp(1, 2)[13:]),  # a TCP header of 16 bytes
        ipv4(A, B, 17, udp(1, 2), total=27),
    ]
    frames = [(START, ethernet(packet, kind=0x0800)) for packet in bad]
    records, rejected = opened(pcap([*framed(WEB[:1]), *frames]))
    assert len(records) == 1
    ip, transport = "has an IP header that contradicts itself", "has a transport header that contradicts its IP header"
    assert reasons(rejected) == [ip] * 3 + [transport] * 3


@pytest.mark.parametrize(
    ("wire", "told", "whole"),
    [
        *[(54, 40, True), (54, 41, False), (54, 65_535, False), (65_549, 65_535, True), (54, 0, True), (3, 40, True)],
        *[(65_549, 0, True), (65_550, 0, False), (0xFFFFFFFF, 0, False)],
    ],
)
def test_lengths_that_contradict_the_wire_are_rejected(opened, wire, told, whole):
    frame = ethernet(ipv4(A, B, 6, tcp(1, 2), total=told))
    records, rejected = opened(pcap(framed(WEB[:1])) + struct.pack("<IIII", 1_500_000_000, 0, 54, wire) + frame)
    carried = (told or wire - 14) - 40
    assert [row["total_length_fwd_packets"] for row in records] == ([0, carried] if whole else [0])
    assert reasons(rejected) == ([] if whole else ["has an IP header that contradicts itself"])


@pytest.mark.parametrize(
    ("wire", "told", "whole"),
    [(74, 20, True), (74, 21, False), (65_589, 65_535, True), (65_589, 0, True), (65_590, 0, False)],
)
def test_lengths_of_ipv6_that_contradict_the_wire_are_rejected(opened, wire, told, whole):
    packet = ipv6(A6, B6, 6, tcp(1, 2))
    frame = ethernet(packet[:4] + struct.pack(">H", told) + packet[6:])
    records, rejected = opened(pcap(framed(WEB[:1])) + struct.pack("<IIII", 1_500_000_000, 0, 74, wire) + frame)
    assert [row["total_length_fwd_packets"] for row in records][1:] == ([(told or wire - 54) - 20] if whole else [])
    assert len(rejected) == 1 - whole


@pytest.mark.parametrize(
    ("resolution", "offset", "shown"),
    [(9, 2**62, 0), (None, -(2**63), 0), (0, None, 0), (127, 2**40, 0), (255, -9, 0), (18, None, 2), (127, 9, 2)],
)
def test_times_that_no_clock_shows_are_rejected(opened, resolution, offset, shown):
    frame = framed(WEB)[0][1]
    good = interface() + enhanced(START, frame)
    strange = b"".join(enhanced(ticks, frame, number=1) for ticks in (2**64 - 1, 2**63))
    records, rejected = opened(section() + good + interface(resolution=resolution, offset=offset) + strange)
    assert sum(row["total_fwd_packets"] for row in records) == 1 + shown
    assert reasons(rejected)[: 2 - shown] == ["has a time before 1970 or after 2200"] * (2 - shown)
    with pytest.raises(SourceError, match="no IP packet was found in it, and a flow needs"):
        opened(section() + interface(resolution=0) + enhanced(2**64 - 1, frame))


def test_later_fragments_are_counted_and_passed_over(opened):
    first = ipv4(A, B, 17, udp(5, 6, bytes(1_472)), fragment=0x2000)
    later = [ipv4(A, B, 17, bytes(1_480), fragment=0x2000 | 185), ipv4(A, B, 17, bytes(9), fragment=370)]
    six = ipv6(A6, B6, 17, bytes(30), [(44, struct.pack(">BHI", 0, 185 << 3, 7))])
    records, rejected = opened(pcap(framed([(START, packet) for packet in [first, *later, six]])))
    assert [(row["flow_id"], row["total_length_fwd_packets"]) for row in records] == [(f"{A}-{B}-5-6-17", 1_472)]
    assert reasons(rejected) == [f"{PASSED_OVER}3 frames: is a later fragment, which has no ports"]


def test_frames_without_ip_are_counted_by_what_they_carry(opened):
    others = [ethernet(bytes(46), kind=kind) for kind in (0x0806, 0x0806, 0x88CC, 60, 0x1235, 0x1234, 0x1235)]
    records, rejected = opened(pcap([*framed(WEB), *((START, frame) for frame in others)]))
    assert len(records) == 1
    assert [(row["row"], row["reason"].removeprefix(PASSED_OVER)) for row in rejected] == [
        (9, "2 frames: carries no IP (ARP)"),
        (11, "carries no IP (LLDP)"),
        (12, "carries no IP (IEEE 802.3)"),
        (13, "2 frames: carries no IP (Ethernet type 0x1235)"),
        (14, "carries no IP (Ethernet type 0x1234)"),
    ]
    (rejected,) = opened(pcap([*WEB, (START, b"\x10" * 30)], link=101))[1]
    assert rejected["reason"] == f"{PASSED_OVER}carries no IP (no IP version)"


def test_the_reading_report_says_what_is_to_be_known_of_a_capture(tmp_path):
    others = [ethernet(bytes(46), kind=kind) for kind in (0x88CC, *[0x0806] * 30, 60, 0x8809, 0x888E)]
    late = [talk(time, ACK, 1) for time in (10 * SECOND, 9 * SECOND + 1, 3 * SECOND, 11 * SECOND)]
    (tmp_path / "some.pcap").write_bytes(pcap([*((START, frame) for frame in others), *framed(late)])[:-1])
    findings = Findings()
    for chunk in Captures(tmp_path).read():
        findings.add(chunk)
    report = findings.report()["some.pcap"]
    assert report["records"] == 1
    assert report["remarks"] == [
        "The file ends within frame 38: 1 of its bytes are missing.",
        "1 packet came too late to find the right place, and moved.",
        "Passed over: 30 frames: carries no IP (ARP).",
        *(f"Passed over: carries no IP ({kind})." for kind in ("LLDP", "IEEE 802.3", "LACP", "EAPOL")),
    ]
    assert report["sentences"][:2] == ["1 records.", report["remarks"][0]]
    assert report["extractor"]["tool"] == "captures"


@pytest.mark.parametrize("size", [1 << 22, 700])
def test_the_number_of_kinds_without_ip_is_bounded(opened, monkeypatch, size):
    monkeypatch.setattr(Capture, "size", size)
    kinds = [0x9000 - n for n in range(200)] * 2
    frames = [(START, ethernet(bytes(46), kind=kind)) for kind in kinds]
    _, rejected = opened(pcap([*framed(WEB), *frames]))
    told = [reason.removeprefix(PASSED_OVER) for reason in reasons(rejected)]
    assert told[:-1] == [f"2 frames: carries no IP (Ethernet type {kind:#06x})" for kind in kinds[:20]]
    assert told[-1] == "360 frames: carries no IP (other Ethernet types)"


@pytest.mark.parametrize(("frame", "link"), [(b"\0" * 12 + b"\x08", 1), (bytes(12) + b"\x81\0\0", 1), (b"", 101)])
@pytest.mark.parametrize("behind", [b"\0", b"\x08"])
def test_a_frame_that_ends_before_it_says_what_it_carries_is_rejected(opened, frame, link, behind):
    content = pcap([(START, frame), (START, behind * 60)], link=link)
    _, rejected = opened(content + pcap(framed(WEB) if link == 1 else WEB)[24:])
    assert (rejected[0]["row"], rejected[0]["reason"]) == (1, "is cut before its headers end")


def test_the_list_of_faulty_frames_is_bounded(opened, monkeypatch):
    monkeypatch.setattr(rejects, "MOST", 3)
    bad = [(START, ethernet(ipv4(A, B, 6, tcp(1, 2), total=19)))] * 10
    _, rejected = opened(pcap([*framed(WEB), *bad]))
    assert reasons(rejected)[3:] == ["7 more faulty frames are not listed"]


def test_a_damaged_file_is_read_up_to_the_damage(opened):
    frames = framed(WEB)
    damaged = pcap(frames[:2]) + struct.pack("<IIII", 0, 0, 1 << 31, 1 << 31) + bytes(500)
    records, rejected = opened(damaged)
    assert lengths(records) == [(1, 1)]
    assert reasons(rejected) == [
        "the file is damaged: frame 3 would have 2,147,483,648 bytes; what follows is not read"
    ]
    for tail in (struct.pack("<II", 6, 3) + bytes(20), block(0x0A0D0D0A, b"oops" * 4)):
        records, rejected = opened(pcapng(frames[:2]) + tail)
        assert lengths(records) == [(1, 1)]
        assert reasons(rejected)[0].startswith("the file is damaged: ")
    unknown = section() + interface() + enhanced(START, frames[0][1]) + enhanced(START, frames[1][1], number=4)
    records, rejected = opened(unknown)
    assert lengths(records) == [(1, 0)]
    assert reasons(rejected)[0].endswith("names an interface that is not described")


@pytest.mark.parametrize("kind", [0x0A0D0D0A, 1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("order", "<>")
def test_a_block_without_a_body_is_damage_where_its_kind_has_one(opened, kind, order):
    short = block(kind, b"", order)
    content = pcapng(framed(WEB[:2]), order=order) + short + enhanced(START + 1, framed(WEB)[2][1], order)
    records, rejected = opened(content)
    may_be_empty = kind in (4, 5)  # name resolution and statistics, which are passed over
    assert lengths(records) == [(2, 1) if may_be_empty else (1, 1)]
    damaged = [] if may_be_empty else ["the file is damaged: "]
    assert [reason[:21] for reason in reasons(rejected)] == damaged


def test_an_option_that_its_interface_cuts_is_passed_over(opened):
    body = struct.pack("<HHI", 1, 0, 0) + struct.pack("<HH", 14, 8)
    frame = framed(WEB)[0][1]
    assert lengths(opened(section() + block(1, body) + enhanced(START, frame))[0]) == [(1, 0)]


def test_interfaces_may_stand_between_packets_and_are_known_from_there_on(opened, monkeypatch):
    calls = []
    frames_of = Sections._frames
    monkeypatch.setattr(Sections, "_frames", lambda *given: calls.append(1) or frames_of(*given))
    frames = framed(talk(n, ACK, 1) for n in range(300))
    pairs = [interface(offset=-n) + enhanced(at + n * SECOND, frame, number=n) for n, (at, frame) in enumerate(frames)]
    (record,), rejected = opened(section() + b"".join(pairs))
    assert (record["total_fwd_packets"], record["flow_duration"], rejected) == (300, 299, [])
    assert len(calls) == 1  # not once for each interface
    early = section() + interface() + enhanced(*frames[0]) + enhanced(*frames[1], number=1) + interface()
    records, rejected = opened(early + enhanced(*frames[2]))
    assert lengths(records) == [(1, 0)]
    assert reasons(rejected) == [
        "the file is damaged: the packet behind frame 1 names an interface that is not described"
    ]


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_LZMA])
def test_a_damaged_member_of_a_zip_is_refused_in_one_sentence(opened, tmp_path, packing):
    with zipfile.ZipFile(tmp_path / "some.zip", "w", packing) as archive:
        archive.writestr("some.pcap", pcap(framed(WEB)))
    content = bytearray((tmp_path / "some.zip").read_bytes())
    content[30 + len("some.pcap") + 40] ^= 0xFF
    with pytest.raises(SourceError, match=r"^some\.pcap: cannot be read \(.*\); fetch the file again$"):
        opened(bytes(content), "some.zip")


@pytest.mark.parametrize("seed", range(40))
def test_no_damage_ends_in_anything_but_records_or_a_refusal(opened, seed):
    random = Random(seed)
    whole = bytearray((pcap if seed % 2 else pcapng)(framed(WEB * 3)))
    for _ in range(random.randrange(1, 30)):
        whole[random.randrange(8, len(whole))] = random.randrange(256)
    try:
        opened(bytes(whole[: random.randrange(40, len(whole))]))
    except SourceError as error:
        assert "some.pcap" in str(error)


def test_packets_that_come_late_find_their_place_or_are_moved(opened):
    at = [0, 10 * SECOND, 9 * SECOND + 1, 3 * SECOND, 11 * SECOND]
    records, rejected = opened(pcap(framed([talk(time, ACK, 1) for time in at])))
    assert [row["flow_duration"] for row in records] == [11 * SECOND]
    assert records[0]["flow_iat_max"] == 9 * SECOND  # the fourth counts as if it had come a second late
    assert reasons(rejected) == [f"{PASSED_OVER}1 packet came too late to find the right place, and moved"]


def test_a_clock_that_is_set_back_ends_all_flows(opened):
    packets = [talk(0, SYN), talk(500 * SECOND, ACK, 1), talk(501 * SECOND, ACK, 2), talk(100 * SECOND, ACK, 4)]
    records, rejected = opened(pcap(framed(packets)))
    assert [row["total_length_fwd_packets"] for row in records] == [0, 3, 4]
    assert reasons(rejected) == [f"{PASSED_OVER}1 time the clock was set back, and all flows ended there"]


def test_a_clock_that_jumps_without_end_is_refused(opened, monkeypatch):
    monkeypatch.setattr("pipeline.datasets.packets.clock.MOST_SETBACKS", 5)
    packets = [talk(n // 6 % 2 * 1_000 * SECOND + n, ACK) for n in range(6 * 13)]
    records, rejected = opened(pcap(framed(packets[: 6 * 12])))
    assert lengths(records) == [(6, 0)] * 12
    assert reasons(rejected) == [f"{PASSED_OVER}5 times the clock was set back, and all flows ended there"]
    with pytest.raises(SourceError, match="set back more than 5 times; sort the file by time"):
        opened(pcap(framed(packets)))


@pytest.mark.parametrize(
    ("places", "seconds"),
    [
        (places, seconds)
        for places in ([0], [50], [50, 51], [50, 70, 90])
        for seconds in (2, 119, 121, 86_400, -121, -86_400)
        if places != [0] or seconds > 0  # what begins early may be right
    ],
)
def test_one_wrong_clock_changes_no_other_packet_and_ends_no_flow(opened, seconds, places):
    times = [n * SECOND // 10 for n in range(200)]
    packets = [talk(time, ACK, n + 1) for n, time in enumerate(times)]
    whole, _ = opened(pcap(framed(packets)))
    shifted = [(time + seconds * SECOND * (n in places), packet) for n, (time, packet) in enumerate(packets)]
    records, rejected = opened(pcap(framed(shifted)))
    last = {place: max([0, *(n for n in range(place) if n not in places)]) for place in places}
    mended = [talk(times[last.get(n, n)], ACK, n + 1) for n in range(200)]
    if places == [0]:
        mended[0] = talk(times[3], ACK, 1)  # there is none before it
    assert known(records) == known(opened(pcap(framed(mended)))[0])
    assert lengths(records) == lengths(whole) == [(200, 0)]
    (reason,) = reasons(rejected)
    count = f"{len(places)} packet{'s' * (len(places) > 1)}"
    told = "had a time that the packets around contradict, and got that of the packet before"
    assert reason == f"{PASSED_OVER}{count} {told}"


def test_a_clock_that_is_set_back_among_few_packets_is_no_wrong_packet(opened):
    times = [*range(0, 4_000, 50), *range(1_000, 3_000, 50)]
    records, rejected = opened(pcap(framed([talk(time * SECOND, ACK, 1) for time in times])))
    assert sum(row["total_fwd_packets"] for row in records) == len(times)
    assert {row["timestamp"].timestamp() for row in records} <= {START / SECOND + time for time in times}
    assert reasons(rejected) == [f"{PASSED_OVER}1 time the clock was set back, and all flows ended there"]


def test_packets_wait_for_a_late_one_in_bounded_number(opened, monkeypatch):
    monkeypatch.setattr("pipeline.datasets.packets.clock.MOST_HELD", 50)
    monkeypatch.setattr(Capture, "size", 600)
    packets = [talk(n * SECOND, ACK, 1, client=n) for n in range(200)]
    late = talk(100 * SECOND, ACK, 1, client=500)
    records, rejected = opened(pcap(framed([*packets, late])), reorder=3_600.0, flow_timeout=7_200.0)
    assert len(records) == 201
    assert reasons(rejected) == [f"{PASSED_OVER}1 packet came too late to find the right place, and moved"]
    monkeypatch.undo()
    patient, rejected = opened(pcap(framed([*packets, late])), reorder=3_600.0, flow_timeout=7_200.0)
    assert ([row["src_port"] for row in patient].index(500), rejected) == (101, [])


RULES = """label,src_ip,dst_ip,src_port,dst_port,protocol,start,end
PortScan,10.0.0.1,,,80,tcp,2017-07-14 02:40:01,2017-07-14T02:40:02Z
,,,,,17,,
BENIGN,10.0.0.1,,,,,,
"""


def test_rules_beside_a_capture_label_its_flows(opened, tmp_path):
    packets = [
        talk(0, SYN, client=1),
        talk(SECOND, SYN, client=2),
        talk(2_999_999, SYN, client=3),
        talk(3 * SECOND, SYN, client=4),
        talk(4 * SECOND, SYN, client=5, server=443),
        (START + 5 * SECOND, ipv4(A, B, 17, udp(6, 80))),
        (START + 6 * SECOND, ipv4(B, A, 17, udp(7, 80))),
        (START + 7 * SECOND, ipv4(B, A, 6, tcp(8, 80, SYN))),
    ]
    (tmp_path / "some.pcap.labels.csv").write_text(RULES)
    records, _ = opened(pcap(framed(packets)), label="Bot")
    assert [(row["attack"], row["family"], row["y"]) for row in records] == [
        ("benign", "benign", 0),
        ("port_scan", "port_scan", 1),
        ("port_scan", "port_scan", 1),
        ("benign", "benign", 0),
        ("benign", "benign", 0),
        ("unlabelled", "unlabelled", None),
        ("unlabelled", "unlabelled", None),
        ("bot", "bot", 1),
    ]


def test_times_are_stored_and_rules_are_read_in_the_zone_of_the_settings(opened, tmp_path):
    (tmp_path / "some.pcap.labels.csv").write_text("start,end,label\n2017-07-14 04:40:00,2017-07-14 04:40:00,Bot\n")
    reading = Reading.of("auto", "Europe/Berlin", ["?"])
    records, _ = opened(pcap(framed(WEB)), reading=reading, label="?")
    assert [(row["attack"], row["timestamp"].hour) for row in records] == [("bot", 4)]


@pytest.mark.parametrize(
    ("rules", "error", "told"),
    [
        ("src_ip,labels\n1.2.3.4,Bot\n", SchemaError, "column 'labels' is unknown (did you mean 'label'?)"),
        ("src_ip\n1.2.3.4\n", SchemaError, "column 'label' is missing; the columns are src_ip"),
        ("src_ip,label\n1.2.3.4.5,Bot\n", DataError, "row 1, column 'src_ip': '1.2.3.4.5' does not appear to be"),
        ("dst_port,label\n1,Bot\n70000,Bot\n", DataError, "row 2, column 'dst_port': '70000' is no port"),
        (
            "protocol,label\nquic,Bot\n",
            DataError,
            "row 1, column 'protocol': 'quic' is no protocol; tcp, udp, icmp or 0 to 255",
        ),
        ("start,label\nnoon,Bot\n", DataError, "row 1, column 'start': Invalid isoformat string: 'noon'; correct it"),
        (f"label\n{'x' * 131_073}\n", DataError, "cannot be read as CSV (field larger than field limit (131072))"),
    ],
)
def test_rules_that_cannot_be_read_are_refused(opened, tmp_path, rules, error, told):
    (tmp_path / "some.pcap.labels.csv").write_text(rules)
    with pytest.raises(error) as raised:
        opened(pcap(framed(WEB)))
    assert str(raised.value).startswith(f"some.pcap.labels.csv: {told}")


def test_rules_may_be_in_the_encoding_of_windows_or_utf16(opened, tmp_path):
    for encoding in ("cp1252", "utf-16", "utf-8-sig"):
        (tmp_path / "some.pcap.labels.csv").write_bytes("src_ip,label\n10.0.0.1,früh\n".encode(encoding))
        records, _ = opened(pcap(framed(WEB)), label="Bot", reading=Reading.of("auto", "UTC", ["früh"]))
        assert [row["attack"] for row in records] == ["unlabelled"]


@pytest.mark.parametrize("rules", ["some.pcap.labels.csv", "some.pcap.gz.labels.csv"])
@pytest.mark.parametrize("inside", ["", "deep/"])
def test_rules_are_found_beside_a_packed_capture_and_in_a_zip(tmp_path, rules, inside):
    folder, packed = tmp_path / "captures" / inside, tmp_path / "captures.zip"
    folder.mkdir(parents=True)
    contents = {"some.pcap.gz": gzip.compress(pcap(framed(WEB))), rules: b"label\nBot\n"}
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in contents.items():
            (folder / name).write_bytes(content)
            archive.writestr(inside + name, content)
    for path in (folder / "some.pcap.gz", tmp_path / "captures", packed):
        assert read(path)[0]["attack"].to_pylist() == ["bot"]
    packed.with_name("captures.zip.labels.csv").write_text("label\nPortScan\n")
    assert read(packed)[0]["attack"].to_pylist() == ["bot"]  # what lies nearer counts
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("other.pcap", pcap(framed(WEB)))
    assert read(packed)[0]["attack"].to_pylist() == ["port_scan"]


def test_a_member_whose_own_name_is_damaged_is_refused(opened, tmp_path):
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.writestr("fr\xfch.pcap", pcap(framed(WEB)))
    content = bytearray((tmp_path / "some.zip").read_bytes())
    content[32] = 0xFF  # in the name that stands before the bytes of the member
    with pytest.raises(SourceError, match=r"^fr\xfch\.pcap: cannot be read \(.*\); fetch the file again$"):
        opened(bytes(content), "some.zip")


def test_a_capture_without_a_packet_names_what_most_of_its_frames_are(opened):
    arp, cut = ethernet(bytes(46), kind=0x0806), ethernet(b"\x45")
    few = [(START, arp)] * 3 + [(START, cut)] * 2
    with pytest.raises(SourceError, match=r"most often because: carries no IP \(ARP\)$"):
        opened(pcap(few))
    with pytest.raises(SourceError, match=r"most often because: is cut before its headers end$"):
        opened(pcap([*few, *[(START, cut)] * 2]))


def test_the_same_capture_twice_is_refused(tmp_path):
    (tmp_path / "some.pcap").write_bytes(pcap(framed(WEB)))
    (tmp_path / "some.pcap.gz").write_bytes(gzip.compress(pcap(framed(WEB))))
    with pytest.raises(
        SourceError, match=r"^some\.pcap\.gz: has the same content as some\.pcap; remove one of the two"
    ):
        read(tmp_path)


@pytest.mark.parametrize("name", ["flow_timeout", "activity_timeout", "subflow_gap", "bulk_gap", "reorder"])
@pytest.mark.parametrize("seconds", [0.0, -1.0, 1e6])
def test_times_outside_their_limits_are_refused(tmp_path, name, seconds):
    with pytest.raises(ConfigError, match=f"{name} must lie above 0 and be at most 86,400 s, given"):
        build(DATASETS, "pcap", "ingest.dataset", path=tmp_path, **{name: seconds})


def test_a_folder_without_captures_is_refused(tmp_path):
    with pytest.raises(SourceError, match=r"holds no \.pcap"):
        list(Captures(tmp_path).read())
