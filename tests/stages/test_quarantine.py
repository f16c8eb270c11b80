"""Each file is judged alone: what cannot be read is put aside with its reason, and no other waits for it."""

import errno
import gzip
import os
import shutil
import time
import zipfile
from contextlib import nullcontext
from pathlib import Path

import pytest

from flows import score, scoring
from flows.runtime import gpu, program, servers
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, sha256_of, write_json
from pipeline.base import durable
from pipeline.base.errors import ArtifactError, ConflictError, SourceError
from pipeline.base.escaping import on_terminal
from pipeline.datasets.schema import FEATURES
from pipeline.datasets.synthetic.files import write
from pipeline.serving import arrivals, batch, quarantine

CASES = Path(__file__).parents[2].parent / "shared" / "cases"
HOSTILE, FORMATS = CASES / "hostile", CASES / "formats"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason=f"the hostile files are not in {CASES}")

pytestmark = pytest.mark.usefixtures("task")


@pytest.fixture(autouse=True)
def inbox(tmp_path, monkeypatch):
    """Whatever a test makes has come in."""
    monkeypatch.setattr(paths, "INCOMING", tmp_path)


def run(*given):
    return scoring.scoring.fn(*given)


def without_columns(path):
    path.write_text("a,b\n1,2\n")


def broken_archive(path):
    path.write_bytes(b"no gz at all")


def without_rows(path):
    path.write_text("")


BAD = {"bad.csv": without_columns, "bad.csv.gz": broken_archive, "empty.csv": without_rows}


def verdicts():
    return sorted(path.name for path in paths.SCORED.glob("*.parquet"))


def aside():
    return sorted(path.name.partition("-")[2] for path in paths.QUARANTINE.iterdir())


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_moves_to_quarantine_and_all_others_are_scored(name, store, folder):
    BAD[name](folder / name)
    content = (folder / name).read_bytes()
    state = run(str(folder))
    assert state.is_completed()
    assert state.message == "completed, 1 quarantined, 8 files scored, 0 passed over, 0 left for the next run"
    assert len(verdicts()) == 8
    assert not (folder / name).exists()
    assert aside() == [name, f"{name}.json"]
    (held,) = state.data.quarantined
    assert Path(held.path).read_bytes() == content
    told = read_json(Path(f"{held.path}.json"))
    assert (told["source"], told["version"], told["sha256"]) == (name, 3, sha256_of(Path(held.path)))
    assert told["reason"] == held.reason != ""
    assert told["time"].startswith("20")
    page = store.shown["scoring-summary"]
    assert "1 quarantined" in page and f"- {held.sentence}" in page and page.count(name) == 2 and held.path in page


def test_a_file_that_lacks_a_column_is_named_with_the_near_miss(store, folder):
    last = sorted(folder.iterdir())[-1]
    last.write_text(last.read_text().replace("Flow Duration", "Flow Duratoin", 1))
    state = run(str(folder))
    assert "did you mean 'Flow Duratoin'" in state.data.quarantined[0].reason
    assert len(verdicts()) == 7


def test_the_same_content_is_not_tried_again(store, folder, monkeypatch):
    without_columns(folder / "bad.csv")
    run(str(folder))
    without_columns(folder / "again.csv")
    monkeypatch.setattr(batch, "score", lambda *_: pytest.fail("tried again"))
    result = run(str(folder)).result()
    assert (len(result.quarantined), result.passed_over, len(result.scored)) == (1, 8, 0)
    assert aside() == ["again.csv", "again.csv.json", "bad.csv", "bad.csv.json"]


def test_another_version_tries_it_once_more(store, folder):
    without_columns(folder / "bad.csv")
    (held,) = run(str(folder)).result().quarantined
    assert quarantine.known(held.sha256, 3) == held
    assert quarantine.known(held.sha256, 4) is None
    assert quarantine.known("0" * 64, 3) is None


def test_a_corrected_file_under_the_same_name_is_scored(store, folder):
    path = sorted(folder.iterdir())[0]
    whole = path.read_bytes()
    without_columns(path)
    assert len(run(str(folder)).result().quarantined) == 1
    path.write_bytes(whole)
    result = run(str(folder)).result()
    assert [summary["source"] for summary in result.scored] == [path.name]
    assert result.quarantined == ()


