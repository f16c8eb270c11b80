"""What stands under a name is the old or the new, whole, whenever the power goes and whoever is killed."""

import ast
import errno
import fcntl
import os
import stat
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.artifacts.files import (
    append_line,
    atomic,
    read_json,
    read_lines,
    whole_folder,
    write_bytes,
    write_csv,
    write_json,
)
from pipeline.artifacts.models import write_model
from pipeline.artifacts.samples import write_samples
from pipeline.artifacts.tables import TableWriter, write_columns
from pipeline.base import durable, temporary
from pipeline.base.errors import ArtifactError
from pipeline.datasets.synthetic import files
from pipeline.models.training import checkpoints
from pipeline.serving.manifest import HashedFolder
from pipeline.tracking.journal import Journal
from tests.artifacts.test_artifacts import samples

ROOT = Path(__file__).parents[2]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def write_table(path):
    with TableWriter(path, pa.schema([("a", pa.int64())])) as writer:
        writer.write(pa.table({"a": np.arange(10)}))


def write_folder(path):
    with whole_folder(path) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "a").write_text("a")
        write_json(folder / "b.json", {})


def keep_file(folder):
    note = folder.parent / "note.txt"
    note.write_text("note")
    Journal(folder).append({"call": "file", "path": str(note)})


WRITERS = {
    "bytes": lambda folder: write_bytes(folder / "a", b"a"),
    "json": lambda folder: write_json(folder / "a", {}),
    "csv": lambda folder: write_csv(folder / "a", [{"a": 1}]),
    "columns": lambda folder: write_columns(folder / "a", {"a": np.arange(3)}),
    "table": lambda folder: write_table(folder / "a"),
    "samples": lambda folder: write_samples(folder, "train", samples(5)),
    "model": lambda folder: write_model(folder / "a", {}, {"w": np.zeros(2)}),
    "folder": lambda folder: write_folder(folder / "a"),
    "bundle": lambda folder: HashedFolder({}, {"a.json": b"{}"}).save(folder / "a"),
    "checkpoint": lambda folder: checkpoints.write({"a": 1}, folder / "a"),
    "log": lambda folder: append_line(folder / "a", {"a": 1}),
    "outbox": keep_file,
    "simulated": lambda folder: files.write(folder, 500, 0),
}


@pytest.fixture
def events(monkeypatch):
    """The flushes and renames of this process, in their order: ("flush", path), ("rename", old name, new name)."""
    seen = []
    flush, exchange = os.fsync, durable._exchange

    def fsync(descriptor):
        seen.append(("flush", Path(f"/proc/self/fd/{descriptor}").readlink()))
        flush(descriptor)

    def renamed(how):
        return lambda old, new, **more: (seen.append(("rename", Path(old), Path(new))), how(old, new, **more))[1]

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", renamed(os.replace))
    monkeypatch.setattr(os, "rename", renamed(os.rename))
    monkeypatch.setattr(
        durable, "_exchange", lambda new, old: exchange(new, old) and (seen.append(("rename", new, old)) or True)
    )
    return seen


def final(path, root):
    """Where a file ends that was written under this name: within a folder under a temporary name, below the folder."""
    parts = [temporary.TEMPORARY.sub(r"\g<target>", part) for part in path.relative_to(root).parts]
    return root.joinpath(*parts)


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("again", [False, True])
def test_each_writer_flushes_a_file_renames_it_and_flushes_the_folder(writer, again, tmp_path, events):
    folder, earlier = tmp_path / "data", set()
    if again:
        WRITERS[writer](folder)
        events.clear()
        earlier = set((folder / "files").rglob("*"))  # of the outbox, whose files have names of their own
    WRITERS[writer](folder)
    for place, event in enumerate(events):
        if (
            event[0] == "rename" and final(event[2].parent, tmp_path) == event[2].parent
        ):  # else its folder is unfinished
            assert ("flush", event[1]) in events[:place], f"{event[1]} took its name before it was on the disk"
            assert ("flush", event[2].parent) in events[place:], f"the name {event[2]} is not on the disk"
    flushed = {final(event[1], tmp_path) for event in events if event[0] == "flush"}
    for path in {*folder.rglob("*"), folder} - set(folder.rglob("*.lock")) - earlier:
        if path.is_file():
            assert path in flushed
        if not again:
            assert path.parent in flushed  # the name of a new folder, too


