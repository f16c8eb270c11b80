import pytest

from pipeline import tracking


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """A project with a store of its own, made once: a fresh one takes seconds."""
    root = tmp_path_factory.mktemp("project")
    (root / "params.yaml").touch()
    return root


@pytest.fixture
def project(store, monkeypatch):
    monkeypatch.chdir(store)
    for name in (tracking.PARENT_VARIABLE, "DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    return store


@pytest.fixture
def client(project):
    from mlflow import MlflowClient

    tracking.open_parent("warm", {})
    return MlflowClient(tracking.tracking_uri())
