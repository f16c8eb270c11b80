"""A backup holds what cannot be made again, and comes back whole or not at all."""

import errno
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock

import pytest

from flows import backup, restore
from flows.runtime import backups
from pipeline.artifacts.files import sha256_of
from pipeline.base.errors import ArtifactError, ConfigError, ConflictError

FILES = {
    "params.yaml": "tracking: {}\n",
    "data/promotions.jsonl": "{}\n",
    "data/labels.jsonl": "{}\n",
    "data/trusted_keys.json": "{}",
    "data/registered/3-ab/bundle.json": "{}",
    "data/scored/monday.parquet": "PAR1",
    "mlruns/1/models/x/MLmodel": "a: 1",
    "mlflow.outbox/0.json": "{}",
}
SECRETS = {".flowsculpt/signing.key": "PEM", ".prefect/secret": "a:b", ".triage/secret": "s"}
REST = {"data/raw/monday.csv": "a\n1\n", "data/models/x.safetensors": "x"}


@pytest.fixture
def project(tmp_path, monkeypatch):
    folder = tmp_path / "project"
    for name, text in {**FILES, **SECRETS, **REST}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    with closing(sqlite3.connect(folder / "mlflow.db")) as store, store:
        store.execute("PRAGMA journal_mode=WAL")
        store.execute("CREATE TABLE runs (name TEXT)")
        store.execute("INSERT INTO runs VALUES ('first')")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PREFECT_HOME", ".prefect")
    return folder


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def runs(folder):
    with closing(sqlite3.connect(folder / "mlflow.db")) as store:
        return [name for (name,) in store.execute("SELECT name FROM runs")]


def test_it_holds_what_cannot_be_made_again_and_no_secret(project, tmp_path, capsys):
    assert backup.main([str(tmp_path / "kept")]) == 0
    assert names(tmp_path / "kept" / "project") == {*FILES, "mlflow.db"}
    assert (tmp_path / "kept").stat().st_mode & 0o077 == 0
    assert "9 files" in capsys.readouterr().out
    backups.back_up(project, tmp_path / "with", with_keys=True)
    assert names(tmp_path / "with" / "project") == {*FILES, *SECRETS, "mlflow.db"}


def test_a_database_that_is_written_to_is_copied_as_it_was_between_two_writes(project, tmp_path):
    with closing(sqlite3.connect(project / "mlflow.db", isolation_level=None)) as store:
        store.execute("BEGIN IMMEDIATE")
        store.execute("INSERT INTO runs VALUES ('second')")
        backups.back_up(project, tmp_path / "kept")
        store.execute("COMMIT")
    assert runs(tmp_path / "kept" / "project") == ["first"]
    assert runs(project) == ["first", "second"]


def test_it_comes_back_into_an_empty_clone(project, tmp_path, monkeypatch):
    backups.back_up(project, tmp_path / "kept")
    (tmp_path / "clone").mkdir()
    monkeypatch.chdir(tmp_path / "clone")
    assert restore.main([str(tmp_path / "kept")]) == 0
    assert names(tmp_path / "clone") == {*FILES, "mlflow.db"}
    assert runs(tmp_path / "clone") == ["first"]


def test_what_is_there_and_differs_is_refused_or_put_aside(project, tmp_path):
    backups.back_up(project, tmp_path / "kept")
    (project / "data" / "labels.jsonl").write_text("{}\n{}\n")
    (project / "data" / "registered" / "4-cd").mkdir()
    (project / "data" / "registered" / "4-cd" / "bundle.json").write_text("{}")
    with pytest.raises(ConflictError, match=r"the project has data/labels\.jsonl, data/registered, mlflow\.db already"):
        backups.restore(project, tmp_path / "kept")
    done = backups.restore(project, tmp_path / "kept", replace=True)
    (aside,) = (project / backups.ASIDE).iterdir()
    assert (aside / "data" / "labels.jsonl").read_text() == "{}\n{}\n"
    assert (aside / "data" / "registered" / "4-cd" / "bundle.json").is_file()
    assert (project / "data" / "labels.jsonl").read_text() == "{}\n"
    assert names(project / "data" / "registered") == {"3-ab/bundle.json"}
    assert any(aside.name in each for each in done)