def killed_at(call, act):
    """Run ``act`` in a process that ends without a word at its ``call``-th step on the disk; whether it came so far."""
    child = os.fork()
    if not child:
        steps = 0

        def counted(how):
            def step(*given, **named):
                nonlocal steps
                steps += 1
                if steps == call:
                    os._exit(9)
                return how(*given, **named)

            return step

        for name in ("open", "fsync", "replace", "rename", "mkdir", "unlink", "rmdir", "pread"):
            setattr(os, name, counted(getattr(os, name)))
        durable._exchange = counted(durable._exchange)
        try:
            act()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def exchange_is_missing(monkeypatch):
    monkeypatch.setattr(durable, "_exchange", lambda new, folder: folder.stat() and False)


@pytest.mark.parametrize("step", range(1, 40))
def test_a_file_whose_writer_is_killed_is_the_old_or_the_new(step, tmp_path):
    path = tmp_path / "a.json"
    write_json(path, "old")
    killed_at(step, lambda: write_json(path, "new"))
    assert read_json(path) in ("old", "new")
    write_json(path, "next")
    assert names(tmp_path) == ["a.json"]


def write_room(room, content):
    with whole_folder(room) as folder:
        for name in ("a.json", "b.json"):
            write_json(folder / name, content)


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_whose_writer_is_killed_is_the_old_or_the_new(exchange, tmp_path, monkeypatch):
    if not exchange:
        exchange_is_missing(monkeypatch)
    step, reached, found = 0, True, set()
    while reached:
        step += 1
        room = tmp_path / str(step) / "room"
        write_room(room, "old")
        reached = killed_at(step, lambda room=room: write_room(room, "new"))
        if not exchange and not room.exists():  # between the two steps; the next writer puts it back, even if it fails
            with pytest.raises(KeyError), whole_folder(room):
                raise KeyError
        assert names(room) == ["a.json", "b.json"]
        contents = {read_json(path) for path in room.iterdir()}
        assert len(contents) == 1
        found |= contents
        write_room(room, "next")
        assert names(room.parent) == ["room"]
    assert found == {"old", "new"}
    assert step > 20


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_is_there_at_every_moment_where_names_can_change_places(exchange, tmp_path, monkeypatch):
    room, seen, flush = tmp_path / "room", [], os.fsync
    if not exchange:
        exchange_is_missing(monkeypatch)
    write_room(room, "old")
    monkeypatch.setattr(os, "fsync", lambda descriptor: (seen.append(room.exists()), flush(descriptor)))
    write_room(room, "new")
    assert all(seen) and seen
    assert read_json(room / "a.json") == "new"
    assert names(tmp_path) == ["room"]


