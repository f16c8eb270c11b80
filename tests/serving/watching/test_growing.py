"""A log is read once over, line by line, whatever becomes of it: it grows, is renamed, is emptied, the reader dies."""

import os

import numpy as np
import pytest

from pipeline.serving.watching import quiet, stretch
from pipeline.serving.watching.growing import GrowingLog

ZEEK = b"#separator \\x09\n#fields\tts\tuid\n#types\ttime\tstring\n"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder for the log, and another one for what was read of it."""
    monkeypatch.setattr(stretch, "room", lambda: tmp_path / "watch")
    (tmp_path / "logs").mkdir()
    return tmp_path / "logs"


@pytest.fixture
def reader_of():
    """Makes readers, and closes them."""
    made = []

    def reader(*given, **named):
        made.append(Reader(*given, **named))
        return made[-1]

    yield reader
    for each in made:
        each.log.close()


class Reader:
    """Reads a log as the watch does: each batch is written before the next one is read."""

    def __init__(self, path, most=3, settle=0.0):
        self.path, self.most, self.settle, self.found, self.told = path, most, settle, [], []
        self.names = []
        self.start()

    def start(self):
        self.log = GrowingLog(self.path, self.told.append, self.settle)
        self.folder = stretch.room() / self.log.stream / "stretch-v1-0123456789abcdef"

    def read(self):
        """All that has come."""
        for _ in range(45):  # each rotation shows at the next look
            while (batch := self.log.read(self.most)) is not None:
                self.folder.mkdir(parents=True, exist_ok=True)
                (self.folder / batch.name).write_bytes(batch.content)
                self.found += [line for line in batch.content.splitlines() if not line.startswith((b"#", b"name"))]
                self.names.append(batch.name)

    def end_stretch(self):
        """The stretch is whole: its batches go."""
        self.log.commit()
        for path in self.folder.glob("*"):
            path.unlink()

    def die(self):
        self.log.close()
        self.start()


def append(path, *lines, header=b""):
    with path.open("ab") as file:
        if file.tell() == 0:
            file.write(header)
        file.write(b"".join(line + b"\n" for line in lines))


def test_only_whole_lines_are_read(place, reader_of):
    log, reader = place / "eve.json", reader_of(place / "eve.json")
    reader.read()
    assert not reader.found
    log.write_bytes(b'{"a":1}\n{"a":')
    reader.read()
    assert reader.found == [b'{"a":1}']
    with log.open("ab") as file:
        file.write(b"2}\n")
    reader.read()
    assert reader.found == [b'{"a":1}', b'{"a":2}']


@pytest.mark.parametrize("header", [b"", b"name,other\n", ZEEK], ids=["json", "csv", "zeek"])
@pytest.mark.parametrize("seed", range(12))
def test_each_line_is_read_once_whatever_happens(place, reader_of, header, seed):
    """Random appends, renames, deaths and ends of stretches."""
    rng = np.random.default_rng(seed)
    log, written, name = place / "conn.log", [], iter(range(10**6))
    reader = reader_of(log)
    append(log, b'{"n": -2}', header=header)
    reader.read()  # what was renamed before a watch began is not its business
    for _ in range(40):
        what = rng.choice(["append", "append", "rotate", "die", "read", "end"])
        if what == "append":
            lines = [b'{"n": %d}' % next(name) for _ in range(rng.integers(1, 8))]
            append(log, *lines, header=header)
            written += lines
        elif what == "rotate" and log.exists():
            log.rename(place / f"conn.{next(name):06d}.log")
        elif what == "die":
            reader.die()
        elif what == "end":
            reader.read()
            reader.end_stretch()
        else:
            reader.read()
    append(log, b'{"n": -1}', header=header)
    reader.read()
    assert reader.found == [b'{"n": -2}', *written, b'{"n": -1}']
    assert reader.names == sorted({*reader.names}), "parts sort in the order in which they were read"
    assert not reader.told


@pytest.mark.parametrize("seed", range(12))
def test_a_clock_that_is_set_back_lets_no_log_be_read_twice_or_never(place, reader_of, seed):
    """The times of renamed logs then say nothing of their order."""
    rng = np.random.default_rng(seed)
    log, written = place / "conn.log", [b'{"n": -2}']
    append(log, *written)
    reader = reader_of(log)
    reader.read()
    for number in range(25):
        lines = [b'{"n": %d, "row": %d}' % (number, row) for row in range(rng.integers(1, 5))]
        append(log, *lines)
        written += lines
        if rng.random() < 0.5:
            second = int(rng.integers(10**9, 2 * 10**9))
            os.utime(log, (second, second))
            log.rename(place / f"conn.{number:06d}.log")
        if rng.random() < 0.5:
            reader.read()
        if rng.random() < 0.3:
            reader.end_stretch()
        if rng.random() < 0.3:
            reader.die()
    append(log, b'{"n": -1}')
    reader.read()
    assert sorted(reader.found) == sorted([*written, b'{"n": -1}'])
    assert not reader.told


def test_logs_that_are_done_with_are_forgotten_when_they_are_gone(place, reader_of):
    log, reader = place / "conn.log", reader_of(place / "conn.log")
    for number in range(6):
        append(log, b'{"n": %d}' % number)
        reader.read()
        log.rename(place / f"conn.{number}.log")
        for old in sorted(place.glob("conn.*.log"))[:-2]:
            old.unlink()
        append(log, b'{"next": %d}' % number)
        reader.read()
    assert len(reader.found) == 12
    assert len(reader.log.position.passed) <= 3


def test_every_part_has_the_header(place, reader_of):
    log, reader = place / "conn.log", reader_of(place / "conn.log", most=2)
    append(log, b"1\ta", b"2\tb", b"3\tc", header=ZEEK)
    reader.read()
    reader.die()
    append(log, b"#close\t2026", b"4\td")
    reader.read()
    parts = sorted(reader.folder.iterdir())
    assert len(parts) > 2
    assert all(part.read_bytes().startswith(ZEEK) for part in parts)
    assert reader.found == [b"1\ta", b"2\tb", b"3\tc", b"4\td"]


def test_an_emptied_log_is_read_from_its_start(place, reader_of):
    log, reader = place / "eve.json", reader_of(place / "eve.json")
    append(log, b'{"n": 1}', b'{"n": 2}', b'{"n": 3}')
    reader.read()
    os.truncate(log, 0)
    append(log, b'{"n": 4}')
    reader.read()
    assert reader.found == [b'{"n": %d}' % n for n in (1, 2, 3, 4)]
    os.truncate(log, 0)
    append(log, b'{"n": 5}')
    reader.read()
    reader.die()
    reader.read()
    assert reader.found[-1] == b'{"n": 5}' and len(reader.found) == 5
    assert len({*reader.names}) == len(reader.names)


def test_a_log_that_is_gone_is_told(place, reader_of):
    log, reader = place / "eve.json", reader_of(place / "eve.json")
    append(log, b'{"n": 1}')
    reader.read()
    reader.end_stretch()
    append(log, b'{"n": 2}')
    log.unlink()
    append(place / "other", b"keeps the inode")
    append(log, b'{"n": 3}')
    reader.die()
    reader.read()
    assert reader.found == [b'{"n": 1}', b'{"n": 3}']
    assert len(reader.told) == 1 and "its rest was not judged" in reader.told[0]


def test_the_last_line_of_a_log_counts_without_its_end(place, reader_of):
    log, reader = place / "eve.json", reader_of(place / "eve.json")
    log.write_bytes(b'{"n": 1}\n{"n": 2}')
    reader.read()
    log.rename(place / "eve.json.1")
    append(log, b'{"n": 3}')
    reader.read()
    assert reader.found == [b'{"n": 1}', b'{"n": 2}', b'{"n": 3}']


@pytest.mark.parametrize("header", [b"name\n", b"name," + b"other," * 100 + b"last\n"])
def test_a_log_that_was_emptied_while_nobody_read_is_read_from_its_start(place, reader_of, header):
    log = place / "flows.csv"
    append(log, *(b"%d" % n for n in range(10)), header=header)
    reader = reader_of(log, 100)
    reader.read()
    inode = log.stat().st_ino
    with log.open("r+b") as file:
        file.truncate(0)
        file.write(header + b"".join(b"new %d\n" % n for n in range(20)))
    assert log.stat().st_ino == inode
    reader.die()
    reader.read()
    assert reader.found[10:] == [b"new %d" % n for n in range(20)]


class Clock:
    """Seconds that pass only when a test says so."""

    now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(quiet, "time", Clock())
    return quiet.time


@pytest.mark.parametrize("second", [None, 10**9, 2 * 10**10], ids=["now", "long ago", "in the future"])
def test_many_logs_that_were_renamed_are_waited_for_once(place, reader_of, clock, second):
    log, reader = place / "conn.log", reader_of(place / "conn.log", settle=5.0)
    append(log, b'{"n": 0}')
    reader.read()
    for number in range(1, 9):
        log.rename(place / f"conn.{number}.log")
        append(log, b'{"n": %d}' % number)
    for number, each in enumerate(sorted(place.iterdir())):
        if second is not None:  # whatever a clock says that is set
            os.utime(each, (second + number, second + number))
    reader.die()
    reader.read()
    assert reader.found == [b'{"n": 0}']
    clock.now += 5.0
    reader.read()
    assert sorted(reader.found) == [b'{"n": %d}' % number for number in range(9)]


def test_a_log_that_was_quiet_before_it_was_renamed_is_still_looked_at(place, reader_of, clock):
    log, reader = place / "conn.log", reader_of(place / "conn.log", settle=5.0)
    append(log, b'{"n": 0}')
    reader.read()
    clock.now += 100.0
    with log.open("ab") as writer:
        log.rename(place / "conn.1.log")
        append(log, b'{"n": 3}')
        reader.read()
        for number in (1, 2):
            clock.now += 4.0
            writer.write(b'{"n": %d}\n' % number)  # who writes does not know yet
            writer.flush()
            reader.read()
    clock.now += 5.0
    reader.read()
    assert reader.found == [b'{"n": %d}' % number for number in range(4)]
