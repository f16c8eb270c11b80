"""What the machine refuses is said for people; a fault of the program stays a traceback."""

import errno
import fcntl
import os
import sqlite3
from pathlib import Path

import pytest

from flows.runtime import program
from pipeline.base import durable, machine, temporary
from pipeline.base.errors import ArtifactError, ConfigError, MachineError
from pipeline.settings.ingest import Ingest
from pipeline.stages import frame


def refuse(error):
    with pytest.raises(MachineError) as caught, machine.refusals():
        raise error
    return str(caught.value)


@pytest.mark.parametrize("number", sorted({number for numbers in machine.REMEDIES.values() for number in numbers}))
def test_a_refusal_names_the_file_the_reason_and_the_remedy(number):
    said = refuse(OSError(number, os.strerror(number), f"data/.ingest.{'0' * 32}.tmp/a.csv"))
    remedy = next(remedy for remedy, numbers in machine.REMEDIES.items() if number in numbers)
    assert said == f"data/ingest/a.csv: {os.strerror(number)}; {remedy}, and run again"


def test_memory_and_databases_are_the_machines_too():
    assert refuse(MemoryError()) == "memory is short (no more is given); give it more memory"
    assert refuse(RuntimeError("can't start new thread")).startswith("can't start new thread; give it more memory")
    assert refuse(sqlite3.OperationalError("disk I/O error")).startswith("an SQLite database cannot be used (disk I/O")


@pytest.mark.parametrize(
    ("name", "extra"), [("torch.nn", "train"), ("prefect", "all"), ("great_expectations", "validate")]
)
def test_a_library_that_is_not_installed_comes_with_an_extra(name, extra):
    said = refuse(ModuleNotFoundError(f"No module named {name!r}", name=name))
    assert said.startswith(
        f"{name.partition('.')[0]} is not installed here, and this needs it; in a clone run `pip install"
    )
    assert f"'.[{extra}]'" in said


def test_what_led_to_an_error_of_a_library_is_told():
    with pytest.raises(MachineError, match="No space left on device; free some space"), machine.refusals():
        try:
            raise OSError(errno.ENOSPC, "full")
        except OSError as error:
            raise ValueError("a library wraps it") from error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a fault"),
        OSError(errno.EINVAL, "a fault"),
        sqlite3.ProgrammingError("a fault"),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        ConfigError("a setting"),
        ModuleNotFoundError("No module named 'a_fault'", name="a_fault"),
    ],
)
def test_any_other_error_stays_what_it_is(error):
    with pytest.raises(type(error)) as caught, machine.refusals():
        raise error
    assert caught.value is error


def full(*_):
    raise OSError(errno.ENOSPC, "full", "data/a")


def test_a_command_says_what_the_machine_refused(capsys):
    assert program.run("label", full) == 1
    assert capsys.readouterr().err == "label: data/a: No space left on device; free some space, and run again\n"


def test_a_stage_says_what_the_machine_refused(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text((Path(__file__).parents[2] / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(frame.tracking, "stage", full)
    with pytest.raises(SystemExit, match=r"^ingest: data/a: No space left on device; free"):
        frame.launch("ingest", Ingest, lambda *_: None)


# Locks and leftovers.


def test_a_lock_that_cannot_be_opened_is_refused_with_its_name(tmp_path):
    (tmp_path / "lock").mkdir()
    with pytest.raises(ArtifactError, match="lock: cannot be written"), durable.lock_file(tmp_path / "lock"):
        pass


def test_a_lock_is_let_go_though_its_file_cannot_be_closed(tmp_path, monkeypatch):
    close = os.close
    with monkeypatch.context() as broken, durable.lock_file(tmp_path / "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        broken.setattr(os, "close", full)
    with durable.lock_file(tmp_path / "lock") as another:
        fcntl.flock(another, fcntl.LOCK_EX | fcntl.LOCK_NB)
    close(lock)


def test_a_leftover_that_cannot_be_removed_hides_no_error_and_goes_with_the_next_writer(tmp_path, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(temporary, "remove", full)
        with pytest.raises(KeyError), durable.whole_folder(tmp_path / "room"):
            raise KeyError
    assert len([*tmp_path.iterdir()]) == 1
    with durable.whole_folder(tmp_path / "room"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["room"]


def test_who_has_no_name_here_goes_by_his_number(monkeypatch):
    """As in a container, which may run as any number."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    monkeypatch.setattr(os, "geteuid", lambda: 2**31 - 7)
    assert machine.user() == str(2**31 - 7)