def test_two_writers_of_one_file_do_not_destroy_each_other(tmp_path, monkeypatch):
    """Two containers: both have the same process id, and neither sees the other."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    path = tmp_path / "a"
    with atomic(path) as first:
        first.write_text("first")
        with atomic(path) as second:
            second.write_text("second")
        assert first != second
        assert path.read_text() == "second"
        assert first.read_text() == "first"
    assert path.read_text() == "first"
    assert names(tmp_path) == ["a"]


def test_what_a_killed_process_left_is_removed_and_what_is_held_stays(tmp_path):
    unique = "0" * 32
    held = tmp_path / f".a.json.{'1' * 32}.tmp"
    other = tmp_path / f".a.json.b.{unique}.tmp"  # of a.json.b, whose writer removes it
    for path in (tmp_path / f".a.json.{unique}.tmp", tmp_path / ".a.json.4194305.tmp", held, other):
        path.write_text("half")
    (tmp_path / f".room.{unique}.tmp").mkdir()
    (tmp_path / f".room.{unique}.tmp" / "half").write_text("half")
    with held.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        write_json(tmp_path / "a.json", {})
        with whole_folder(tmp_path / "room"):
            pass
    assert names(tmp_path) == sorted([held.name, other.name, "a.json", "room"])


def test_where_locks_do_not_work_only_what_is_old_is_a_leftover(tmp_path, monkeypatch):
    def refuse(descriptor, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(durable.fcntl, "flock", refuse)
    young, old = (tmp_path / f".a.{digit * 32}.tmp" for digit in "01")
    for path in (young, old):
        path.write_text("half")
    os.utime(old, (0, 0))
    write_json(tmp_path / "a", {})
    assert names(tmp_path) == [young.name, "a"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_flush_that_fails_leaves_the_old_file_and_names_it(number, tmp_path, monkeypatch):
    path, flush = tmp_path / "a.json", os.fsync
    write_json(path, "old")

    def fails(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(ArtifactError, match=rf"a\.json: cannot be written \({os.strerror(number)}\); what was there"):
        write_json(path, "new")
    assert read_json(path) == "old"
    assert names(tmp_path) == ["a.json"]
    monkeypatch.setattr(os, "fsync", flush)
    write_json(path, "new")
    assert read_json(path) == "new"


# Logs.


@pytest.mark.parametrize("tail", [b'{"to', b"\0\0\0", b"garbage"])
def test_the_start_of_a_line_is_kept_aside(tail, tmp_path):
    path = tmp_path / "log.jsonl"
    append_line(path, {"a": 1})
    with path.open("ab") as stream:
        stream.write(tail)
    assert read_lines(path) == [{"a": 1}]
    append_line(path, {"b": 2})
    assert path.read_bytes() == b'{"a": 1}\n{"b": 2}\n'
    assert (tmp_path / "log.jsonl.torn").read_bytes() == tail + b"\n"


def test_a_line_that_lacks_only_its_end_is_no_torn_one(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"a": 1}')
    append_line(path, {"b": 2})
    assert read_lines(path) == [{"a": 1}, {"b": 2}]
    assert names(tmp_path) == ["log.jsonl"]


def test_a_log_whose_writer_is_killed_has_the_line_or_not(tmp_path):
    step, reached = 0, True
    while reached:
        step += 1
        path = tmp_path / str(step) / "log.jsonl"
        append_line(path, {"a": 1})
        with path.open("ab") as stream:
            stream.write(b'{"to')
        reached = killed_at(step, lambda path=path: append_line(path, {"b": 2}))
        assert read_lines(path) in ([{"a": 1}], [{"a": 1}, {"b": 2}])
        append_line(path, {"c": 3})
        assert read_lines(path)[-1] == {"c": 3}
    assert step > 5


# Who may read.


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def open_to_all():
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_to_all")
def test_nothing_in_a_private_folder_is_open_to_others(tmp_path):
    private = tmp_path / "private"
    durable.make_private(private)
    write_json(private / "deep" / "a.json", {})
    append_line(private / "log.jsonl", {})
    write_room(private / "room", "x")
    assert mode(private) == 0o700
    assert not [path for path in private.rglob("*") if mode(path) & 0o077]
    write_json(tmp_path / "public" / "a.json", {})
    assert (mode(tmp_path / "public"), mode(tmp_path / "public" / "a.json")) in ((0o700, 0o600), (0o755, 0o644))


@pytest.mark.usefixtures("open_to_all")
@pytest.mark.usefixtures("open_to_all")
@pytest.mark.parametrize(("given", "kept"), [(0o600, 0o600), (0o640, 0o640), (0o444, 0o644)])
def test_what_takes_the_place_of_a_closed_file_or_folder_is_not_open_to_more(given, kept, tmp_path):
    path, room, log = tmp_path / "a.json", tmp_path / "room", tmp_path / "log"
    tmp_path.chmod(0o755)
    write_json(path, {})
    write_room(room, "new")
    path.chmod(given)
    room.chmod(0o700)
    write_json(path, {"a": 1})
    write_room(room, "newer")
    assert (mode(path), mode(room)) == (kept, 0o700)
    log.write_text("torn")
    log.chmod(0o600)
    durable.append(log, {"a": 1})
    assert mode(tmp_path / "log.torn") == 0o600


def test_a_folder_that_others_could_enter_is_closed_to_them_and_left_to_its_group(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir(0o755)
    durable.make_private(folder)
    assert mode(folder) == 0o750


@pytest.mark.usefixtures("open_to_all")
def test_the_outbox_is_private(tmp_path):
    keep_file(tmp_path / "box")
    assert mode(tmp_path / "box") == 0o700


# No other door.

# What no later step trusts: locks, copies of the project that are made afresh each time; and logs that mend themselves.
ALLOWED = {
    "pipeline/base/durable.py",
    "pipeline/base/temporary.py",
    "pipeline/alarms/project.py: to_csv",
    "pipeline/alarms/project.py: to_parquet",
    "pipeline/serving/registry.py: copytree",
    "pipeline/serving/alerts/sinks/log_file.py: open",
    "pipeline/serving/retention.py: rename",  # a folder is put aside before it is removed
    "pipeline/models/training/launcher.py: write_text",  # into a temporary folder, as the next ones
    "pipeline/tracking/bounded.py",
    "flows/runtime/dvc_cache.py: write_text",
    "pipeline/stages/ranks.py: open",  # what takes and keeps nothing
    "flows/grid/fan_out.py: open",  # a log
    "flows/watch.py: open",
    "flows/runtime/processes.py: open",
    "flows/grid/experiments.py: open",
    "flows/grid/experiments.py: write_text",
    "flows/runtime/backups.py: copy2",  # into a ``whole_folder``
    "flows/runtime/healing.py: open",
    "flows/runtime/healing.py: rename",
    "flows/runtime/working_copy.py: open",
    "flows/runtime/second_clone.py: open",  # a lock
    "flows/runtime/second_clone.py: write_text",  # into a clone that is being made
}
WRITES = {"write_text", "write_bytes", "copytree", "copyfile", "copy2", "rename", "to_parquet", "to_csv", "savez"}


def _writes(path):
    """The calls in a module that write a file and do not go through ``atomic``."""
    tree = ast.parse(path.read_text())
    guarded = {
        each
        for node in ast.walk(tree)
        if isinstance(node, ast.With) and any("atomic(" in ast.unparse(item.context_expr) for item in node.items)
        for each in ast.walk(node)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or node in guarded:
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        said = ast.unparse(node)
        owner = ast.unparse(node.func.value) if isinstance(node.func, ast.Attribute) else ""
        texts = [
            each.value for each in [*node.args, *(k.value for k in node.keywords)] if isinstance(each, ast.Constant)
        ]
        opens = name == "open" and any(
            isinstance(text, str) and set(text) & set("wax+") and len(text) < 4 for text in texts
        )
        replaces = name == "replace" and owner != "dataclasses" and len(node.args) == 1 and not node.keywords
        if opens or (name in WRITES and owner) or replaces:
            yield name, said


def test_every_file_is_written_through_the_one_door():
    found = []
    for path in sorted(file for room in ("pipeline", "flows") for file in (ROOT / room).rglob("*.py")):
        where = path.relative_to(ROOT).as_posix()
        found += [f"{where}: {said}" for name, said in _writes(path) if not {where, f"{where}: {name}"} & ALLOWED]
    assert found == [], "use pipeline.base.durable, or say in ALLOWED why not"
