"""What a worker runs: the flows of its own clone, whatever the server says."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest

from flows import benchmark
from flows.runtime import admission
from pipeline.base.errors import ConfigError

ROOT = Path(__file__).parents[2]


class Server:
    """A client that knows one deployment, whose code is of somebody else."""

    def __init__(self, name):
        self.name = name

    async def read_deployment(self, _):
        return SimpleNamespace(name=self.name, entrypoint="evil.py:evil", pull_steps=[{"run_shell_script": {}}])


def known(name, monkeypatch):
    monkeypatch.setenv(admission.ROOT_VARIABLE, str(ROOT))
    return asyncio.run(admission.known_flow(Server(name), SimpleNamespace(deployment_id=uuid4())))


def test_the_code_of_a_deployment_is_that_of_the_clone(monkeypatch):
    assert admission.code_of("drift-check", ROOT) == "flows/drift_check.py:drift_check"
    assert known("promotion", monkeypatch).name == "promotion"


@pytest.mark.parametrize("name", ["own", "", "../promotion", "Promotion"])
def test_a_deployment_that_the_clone_has_not_is_refused(name, monkeypatch):
    with pytest.raises(ConfigError, match=r"does not stand in .*prefect\.yaml, and this worker runs nothing else"):
        admission.code_of(name, ROOT)
    with pytest.raises(ConfigError, match="does not stand in"):
        known(name, monkeypatch)


def test_the_near_miss_is_named():
    with pytest.raises(ConfigError, match="drift-check"):
        admission.code_of("drift_check", ROOT)


@pytest.mark.parametrize("content", [None, "deployments: 3", "[", "deployments: [{name: a}]", "\x00"])
def test_without_deployments_nothing_runs(content, tmp_path):
    if content is not None:
        (tmp_path / "prefect.yaml").write_text(content)
    with pytest.raises(ConfigError, match="cannot be read, so nothing runs here"):
        admission.code_of("training", tmp_path)


def test_the_names_are_those_of_this_project(tmp_path, monkeypatch):
    monkeypatch.setattr(admission, "own", lambda name: f"{name}-zeek")
    assert set(admission.deployed(ROOT)) >= {"training-zeek", "scoring-zeek"}


def test_a_result_that_a_server_names_is_not_read(tmp_path, monkeypatch):
    """A state on the server can name a file of pickle, which runs code when it is read."""
    from prefect import results
    from prefect.results import ResultRecordMetadata
    from prefect.states import Completed

    for name in ("_read_server_default_result_storage_block_id", "_aread_server_default_result_storage_block_id"):
        monkeypatch.setattr(results, name, getattr(results, name))
    monkeypatch.setattr(results.ResultStore, "_from_metadata", results.ResultStore._from_metadata)
    evil = tmp_path / "evil"
    evil.write_bytes(b"cos\nsystem\n(S'touch taken'\ntR.")
    monkeypatch.chdir(tmp_path)
    given = ResultRecordMetadata(storage_key=str(evil), serializer={"type": "pickle"}, expiration=None)
    admission.read_no_results()
    with pytest.raises(ConfigError, match="a result that a server names is not read here"):
        Completed(data=given).result()
    assert not (tmp_path / "taken").exists()
    assert results._read_server_default_result_storage_block_id() is None


def test_a_version_of_prefect_without_a_part_that_is_closed_is_refused():
    with pytest.raises(ConfigError, match="this version of Prefect has no renamed; install the version of"):
        admission._replace(SimpleNamespace(), "renamed", None)


@pytest.mark.parametrize(("out", "is_own"), [("data/reports/x", True), ("../x", False), ("/tmp/x", False), (".", True)])
def test_a_deployment_writes_its_table_into_the_project_alone(out, is_own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benchmark, "runtime", SimpleNamespace(deployment=SimpleNamespace(id="some")))
    if is_own:
        benchmark._require_own(tmp_path / out)
    else:
        with pytest.raises(ConfigError, match="writes into the project alone"):
            benchmark._require_own(tmp_path / out)
