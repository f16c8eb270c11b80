"""Captures that follow one another: no flow is cut where one file ends and the next begins."""

import gzip
import operator
import zipfile
from io import BytesIO
from random import Random

import pytest

from pipeline.datasets.base import PASSED_OVER
from pipeline.datasets.packets.assembly import Assembly
from pipeline.datasets.packets.captures import Captures
from pipeline.datasets.packets.files import Capture
from pipeline.datasets.packets.sequence import OVERLAPS, Begun, Neighbours
from pipeline.datasets.sources import Source
from tests.datasets.test_captures import known, lengths, read
from tests.datasets.test_packet_flows import FLAGS, GAPS, frame, made
from tests.datasets.wire import ACK, FIN, SECOND, START, SYN, ethernet, framed, pcap, pcapng, talk

OVERLAP = f"{PASSED_OVER}{OVERLAPS}"


def conversations(seed, n=400):
    """(microseconds, frame) of packets between three hosts, some of them late by less than a second."""
    random = Random(seed)
    pairs = [(0, 1), (1, 0), (1, 2), (2, 1)]
    drawn = [
        (random.choice(GAPS[:5] * 5 + GAPS), random.choice(pairs), 6, random.choice(FLAGS), random.choice([0, 1, 700]))
        for _ in range(n)
    ]
    return [(packet.time - random.choice([0, 0, 0, SECOND // 3]), frame(packet)) for packet in made(drawn)]


def cut(folder, frames, parts, names="bacde"):
    """Write the frames to several files; the order of their names is not that of their times."""
    folder.mkdir(exist_ok=True)
    size = -(-len(frames) // parts)
    for name, begin in zip(names, range(0, len(frames), size), strict=False):
        (folder / f"{name}.pcap").write_bytes(pcap(frames[begin : begin + size]))
    return folder


def rows(path, **settings):
    return read(path, **settings)[0].to_pylist()


@pytest.mark.parametrize("parts", [2, 5])
@pytest.mark.parametrize("seed", range(8))
def test_a_capture_in_parts_gives_the_records_of_the_whole(tmp_path, monkeypatch, parts, seed):
    frames = conversations(seed)
    whole = rows(cut(tmp_path / "whole", frames, 1))
    monkeypatch.setattr(Capture, "size", 3_000)
    monkeypatch.setattr(Captures, "at_once", 40)
    records, rejected = read(cut(tmp_path / "parts", frames, parts))
    order = operator.itemgetter("timestamp", "flow_id", "total_fwd_packets")
    assert known(sorted(records.to_pylist(), key=order)) == known(sorted(whole, key=order))
    assert rejected.num_rows == 0
    size = -(-len(frames) // parts)
    file = {time: "bacde"[place // size] for place, (time, _) in reversed([*enumerate(frames)])}
    begun = (records["timestamp"].cast("int64").to_pylist(), records["source_file"].to_pylist())
    assert all(f"{file[time]}.pcap" == name for time, name in zip(*begun, strict=True) if time in file)
    for name in set(begun[1]):  # rows count the records of each file
        mine = [row["row"] for row in records.to_pylist() if row["source_file"] == name]
        assert mine == [*range(1, len(mine) + 1)]
    assert len(set(begun[1])) == parts


def test_a_flow_in_two_files_is_one_record_of_the_first(tmp_path):
    connection = [talk(0, SYN), talk(1, ACK, back=True), talk(SECOND, ACK, 5), talk(2 * SECOND, FIN | ACK, back=True)]
    cut(tmp_path, framed(connection), 2, "ab")
    (record,) = rows(tmp_path)
    assert lengths([record]) == [(2, 2)]
    assert (record["source_file"], record["row"], record["flow_duration"]) == ("a.pcap", 1, 2 * SECOND)


@pytest.mark.parametrize(("gap", "flows"), [(119, 1), (120, 1), (121, 2)])
def test_a_file_follows_that_begins_within_the_timeout(tmp_path, gap, flows):
    cut(tmp_path, framed([talk(0, ACK, 1), talk(gap * SECOND, ACK, 1)]), 2, "ab")
    assert len(rows(tmp_path)) == flows
    assert len(rows(tmp_path, flow_timeout=100.0)) == 2
    here, there = (Begun("", START + at * SECOND, Source("a", "a", BytesIO)) for at in (0, gap))
    assert Neighbours(SECOND, 120 * SECOND).meet(here, START, there) == (flows == 1, False)


def test_files_that_overlap_in_time_are_read_each_for_itself_and_it_is_said(tmp_path):
    north = [talk(n * SECOND, ACK, 1) for n in range(100)]
    south = [talk(n * SECOND, ACK, 1, back=True) for n in range(50, 150)]
    later = [talk(n * SECOND, ACK, 1) for n in range(150, 160)]  # nobody knows which of the two it follows
    for name, packets in (("a", north), ("b", south), ("c", later)):
        (tmp_path / f"{name}.pcap").write_bytes(pcap(framed(packets)))
    records, rejected = read(tmp_path)
    alone = [row for name in "abc" for row in rows(tmp_path / f"{name}.pcap")]
    assert records.to_pylist() == alone
    assert [(row["source_file"], row["reason"]) for row in rejected.to_pylist()] == [
        (f"{name}.pcap", OVERLAP) for name in "ab"
    ]


def test_each_folder_is_a_sensor_of_its_own(tmp_path):
    packets = framed([talk(n * SECOND, ACK, 1) for n in range(100)])
    for name in ("north", "south"):
        cut(tmp_path / name, packets[name == "south" :], 2, "ab")
    records, rejected = read(tmp_path)
    assert lengths(records.to_pylist()) == [(100, 0), (99, 0)]
    assert records["source_file"].to_pylist() == ["north/a.pcap", "south/a.pcap"]
    assert rejected.num_rows == 0


def test_numbered_files_and_those_in_a_zip_follow_one_another(tmp_path):
    packets = framed([talk(n * SECOND, ACK, 1) for n in range(90)])
    folder, packed = tmp_path / "some", tmp_path / "some.zip"
    folder.mkdir()
    for place, name in enumerate(["some.pcap", "some.pcap1", "some.pcap2.gz"]):
        content = pcap(packets[30 * place : 30 * place + 30])
        (folder / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with zipfile.ZipFile(packed, "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    assert lengths(rows(folder)) == lengths(rows(packed)) == [(90, 0)]


def test_what_lies_between_two_files_may_be_cut_empty_or_without_ip(tmp_path):
    packets = framed([talk(n * SECOND, ACK, 1) for n in range(20)])
    arp = [(START + 10 * SECOND, ethernet(bytes(46), kind=0x0806))]
    for name, content in {
        "a": pcap(packets[:11])[:-30],
        "b": pcap([]),
        "c": pcap(arp),
        "d": pcapng(packets[11:]),
    }.items():
        (tmp_path / f"{name}.pcap").write_bytes(content)
    records, rejected = read(tmp_path)
    assert lengths(records.to_pylist()) == [(19, 0)]
    assert [(row["source_file"], row["reason"]) for row in rejected.to_pylist()] == [
        ("a.pcap", f"{PASSED_OVER}the file ends within frame 11: 30 of its bytes are missing"),
        ("c.pcap", f"{PASSED_OVER}carries no IP (ARP)"),
    ]


def test_one_wrong_clock_at_the_end_or_the_beginning_of_a_file_ends_no_flow(tmp_path):
    packets = framed([talk(n * SECOND // 10, ACK, 1) for n in range(60)])
    for place in (29, 30):
        shifted = [(time + 3_600 * SECOND * (n == place), each) for n, (time, each) in enumerate(packets)]
        records, rejected = read(cut(tmp_path / str(place), shifted, 2, "ab"))
        assert lengths(records.to_pylist()) == [(60, 0)]
        assert rejected.num_rows == 1


def test_labels_of_a_flow_are_those_of_its_first_file(tmp_path):
    cut(
        tmp_path, framed([talk(0, ACK, client=1), talk(1, ACK, client=2), *[talk(2, ACK, client=n) for n in (1, 3)]]), 2
    )
    (tmp_path / "b.pcap.labels.csv").write_text("label\nBot\n")
    (tmp_path / "a.pcap.labels.csv").write_text("label\nBENIGN\n")
    assert [row["attack"] for row in rows(tmp_path)] == ["bot", "bot", "benign"]


def test_memory_does_not_grow_with_the_number_of_files(tmp_path, monkeypatch):
    kept, add = [], Assembly.add

    def counted(self, traffic, horizon):
        found = add(self, traffic, horizon)
        kept.append(len(self))
        return found

    monkeypatch.setattr(Assembly, "add", counted)
    monkeypatch.setattr(Captures, "at_once", 20)
    packets = framed([talk(n * SECOND, ACK, 1) for n in range(1_200)])
    for place in range(24):
        (tmp_path / f"{place:02}.pcap").write_bytes(pcap(packets[50 * place : 50 * place + 50]))
    assert [row["total_fwd_packets"] for row in rows(tmp_path)] == [121] * 9 + [111]
    assert max(kept) <= 2 * 121 + 1


def test_many_flows_that_end_at_once_come_in_small_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.datasets.packets.succession.MOST_FLOWS", 10)
    (tmp_path / "a.pcap").write_bytes(pcap(framed([talk(n, ACK, client=n) for n in range(95)])))
    chunks = [chunk.records for chunk in Captures(tmp_path).read()]
    assert [chunk.num_rows for chunk in chunks] == [10] * 9 + [5, 0]
    assert [row for chunk in chunks for row in chunk["src_port"].to_pylist()] == [*range(95)]
