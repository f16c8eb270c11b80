"""An MLflow server that hands out files: whoever reaches it reads them, wherever they lie."""

import pytest
from prefect.settings import PREFECT_HOME, temporary_settings

from flows.runtime import access, servers
from flows.runtime.central import Chosen
from pipeline import tracking
from pipeline.base.errors import ConfigError
from pipeline.tracking import places, store

LOGIN = "who:knows-it-well"


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Two machines: the one that serves, in which this process works, and the folder of the other."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", tracking.ROOT_VARIABLE, store.ARTEFACTS_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    for name in (access.MLFLOW_SERVER, access.MLFLOW_KEY, *access.MLFLOW_CLIENT):
        monkeypatch.delenv(name, raising=False)
    for name in ("server", "client"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "params.yaml").touch()
    monkeypatch.chdir(tmp_path / "server")
    store.connect.cache_clear()
    with temporary_settings({PREFECT_HOME: tmp_path / "server" / ".prefect"}):
        yield tmp_path / "client"
    store.connect.cache_clear()


def test_another_machine_writes_and_reads_files_and_none_lies_there(elsewhere, monkeypatch, tmp_path):
    files = tmp_path / "files"
    use = Chosen(backend=f"sqlite:///{tmp_path / 'server' / 'own.db'}", artefacts=str(files))
    with servers.mlflow(servers.free_port(), login=LOGIN, use=use) as address:
        monkeypatch.chdir(elsewhere)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        for name, value in zip(access.MLFLOW_CLIENT, LOGIN.split(":"), strict=True):
            monkeypatch.setenv(name, value)
        tracking.require_handed_out()
        client = store.client()
        run = client.create_run(store.experiment()).info.run_id
        client.log_text(run, "kept", "note.txt")
        assert client.get_run(run).info.artifact_uri.startswith(places.HANDED_OUT)
        assert [each.path for each in client.list_artifacts(run)] == ["note.txt"]
        assert [path.read_text() for path in files.rglob("note.txt")] == ["kept"]
        assert sorted(path.name for path in elsewhere.iterdir()) == ["mlflow.db.lock", "params.yaml"]
        log = "".join(path.read_text() for path in (tmp_path / "server" / ".prefect").glob("*.log"))
        assert "knows-it-well" not in log
    monkeypatch.setenv("MLFLOW_TRACKING_URI", use.backend)
    store.connect.cache_clear()
    with pytest.raises(ConfigError, match="an MLflow server hands out its files; start it as before"):
        store.experiment()
