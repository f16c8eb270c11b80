"""A project whose folder was moved: its store names the old one, and nothing may make that folder again."""

import shutil
import sqlite3
import stat
from contextlib import closing

import pytest
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from flows import doctor
from flows.runtime.health import stores
from pipeline import tracking
from pipeline.base.errors import ConfigError
from pipeline.tracking import places, store


def enter(folder, monkeypatch):
    """Work in a folder as a new process would."""
    store.connect.cache_clear()
    monkeypatch.chdir(folder)


def fresh(tmp_path, monkeypatch):
    """An empty project, and the path that it will have."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", tracking.ROOT_VARIABLE, store.ARTEFACTS_VARIABLE, "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)
    old, new = tmp_path / "a project", tmp_path / "new"
    old.mkdir()
    (old / "params.yaml").touch()
    return old, new


@pytest.fixture
def moved(tmp_path, monkeypatch):
    """A project with a run, a file of it and a registered version, under another path than it was made."""
    old, new = fresh(tmp_path, monkeypatch)
    enter(old, monkeypatch)
    client = store.client()
    run = client.create_run(store.experiment()).info.run_id
    client.log_text(run, "kept", "note.txt")
    client.create_registered_model("flowsculpt")
    client.create_model_version("flowsculpt", f"{client.get_run(run).info.artifact_uri}/model", run)
    old.rename(new)
    enter(new, monkeypatch)
    yield old, new, run
    store.connect.cache_clear()


@pytest.fixture
def by_a_server(tmp_path, monkeypatch):
    """As ``moved``, but MLflow's server has made the experiment: MLflow puts its number behind the address."""
    old, new = fresh(tmp_path, monkeypatch)
    served = SqlAlchemyStore(f"sqlite:///{old}/mlflow.db", (old / "mlruns").as_uri())
    numbers = [served.create_experiment(name) for name in ("of-others", "flowsculpt")]
    served.engine.dispose()
    enter(old, monkeypatch)
    assert store.client().get_experiment("2").artifact_location == f"{(old / 'mlruns').as_uri()}/2"
    assert numbers[1] == "2"
    yield old, new
    store.connect.cache_clear()


def test_what_a_server_has_made_is_in_the_project_before_its_first_file_is(by_a_server):
    old, _ = by_a_server
    assert not (old / "mlruns").exists()
    assert store.experiment() == "2"
    assert [found.level for found in stores.mlflow(old)] == ["ok"]
    assert places.relocate(old, old / "mlflow.db", "flowsculpt")[0].endswith("as the store says")
    run = store.client().create_run("2").info.run_id
    store.client().log_text(run, "kept", "note.txt")
    store.connect.cache_clear()
    assert (old / "mlruns" / "2" / run / "artifacts" / "note.txt").is_file()
    assert store.experiment() == "2"
    assert [found.level for found in stores.mlflow(old)] == ["ok"]


def test_what_a_server_has_made_is_found_again_where_the_project_was_moved(by_a_server, monkeypatch, capsys):
    old, new = by_a_server
    run = store.client().create_run("2").info.run_id
    store.client().log_text(run, "kept", "note.txt")
    store.client().create_registered_model("flowsculpt")
    source = f"{store.client().get_run(run).info.artifact_uri}/model"
    store.client().create_model_version("flowsculpt", source, run)
    old.rename(new)
    enter(new, monkeypatch)
    with pytest.raises(ConfigError, match="the project was moved"):
        store.experiment()
    (_, found) = stores.mlflow(new)
    assert found.level == "blocks" and f"move it back to {old})" in found.remedy
    assert doctor.main(["--relocate"]) == 0
    assert f"name {new}/mlruns now, and no longer {old}/mlruns\n" in capsys.readouterr().out
    store.connect.cache_clear()
    assert [found.level for found in stores.mlflow(new)] == ["ok"]
    client = store.client()
    assert client.get_experiment(store.experiment()).artifact_location == f"{(new / 'mlruns').as_uri()}/2"
    assert client.get_experiment("1").artifact_location == f"{(new / 'mlruns').as_uri()}/1"
    assert [each.path for each in client.list_artifacts(run)] == ["note.txt"]
    assert client.get_model_version("flowsculpt", "1").source == source.replace("/a%20project/", "/new/")
    assert not old.exists()


