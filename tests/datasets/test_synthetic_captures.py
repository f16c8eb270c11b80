"""Simulated traffic as captures: sound frames, the traffic that was simulated, and labels that find the attacks."""

import csv
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from pipeline.base.errors import ConfigError
from pipeline.datasets import sources
from pipeline.datasets.packets.captures import Captures
from pipeline.datasets.packets.files import Capture
from pipeline.datasets.packets.frames import words
from pipeline.datasets.suffixes import CAPTURES
from pipeline.datasets.synthetic.__main__ import main
from pipeline.datasets.synthetic.captures import write_captures
from pipeline.datasets.synthetic.scenes import scenes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two days, the second one with attacks on FTP and SSH."""
    folder = tmp_path_factory.mktemp("captures")
    assert [path.name for path in write_captures(folder, 400, 2, 3, attacks=True)] == [
        "2017-07-03-monday.pcap",
        "2017-07-04-tuesday.pcap",
    ]
    return folder


@pytest.fixture(scope="module")
def records(folder):
    chunks = list(Captures(folder).read())
    assert sum(chunk.rejected.num_rows for chunk in chunks) == 0
    return pa.concat_tables([chunk.records for chunk in chunks]).unify_dictionaries()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(folder, tmp_path):
    for number, (seed, same) in enumerate([(3, True), (4, False)]):
        for path in write_captures(tmp_path / str(number), 400, 2, seed, attacks=True):
            assert (path.read_bytes() == (folder / path.name).read_bytes()) is same


def test_the_records_are_the_simulated_traffic(records):
    packets = [scene.packets for day in (0, 1) for scene in scenes(day, 200, 3, attacks=True)]
    counted = sum(sum(records[f"total_{way}_packets"].to_pylist()) for way in ("fwd", "bwd"))
    data = sum(sum(records[f"total_length_{way}_packets"].to_pylist()) for way in ("fwd", "bwd"))
    assert counted == sum(map(len, packets))
    assert data == sum(int(each.payload.sum()) for each in packets)
    assert records.num_rows >= sum(int(each.conversation[-1]) + 1 for each in packets)


def test_labels_name_the_attacks_of_the_day(records):
    kinds = Counter(zip(records["day"].to_pylist(), records["attack"].to_pylist(), strict=True))
    assert set(kinds) == {
        ("monday", "benign"),
        *(("tuesday", name) for name in ("benign", "ftp_patator", "ssh_patator")),
    }
    attackers = {row["src_ip"] for row in records.to_pylist() if row["y"]}
    assert attackers == {"198.51.100.5", "198.51.100.6"}


def test_days_without_attacks_have_no_labels(tmp_path):
    (path,) = write_captures(tmp_path, 50, 1, 0)
    assert list(tmp_path.iterdir()) == [path]
    tables = [chunk.records for chunk in Captures(path, label="benign").read()]
    assert {attack for table in tables for attack in table["attack"].to_pylist()} == {"benign"}


def test_conversations_begin_in_working_hours_and_come_from_the_office(records):
    benign = [row for row in records.to_pylist() if row["y"] == 0]
    assert {row["timestamp"].hour for row in benign} <= set(range(8, 19))
    assert sum(row["src_ip"].startswith("10.0.1.") for row in benign) > 0.95 * len(benign)


def test_each_frame_has_a_sound_ip_header(folder):
    for source in sources.sources(folder, CAPTURES):
        for frames in Capture(source).frames():
            halves = words(frames.data, ">u2")
            total = sum(halves[frames.start + 14 + 2 * place].astype(np.int64) for place in range(10))
            assert (total % 0xFFFF == 0).all()  # sums of ones' complement that include their check sum
            assert (halves[frames.start + 16] == frames.wire - 14).all()
            assert (np.diff(frames.time) >= 0).all()


def test_weekends_are_left_out(tmp_path):
    names = [path.name for path in write_captures(tmp_path, 6, 6, 0)]
    assert names[4:] == ["2017-07-07-friday.pcap", "2017-07-10-monday.pcap"]


@pytest.mark.parametrize(("conversations", "days", "seed"), [(1, 2, 0), (5, 0, 0), (5, 1, -1)])
def test_what_cannot_be_made_is_refused(tmp_path, conversations, days, seed):
    with pytest.raises(ConfigError, match="synthetic: "):
        write_captures(tmp_path, conversations, days, seed)


def test_the_command_names_the_captures(tmp_path, capsys):
    assert main([str(tmp_path), "--pcap", "--conversations", "20", "--days", "1", "--attacks"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith("2017-07-03-monday.pcap")
    with (tmp_path / "2017-07-03-monday.pcap.labels.csv").open() as file:
        assert list(csv.DictReader(file)) == [{"src_ip": "", "dst_ip": "", "label": "benign"}]