def test_one_file_that_is_named_and_bad_is_an_error_of_the_command(store, folder, capsys, monkeypatch):
    without_columns(folder / "bad.csv")
    body = scoring.scoring.fn
    monkeypatch.setattr(scoring, "scoring", lambda *given, **_: body(*given))
    monkeypatch.setattr(servers, "connected", lambda _: nullcontext())
    monkeypatch.setattr(gpu, "ensure_devices", lambda: None)
    assert score.main([str(folder / "bad.csv")]) == 1
    said = capsys.readouterr().err
    assert "nothing was scored" in said and "bad.csv" in said and "is missing" in said
    assert aside() == ["bad.csv", "bad.csv.json"]
    without_columns(folder / "bad.csv")
    assert score.main([str(folder)]) == 0
    good = sorted(folder.iterdir())[0]
    assert score.main([str(good)]) == 0


# What is no fault of the file.


def _fails(error):
    def fail(*_):
        raise error

    return fail


def _caused(number):
    error = SourceError("x: cannot be read")
    error.__cause__ = OSError(number, os.strerror(number))
    return error


@pytest.mark.parametrize(
    "error",
    [
        ArtifactError("data/scored/x.parquet: cannot be written (No space left on device)"),
        _caused(errno.EACCES),
        _caused(errno.ENOSPC),
        _caused(errno.EIO),
        _caused(errno.EMFILE),
    ],
)
def test_an_error_of_ours_quarantines_nothing_and_keeps_no_other_waiting(error, store, folder, monkeypatch):
    first, made = sorted(folder.iterdir())[0], batch.score
    monkeypatch.setattr(batch, "score", lambda *given: (_fails(error) if given[0].path == first else made)(*given))
    state = run(str(folder))
    assert state.is_failed()
    assert "1 file could not be scored" in state.message
    assert first.exists() and not paths.QUARANTINE.exists()
    assert len(verdicts()) == 7
    monkeypatch.setattr(batch, "score", made)
    assert [each["source"] for each in run(str(folder)).result().scored] == [first.name]


def test_a_reason_that_cannot_be_written_leaves_the_file_where_it_is(store, folder, monkeypatch):
    without_columns(folder / "bad.csv")
    full = ArtifactError("data/quarantine/x.json: cannot be written (No space left on device)")
    monkeypatch.setattr(quarantine, "write_json", _full_for_reasons(full))
    state = run(str(folder))
    assert state.is_failed() and "No space left" in state.message
    assert (folder / "bad.csv").exists()
    assert len(verdicts()) == 8


def _full_for_reasons(error):
    def write(path, value):
        if paths.QUARANTINE in path.parents:
            raise error
        write_json(path, value)

    return write


def test_without_a_champion_a_bad_file_stays(store, folder):
    without_columns(folder / "bad.csv")
    assert run(str(folder), "previous").is_failed()
    assert (folder / "bad.csv").exists() and not paths.QUARANTINE.exists()


# What is not yet whole.


def test_a_file_that_is_still_written_is_left_for_the_next_run(store, folder):
    growing = folder / "growing.csv"
    with growing.open("w") as stream:
        stream.write("Destination Port, Flow Dura")
        stream.flush()
        assert arrivals.is_growing(growing)
        result = run(str(folder)).result()
        assert (len(result.left), len(result.scored), result.quarantined) == (1, 8, ())
        assert "growing.csv: it is still being written" in store.shown["scoring-summary"]
        assert growing.exists()
    assert not arrivals.is_growing(growing)
    assert len(run(str(folder)).result().quarantined) == 1


@pytest.mark.parametrize("end", ["gone", "changed"])
def test_a_file_that_goes_or_changes_meanwhile_is_left_for_the_next_run(end, store, folder, monkeypatch):
    first, made = sorted(folder.iterdir())[0], batch.score

    def meanwhile(file, *given):
        if file.path == first and end == "gone":
            first.unlink()
        elif file.path == first:
            first.write_text("half")
        return made(file, *given)

    monkeypatch.setattr(batch, "score", meanwhile)
    state = run(str(folder))
    assert state.is_completed()
    assert (len(state.data.left), len(state.data.scored), state.data.quarantined) == (1, 7, ())
    assert not paths.QUARANTINE.exists()


