"""The command ``prune``: what DVC's cache and logs hold, what is told, and that nothing goes before it is asked to."""

import json
import os
import time
from pathlib import Path

import pytest
import yaml
from prefect.settings import PREFECT_HOME, temporary_settings

from flows import prune, pruning
from flows.grid import experiments
from flows.runtime import dvc_cache, working_copy
from pipeline.base.errors import ArtifactError
from pipeline.tracking.removal import DAY, Removal
from tests.flows.shell import dvc, sh

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A clone with data of a tag, a branch, a version, and of nothing; and the hash of each."""
    root = tmp_path_factory.mktemp("clone")
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        sh("git", "init", "-q", "-b", "main")
        sh("git", "config", "user.email", "a@b.c")
        sh("git", "config", "user.name", "a")
        dvc("init", "-q")
        for name in ("tagged", "registered", "forgotten", "tip"):
            Path("data").mkdir(exist_ok=True)
            Path("data/a.txt").write_text(name)
            Path("data/b.txt").write_text(f"{name} too")
            dvc("add", "-q", "data")
            made[name] = yaml.safe_load(Path("data.dvc").read_text())["outs"][0]["md5"]
            sh("git", "add", ".")
            sh("git", "commit", "-q", "-m", name)
            if name == "tagged":
                sh("git", "tag", "first")
    return root, made


@pytest.fixture
def clone(repository, monkeypatch):
    root, made = repository
    monkeypatch.chdir(root)
    return root, made


def names(made, name):
    return json.dumps({"ingest": {"data": f"md5:{made[name]}"}})


def contents(root):
    return {path.read_text() for path in (root / ".dvc/cache/files").rglob("*") if path.is_file()}


def test_the_cache_is_cleared_of_what_no_branch_tag_or_version_names(clone):
    root, made = clone
    before = contents(root)
    (found,) = dvc_cache.unused(root, [names(made, "registered"), json.dumps({"a": {"gone": "md5:" + "0" * 32}})])
    unused = {text for text in before if "forgotten" in text or made["forgotten"] in text}
    assert found.count == 3  # two files, and the list of them
    assert {"forgotten", "forgotten too"} <= unused
    assert contents(root) == before
    assert found.remove()
    left = contents(root)
    assert not {"forgotten", "forgotten too"} & left
    for name in ("tagged", "registered", "tip"):
        assert {name, f"{name} too"} <= left
    assert found.size == sum(map(len, before)) - sum(map(len, left))
    assert not [*dvc_cache.unused(root, [names(made, "registered")])]


def test_dvc_waits_for_a_training_and_for_a_grid(clone, capsys):
    root, _ = clone
    with (
        working_copy.alone(root, "a training", "refuse", print),
        pytest.raises(working_copy.BusyError, match="training"),
    ):
        [*prune._dvc(True, root)]
    (root / experiments.COPIES / "cell").mkdir(parents=True)
    with experiments.held(root, "cell") as lock:
        assert lock and experiments.is_running(root)
        with pytest.raises(working_copy.BusyError, match="a grid of experiments runs in this clone"):
            [*prune._dvc(True, root)]
    assert not experiments.is_running(root)
    assert not [*prune._dvc(False, root)]


# The rules together.


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(PARAMS.read_text())
    return tmp_path


@pytest.fixture
def ruled(folder, monkeypatch):
    """Rules that find what a test says; what they removed."""
    removed = []

    def give(**rules):
        monkeypatch.setattr(prune, "rules", lambda settings, root, now: rules)
        return removed

    def thing(what, name, size, is_removed=True):
        return Removal(what, name, size, lambda: removed.append(name) or is_removed, 2)

    give.thing = thing
    return give


def test_nothing_is_removed_before_it_is_asked_for(ruled, capsys):
    removed = ruled(logs=lambda: iter([ruled.thing("logs", "a.log", 1_500), ruled.thing("logs", "b.log", 2_500_000)]))
    assert prune.main([]) == 0
    said = capsys.readouterr().out
    assert said.splitlines() == [
        "logs: 4 would be removed, 2.5 MB",
        "in all 2.5 MB would be removed",
        "`flowsculpt prune --apply` removes it",
    ]
    assert removed == []
    assert prune.main(["--apply", "--list"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "logs: a.log",
        "logs: b.log",
        "logs: 4 removed, 2.5 MB",
        "in all 2.5 MB removed",
    ]
    assert removed == ["a.log", "b.log"]


def test_a_rule_that_fails_or_waits_stops_no_other(ruled, capsys):
    def fails():
        raise ArtifactError("http://registry: does not answer")

    def waits():
        raise working_copy.BusyError("another run works in this clone")

    removed = ruled(runs=fails, cache=waits, logs=lambda: iter([ruled.thing("logs", "a.log", 5, is_removed=False)]))
    assert prune.main(["--apply"]) == 1
    said = capsys.readouterr().err
    assert removed == ["a.log"]
    assert "runs: http://registry: does not answer" in said
    assert "cache: left for the next time: another run works" in said
    assert "logs: 1 in use by another process, left for the next time\n" in said
    assert "nothing removed" in said


def test_nothing_is_old_in_a_new_project(folder, monkeypatch, capsys):
    monkeypatch.setattr(prune, "_dvc", lambda *_: iter(()))
    monkeypatch.setattr("pipeline.tracking.retention.files_of_runs", lambda *_: iter(()))
    monkeypatch.setattr("pipeline.serving.loading.find", lambda: None)
    with temporary_settings({PREFECT_HOME: folder / ".prefect"}):
        assert prune.main([]) == 0
    assert capsys.readouterr().out == "nothing would be removed\n"


def test_logs_that_nobody_writes_any_more_go(folder):
    home = folder / ".prefect"
    home.mkdir(mode=0o700)
    for name, age in (("prefect-server-4200.log", 40), ("mlflow-server-5000.log", 20)):
        (home / name).write_text("x" * 7)
        os.utime(home / name, (time.time() - age * DAY,) * 2)
    with temporary_settings({PREFECT_HOME: home}):
        (found,) = prune._logs(30, time.time())
        assert not [*prune._logs(0, time.time())]
    assert (found.name, found.size, found.remove()) == ("prefect-server-4200.log", 7, True)
    assert [path.name for path in home.iterdir()] == ["mlflow-server-5000.log"]


def test_the_deployment_ends_as_failed_where_a_rule_failed(ruled, monkeypatch):
    shown = []
    monkeypatch.setattr(pruning, "create_markdown_artifact", lambda text, **_: shown.append(text))
    monkeypatch.setattr(pruning, "get_run_logger", lambda: type("Log", (), {"info": staticmethod(print)}))
    ruled(logs=lambda: iter([ruled.thing("logs", "a.log", 5)]))
    assert pruning.pruning.fn(apply=True).message == "in all 5 bytes removed"

    def fails():
        raise ArtifactError("no answer")

    ruled(runs=fails)
    assert pruning.pruning.fn().is_failed()
    assert shown[0].startswith("- logs: 2 removed")