def test_a_log_beside_the_old_database_does_not_come_into_the_new_one(project, tmp_path):
    backups.back_up(project, tmp_path / "kept")
    store = sqlite3.connect(project / "mlflow.db")
    store.execute("INSERT INTO runs VALUES ('second')")
    store.commit()  # it lies in the log beside the database
    try:
        backups.restore(project, tmp_path / "kept", replace=True)
    finally:
        store.close()
    assert runs(project) == ["first"]


@pytest.mark.parametrize(
    "harm", ["change", "lose", "manifest", "leave", "format", "code", "hook", "unlisted", "link", "linked folder"]
)
def test_a_backup_that_is_not_whole_changes_nothing(harm, project, tmp_path):
    kept = tmp_path / "kept"
    backups.back_up(project, kept)
    about = json.loads((kept / backups.FILE).read_text())
    match harm:
        case "change":
            (kept / "project" / "params.yaml").write_text("x")
        case "lose":
            (kept / "project" / "mlflow.db").unlink()
        case "manifest":
            (kept / backups.FILE).write_text("[]")
        case "leave":
            about["files"]["../../evil"] = "0" * 64
        case "code" | "hook":
            name = "sitecustomize.py" if harm == "code" else ".git/hooks/post-checkout"
            (kept / "project" / name).parent.mkdir(parents=True, exist_ok=True)
            (kept / "project" / name).write_text("evil")
            about["files"][name] = sha256_of(kept / "project" / name)
        case "unlisted":
            (kept / "project" / "data" / "scored" / "more.parquet").write_text("evil")
        case "link":
            (kept / "project" / "data" / "labels.jsonl").unlink()
            (kept / "project" / "data" / "labels.jsonl").symlink_to(project / "data" / "labels.jsonl")
        case "linked folder":
            (kept / "project" / "data" / "scored").rename(tmp_path / "elsewhere")
            (kept / "project" / "data" / "scored").symlink_to(tmp_path / "elsewhere")
        case _:
            about["format"] = 99
    if harm in ("leave", "format", "code", "hook"):
        (kept / backups.FILE).write_text(json.dumps(about))
    (tmp_path / "clone").mkdir()
    with pytest.raises(ArtifactError):
        backups.restore(tmp_path / "clone", kept)
    assert names(tmp_path / "clone") == set()


def test_rights_come_back_and_what_is_private_stays_so(project, tmp_path, monkeypatch):
    for name in ("data/scored", ".flowsculpt"):
        (project / name).chmod(0o700)
    (project / ".flowsculpt" / "signing.key").chmod(0o600)
    (project / ".prefect" / "mlflow-users-ab12.db").write_bytes((project / "mlflow.db").read_bytes())
    assert backups.back_up(project, tmp_path / "bare") and not list((tmp_path / "bare").rglob("mlflow-users*"))
    backups.back_up(project, tmp_path / "kept", with_keys=True)
    clone = tmp_path / "clone"
    clone.mkdir()
    monkeypatch.chdir(clone)
    backups.restore(clone, tmp_path / "kept")
    for name, mode in (("data/scored", 0o700), (".flowsculpt", 0o700), (".flowsculpt/signing.key", 0o600)):
        assert (clone / name).stat().st_mode & 0o777 == mode
    assert (clone / ".prefect" / "mlflow-users-ab12.db").is_file()


def test_without_room_nothing_is_changed(project, tmp_path, monkeypatch):
    backups.back_up(project, tmp_path / "kept")
    (project / "data" / "labels.jsonl").write_text("{}\n{}\n")
    before = names(project)
    full = OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patch, pytest.raises(ArtifactError, match="No space left on device"):
        patch.setattr(backups.shutil, "copy2", Mock(side_effect=full))
        backups.restore(project, tmp_path / "kept", replace=True)
    assert {name for name in names(project) if not name.startswith(backups.STAGED)} == before
    backups.restore(project, tmp_path / "kept", replace=True)
    assert not (project / backups.STAGED).exists()


def test_links_are_counted(project, tmp_path):
    (project / "mlruns" / "far").symlink_to(tmp_path)
    assert "1 links are not in it" in backups.back_up(project, tmp_path / "kept")


def test_a_folder_that_is_there_and_a_folder_that_is_no_project_are_refused(project, tmp_path):
    with pytest.raises(ConfigError, match="is there already"):
        backups.back_up(project, Path(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="is no project"):
        backups.back_up(tmp_path / "empty", tmp_path / "kept")