def test_where_nobody_tells_who_writes_a_file_that_changed_lately_is_left(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("half")

    def without_leases(descriptor, command, *_):
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(arrivals.fcntl, "fcntl", without_leases)
    assert arrivals.is_growing(path)
    os.utime(path, (time.time() - arrivals.QUIET - 1,) * 2)
    assert not arrivals.is_growing(path)


# The move.


def put(path, reason="because"):
    return quarantine.put(path, path.name, sha256_of(path), 3, reason)


@pytest.fixture
def bad(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.csv"
    without_columns(path)
    return path


@pytest.mark.parametrize("step", ["write_json", "publish"])
def test_a_kill_within_the_move_loses_nothing(step, bad, monkeypatch):
    class KilledError(BaseException):
        pass

    owner = quarantine if step == "write_json" else durable
    made = getattr(owner, step)
    with monkeypatch.context() as patch:
        patch.setattr(owner, step, _fails(KilledError()))
        with pytest.raises(KilledError):
            put(bad)
    assert bad.exists()
    assert made is getattr(owner, step)
    assert Path(put(bad).path).exists() and not bad.exists()


def test_a_file_that_changed_before_the_move_stays(bad):
    sha256 = sha256_of(bad)
    bad.write_text("corrected")
    with pytest.raises(ConflictError, match="changed while it was looked at"):
        quarantine.put(bad, bad.name, sha256, 3, "because")
    assert bad.read_text() == "corrected"
    assert list(paths.QUARANTINE.iterdir()) == []
    assert quarantine.known(sha256, 3) is None


def test_a_file_that_changed_is_put_back_where_no_file_has_two_names(bad, monkeypatch):
    sha256 = sha256_of(bad)
    bad.write_text("corrected")
    monkeypatch.setattr(os, "link", _fails(OSError(errno.EPERM, "Operation not permitted")))
    with pytest.raises(ConflictError, match="changed while it was looked at"):
        quarantine.put(bad, bad.name, sha256, 3, "because")
    assert bad.read_text() == "corrected"
    assert list(paths.QUARANTINE.iterdir()) == []


def test_a_file_of_another_file_system_is_copied_and_removed(bad, monkeypatch):
    made = os.replace

    def across(old, new):
        if Path(old) == bad:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        made(old, new)

    content = bad.read_bytes()
    monkeypatch.setattr(os, "replace", across)
    held = put(bad)
    assert Path(held.path).read_bytes() == content
    assert not bad.exists()


@pytest.mark.parametrize("why", ["link", "rights"])
def test_a_file_that_cannot_be_moved_stays_and_is_known(why, bad, monkeypatch):
    if why == "link":
        target = bad.rename(bad.with_name("target"))
        bad.symlink_to(target)
    else:
        made = os.replace
        refuse = _fails(OSError(errno.EROFS, "Read-only file system"))
        monkeypatch.setattr(os, "replace", lambda old, new: (refuse if Path(old) == bad else made)(old, new))
    held = put(bad)
    assert bad.exists()
    assert held.stays in ("it is a link", "Read-only file system")
    assert quarantine.known(held.sha256, 3) == held
    assert [path.suffix for path in paths.QUARANTINE.iterdir()] == [".json"]


def test_what_does_not_lie_in_the_inbox_stays_and_is_not_tried_again(store, folder, monkeypatch):
    monkeypatch.setattr(paths, "INCOMING", Path("data/incoming"))
    notes = folder / "notes.txt"
    notes.write_text("my notes")
    for _ in range(2):
        (held,) = run(str(folder)).result().quarantined
        assert notes.read_text() == "my notes"
        assert held.stays == "it does not lie in data/incoming"
    paths.INCOMING.symlink_to(folder, target_is_directory=True)
    (held,) = run("data/incoming").result().quarantined
    assert Path(held.path).read_text() == "my notes" and not notes.exists()


def test_a_file_that_another_run_has_moved_meanwhile_is_in_quarantine(bad, monkeypatch):
    made, moved = durable.publish, []

    def late(new, target):
        if new == bad:
            monkeypatch.setattr(durable, "publish", made)
            moved.append(put(new, "because of the other"))
        made(new, target)

    monkeypatch.setattr(durable, "publish", late)
    held = put(bad)
    assert held.stays == "" and Path(held.path) == Path(moved[0].path)
    assert quarantine.known(held.sha256, 3).stays == ""
    assert aside() == ["bad.csv", "bad.csv.json"]


def test_a_damaged_reason_tells_nothing(bad):
    held = put(bad)
    Path(f"{held.path}.json").write_text("{")
    assert quarantine.known(held.sha256, 3) is None
    Path(f"{held.path}.json").write_text("{}")
    assert quarantine.known(held.sha256, 3) is None


def test_the_quarantine_is_for_this_user_alone_and_is_not_read_as_new(bad, tmp_path):
    put(bad)
    assert paths.QUARANTINE.stat().st_mode & 0o077 == 0
    assert arrivals.listed(tmp_path) == []
    (tmp_path / ".upload" / "a").mkdir(parents=True)
    (tmp_path / ".upload" / "a" / "b.csv").write_text("being written")
    assert arrivals.listed(tmp_path) == []


# Hostile files.


def _archive(path, method):
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("a.csv", "a,b\n" * 500)
    content = bytearray(path.read_bytes())
    content[60:90] = b"\xff" * 30
    path.write_bytes(content)


HEADER = ",".join(column.headers[0] for column in FEATURES if not column.headers[0].endswith(".1")).encode() + b"\n"
HOSTILE_MADE = {
    "lzma.zip": lambda path: _archive(path, zipfile.ZIP_LZMA),
    "bzip2.zip": lambda path: _archive(path, zipfile.ZIP_BZIP2),
    "deflated.zip": lambda path: _archive(path, zipfile.ZIP_DEFLATED),
    "newlines.csv.gz": lambda path: path.write_bytes(gzip.compress(HEADER + b"\n" * 300_000)),
    "returns.csv": lambda path: path.write_bytes(b"a,b\r1,2\r"),
    "wide.csv": lambda path: path.write_text(",".join(f"c{i}" for i in range(5_000)) + "\n"),
    "zeros.parquet": lambda path: path.write_bytes(b"PAR1" + bytes(1_000) + b"PAR1"),
    "text.csv": lambda path: path.write_bytes(b"\xff\xfe\x00bad\x00"),
    "empty.zip": lambda path: zipfile.ZipFile(path, "w").close(),
}


def test_whatever_comes_in_is_scored_or_put_aside(store, tmp_path):
    folder = tmp_path / "hostile"
    folder.mkdir()
    write(folder, 600, 1)
    for name, make in HOSTILE_MADE.items():
        make(folder / name)
    result = run(str(folder)).result()
    assert {held.source for held in result.quarantined} == HOSTILE_MADE.keys()
    assert (len(result.scored), result.refused, result.left) == (8, (), ())


NAMES = [b"caf\xe9.csv", b"\xff\xfe.parquet", b"a\n## Failed\n.csv", b"\x1b[2J.csv", b"-rf.csv", b"n" * 251 + b".csv"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_shown_and_sent_to_a_server(name, store, folder):
    path = folder / os.fsdecode(name)
    without_columns(path)
    state = run(str(folder))
    (held,) = state.data.quarantined
    page = store.shown["scoring-summary"]
    for text in (held.source, held.reason, held.path):
        assert text.isprintable() and text in on_terminal(page)
    page.encode()
    assert "\n## Failed" not in page
    assert len(state.data.scored) == 8 and not path.exists()


def test_a_name_that_cannot_be_sent_is_written_out_wherever_a_file_is_told(store, folder, monkeypatch):
    path = sorted(folder.iterdir())[0]
    path = path.rename(folder / os.fsdecode(b"caf\xe9.csv"))
    monkeypatch.setattr(batch, "score", _fails(ArtifactError(f"{path}: cannot be written")))
    message = run(str(path)).message
    assert "caf\\udce9.csv: cannot be written" in message
    message.encode()
    assert arrivals.identify(path, folder).name == "caf\\udce9.csv"


def test_what_would_never_end_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    assert arrivals.listed(tmp_path) == []
    with pytest.raises(SourceError, match=r"pipe.csv: is no file of records, but a pipe, a socket or a device"):
        arrivals.listed(tmp_path / "pipe.csv")


@needs_cases
def test_the_hostile_cases_are_each_scored_or_put_aside(store, tmp_path):
    folder = shutil.copytree(HOSTILE, tmp_path / "hostile", copy_function=shutil.copyfile)
    folder.chmod(0o755)
    result = run(str(folder)).result()
    assert (result.refused, result.left) == ((), ())
    names = {path.name for path in HOSTILE.iterdir()}
    done = {summary["source"] for summary in result.scored}
    assert done | {held.source for held in result.quarantined} == names
    assert {"collision_benign.csv", "collision_ddos.csv"} <= done


@needs_cases
def test_the_cases_of_formats_are_each_scored_or_put_aside(store, tmp_path):
    folder = tmp_path / "formats"
    for path in FORMATS.rglob("*"):
        if path.is_file():
            (folder / path.relative_to(FORMATS)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / path.relative_to(FORMATS))
    listed = arrivals.listed(folder)
    result = run(str(folder)).result()
    assert (result.refused, result.left) == ((), ())
    assert len(result.scored) + len(result.quarantined) + result.passed_over == len(listed)
    assert arrivals.listed(folder) == [path for path in listed if path.exists()]


def test_a_program_says_what_is_quarantined(store, folder):
    without_columns(folder / "bad.csv")
    result = program.result(run(str(folder)))
    assert "## Quarantined" in scoring.markdown(result)