def test_a_folder_that_is_no_mlruns_is_not_taken_for_one(moved):
    _, new, _ = moved
    with closing(sqlite3.connect(new / "mlflow.db")) as database, database:
        database.execute("UPDATE experiments SET artifact_location = '/gone/files' WHERE name = 'flowsculpt'")
    with pytest.raises(ConfigError, match=r"lie in /gone/files, which is no mlruns of a project; see that"):
        places.relocate(new, new / "mlflow.db", "flowsculpt")


def test_the_old_folder_is_not_made_again(moved):
    old, _, _ = moved
    with pytest.raises(
        ConfigError, match=r"files should lie in .*a project/mlruns, .*run `flowsculpt doctor --relocate`"
    ):
        store.experiment()
    with pytest.raises(ConfigError, match="the project was moved"):
        tracking.local_store()
    with pytest.raises(ConfigError, match="the project was moved"), tracking.stage("ingest", {}, [], []):
        pytest.fail("a stage began")
    assert not old.exists()


def test_the_doctor_finds_it_and_mends_it(moved, capsys):
    old, new, run = moved
    findings = list(stores.mlflow(new))
    assert [found.level for found in findings] == ["ok", "blocks"]
    assert "flowsculpt doctor --relocate" in findings[1].remedy
    assert doctor.main(["--relocate"]) == 0
    said = capsys.readouterr().out
    assert f"name {new}/mlruns now" in said
    store.connect.cache_clear()
    assert [found.level for found in stores.mlflow(new)] == ["ok"]
    client = store.client()
    assert store.experiment() == "1"
    assert [each.path for each in client.list_artifacts(run)] == ["note.txt"]
    version = client.get_model_version("flowsculpt", "1")
    assert version.source.startswith((new / "mlruns").as_uri())
    assert not old.exists()
    with closing(sqlite3.connect(new / f"mlflow.db{places.KEPT}")) as kept:
        ((before,),) = kept.execute("SELECT artifact_location FROM experiments WHERE name = 'flowsculpt'").fetchall()
    assert before == (old / "mlruns").as_uri()
    assert stat.S_IMODE((new / f"mlflow.db{places.KEPT}").stat().st_mode) == 0o600
    assert doctor.main(["--relocate"]) == 0
    assert "as the store says" in capsys.readouterr().out


def test_a_folder_that_begins_alike_is_left_alone(moved):
    old, new, _ = moved
    other = f"{(old / 'mlruns').as_uri()}-of-others/1"
    with closing(sqlite3.connect(new / "mlflow.db")) as database, database:
        database.execute("INSERT INTO experiments (name, artifact_location) VALUES ('other', ?)", (other,))
    places.relocate(new, new / "mlflow.db", "flowsculpt")
    with closing(sqlite3.connect(new / "mlflow.db")) as database:
        wanted = "SELECT artifact_location FROM experiments WHERE name = 'other'"
        assert database.execute(wanted).fetchall() == [(other,)]


def test_files_that_were_left_behind_are_asked_for(moved, capsys):
    _, new, _ = moved
    shutil.rmtree(new / "mlruns")
    assert doctor.main(["--relocate"]) == 1
    assert "mlruns is not there: bring it from" in capsys.readouterr().err
    assert not (new / f"mlflow.db{places.KEPT}").exists()


def test_a_copy_of_a_project_is_told_that_it_uses_the_files_of_the_other(moved, tmp_path):
    _, new, _ = moved
    places.relocate(new, new / "mlflow.db", "flowsculpt")
    shutil.copytree(new, tmp_path / "copy")
    findings = list(stores.mlflow(tmp_path / "new"))
    assert [found.level for found in findings] == ["ok"]


def test_a_store_of_others_is_not_changed(moved, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:hush@mlflow.example")
    assert doctor.main(["--relocate"]) == 1
    said = capsys.readouterr().err
    assert "https://mlflow.example is no file of this project" in said
    assert "hush" not in said


def test_files_that_a_server_hands_out_are_not_looked_for_without_it():
    with pytest.raises(ConfigError, match=r"an MLflow server hands out its files; .*serve --artifacts PLACE"):
        places.require_here("flowsculpt", "mlflow-artifacts:/1", None)
    places.require_here("flowsculpt", "s3://bucket/1", None)
