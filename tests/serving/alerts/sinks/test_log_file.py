"""A log holds each message once, in order, whatever was cut short, rotated or repeated."""

import gzip
import json
import os
import shutil

import pytest

from pipeline.serving.alerts.sinks.base import UnavailableError
from pipeline.serving.alerts.sinks.ecs import Ecs
from pipeline.serving.alerts.sinks.eve import Eve
from tests.serving.alerts.sinks import made

LOGS = pytest.mark.parametrize("kind", [Eve, Ecs])


@pytest.fixture
def log(tmp_path):
    return tmp_path / "logs" / "out.json"


def keys(kind, *paths):
    """The keys in logs, in their order."""
    sink = kind(file="-")
    found = []
    for path in paths:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        assert not content or content.endswith(b"\n")
        found += [sink.key_of(json.loads(line)) for line in content.splitlines()]
    return found


def expected(*numbers):
    return [each.key for each in made.of(*numbers)]


@LOGS
def test_lines_are_appended_in_order(log, kind):
    sink = kind(file=str(log))
    sink.send(made.of(3, 4), sink.send(made.of(1, 2), "").mark)
    assert keys(kind, log) == expected(1, 2, 3, 4)


@LOGS
def test_what_was_written_and_not_acknowledged_is_not_written_again(log, kind):
    sink = kind(file=str(log))
    mark = sink.send(made.of(1, 2), "").mark
    sink.send(made.of(3, 4), mark)  # and here the process dies: the mark is the old one
    sink.send(made.of(3, 4, 5), mark)
    assert keys(kind, log) == expected(1, 2, 3, 4, 5)


@LOGS
@pytest.mark.parametrize("lost", [1, 100, 700])
def test_half_a_line_is_cut_off_and_written_whole(log, kind, lost):
    sink = kind(file=str(log))
    mark = sink.send(made.of(1), "").mark
    sink.send(made.of(2, 3), mark)
    os.truncate(log, log.stat().st_size - lost)
    sink.send(made.of(2, 3), mark)
    assert keys(kind, log) == expected(1, 2, 3)


@LOGS
def test_a_log_without_a_mark_is_looked_through(log, kind):
    """As when the spool was removed."""
    sink = kind(file=str(log))
    sink.send(made.of(1, 2), "")
    sink.send(made.of(1, 2, 3), "")
    assert keys(kind, log) == expected(1, 2, 3)


@LOGS
def test_a_log_that_is_renamed_gets_a_successor(log, kind):
    sink = kind(file=str(log))
    mark = sink.send(made.of(1, 2), "").mark
    old = log.rename(log.with_name("out.json.1"))
    mark = sink.send(made.of(3), mark).mark
    sink.send(made.of(4), mark)
    assert (keys(kind, old), keys(kind, log)) == (expected(1, 2), expected(3, 4))


@LOGS
@pytest.mark.parametrize("way", ["rename", "create", "compress", "copytruncate"])
def test_a_rotation_between_the_writing_and_its_mark_doubles_nothing(log, kind, way):
    sink = kind(file=str(log))
    mark = sink.send(made.of(1), "").mark
    sink.send(made.of(2, 3), mark)  # and here the process dies
    old = log.with_name("out.json.1")
    if way == "copytruncate":
        shutil.copyfile(log, old)
        os.truncate(log, 0)
    else:
        log.rename(old)
    if way == "create":
        log.touch()
    if way == "compress":
        with gzip.open(log.with_name("out.json.1.gz"), "wb") as packed:
            packed.write(old.read_bytes())
        old.unlink()
        old = log.with_name("out.json.1.gz")
    sink.send(made.of(2, 3, 4), mark)
    assert (keys(kind, old), keys(kind, log)) == (expected(1, 2, 3), expected(4))


@LOGS
def test_a_log_that_cannot_be_written_makes_messages_wait(tmp_path, kind):
    (tmp_path / "logs").touch()
    with pytest.raises(UnavailableError, match="cannot be written"):
        kind(file=str(tmp_path / "logs" / "out.json")).send(made.of(1), "")


def test_a_full_disk_leaves_whole_lines(log, monkeypatch):
    sink = Eve(file=str(log))
    mark = sink.send(made.of(1), "").mark
    before = log.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(UnavailableError, match="No space left"):
            sink.send(made.of(2), mark)
    assert log.read_bytes() == before
    sink.send(made.of(2), mark)
    assert keys(Eve, log) == expected(1, 2)


def test_foreign_lines_stay_and_count_for_nothing(log):
    log.parent.mkdir()
    log.write_text('{"event_type": "stats"}\nno json\n[1]\n{"alert": {"metadata": {"tag": "key=1"}}}\n')
    Eve(file=str(log)).send(made.of(1), "")
    assert len(log.read_text().splitlines()) == 5


PACKED = {"damaged": b"\x1f\x8bgarbage", "cut": gzip.compress(b"x" * 1000, mtime=0)[:-10], "other": b"no gzip at all"}


@pytest.mark.parametrize("content", PACKED.values(), ids=PACKED)
def test_a_packed_log_that_cannot_be_read_is_named_and_messages_wait(tmp_path, content):
    log = tmp_path / "eve.json"
    sink = Eve(file=str(log))
    mark = sink.send(made.of(1), "").mark
    log.unlink()
    packed = tmp_path / "eve.json.1.gz"
    packed.write_bytes(content)
    with pytest.raises(UnavailableError, match=r"eve\.json\.1\.gz: cannot be read"):
        sink.send(made.of(2), mark)
    packed.unlink()
    assert sink.send(made.of(2), mark).number == 1
