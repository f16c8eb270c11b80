import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flows.runtime import dvc, graph, healing, working_copy
from pipeline import tracking
from pipeline.base.errors import ConfigError


def _write(root, text):
    (root / "dvc.yaml").write_text(text)
    return root


# The graph.


@given(st.data())
def test_a_stage_comes_after_every_stage_whose_outputs_it_reads(data):
    count = data.draw(st.integers(1, 8))
    reads = {i: data.draw(st.sets(st.integers(0, i - 1))) if i else set() for i in range(count)}
    listed = data.draw(st.permutations(range(count)))
    entries = {f"s{i}": {"cmd": "true", "deps": [f"d{j}/x" for j in reads[i]], "outs": [f"d{i}"]} for i in listed}
    with tempfile.TemporaryDirectory() as folder:
        order = [stage.name for stage in graph.stages(_write(Path(folder), yaml.safe_dump({"stages": entries})))]
    assert sorted(order) == sorted(entries)
    assert all(order.index(f"s{j}") < order.index(f"s{i}") for i in reads for j in reads[i])


def test_every_way_of_naming_an_output_makes_an_edge(tmp_path):
    text = """
    stages:
      plots: {cmd: p, deps: [b/metrics.json]}
      do: {foreach: [1, 2], do: {cmd: "d ${item}", deps: [out], wdir: a, outs: [made]}}
      wide: {cmd: [w, x], deps: [a], metrics: [b/metrics.json: {cache: false}]}
      first: {cmd: f, outs: [a/out: {persist: true}]}
    """
    stages = graph.stages(_write(tmp_path, text))
    assert [stage.name for stage in stages] == ["first", "do", "wide", "plots"]
    assert [stage.command for stage in stages] == ["f", "d ${item}", "w && x", "p"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stage:\n  a: {cmd: x}", "needs a section 'stages'.*did you mean 'stage'"),
        ("", "needs a section 'stages'"),
        ("stages: {}", "at least one stage"),
        ("stages: [a", "not YAML.*line 1"),
        ("stages: {a: {cmd: x, dep: [y]}}", r"stage 'a': unknown key 'dep' \(did you mean 'deps'\?\)"),
        ("stages: {a: {outs: [y]}}", "stage 'a': has no 'cmd'"),
        ("stages: {a: x}", "stage 'a': needs the keys of a stage"),
        ("stages: {a: {cmd: x, deps: y}}", "'deps' is a list of paths, not 'y'"),
        ("stages: {a: {cmd: x, deps: [y], outs: [z]}, b: {cmd: x, deps: [z], outs: [y]}}", "feed each other"),
    ],
)
def test_a_broken_graph_is_refused_with_what_is_wrong(tmp_path, text, message):
    with pytest.raises(ConfigError, match=f"(?s)dvc.yaml.*{message}"):
        graph.stages(_write(tmp_path, text))


def test_a_folder_without_a_graph_or_without_dvc_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"dvc\.yaml: there is no such file"):
        graph.stages(tmp_path)
    with pytest.raises(ConfigError, match=r"DVC is not initialised here; run .*dvc init"):
        working_copy.check(_write(tmp_path, "stages: {a: {cmd: x}}"))


def test_a_folder_without_git_is_refused_with_the_command_that_makes_it_a_repository(tmp_path):
    root = tmp_path / "project"
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc" / "config").write_text("[core]\n    autostage = false\n")
    _write(root, "stages: {a: {cmd: x}}")
    with pytest.raises(ConfigError, match=r"is no git repository.*run `git init && git add"):
        working_copy.check(root)
    (tmp_path / ".git").write_text("gitdir: elsewhere")  # as in a worktree, and in a folder of the repository
    working_copy.check(root)


def test_a_folder_that_is_set_up_without_git_needs_none(tmp_path):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    no_scm = True\n")
    working_copy.check(_write(tmp_path, "stages: {a: {cmd: x}}"))


# The command.

GRAPH = """
stages:
  whole:
    cmd: echo "parent $FLOWSCULPT_PARENT_RUN"; command -v python; cp in out
    deps: [in]
    outs: [out]
  bad:
    cmd: "echo 'ERROR: the disk is busy'; echo once >> times; exit 3"
  stray:
    cmd: sleep 300 & echo child $!; sleep 300
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = _write(tmp_path_factory.mktemp("toy"), GRAPH)
    (root / "in").write_text("1")
    environment = os.environ | tracking.environment()
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=root, env=environment, check=True)
    return root


def _stage(root, name):
    return next(stage for stage in graph.stages(root) if stage.name == name)


def test_a_stage_runs_is_skipped_and_can_be_forced(project, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (project / "in").write_text("another, whatever was run before")
    lines = []
    stage, environment = _stage(project, "whole"), {tracking.PARENT_VARIABLE: "abc"}
    assert dvc.reproduce(stage, lines.append, environment, project) is dvc.Outcome.RAN
    assert "parent abc" in lines
    assert str(Path(sys.executable).parent / "python") in lines
    assert dvc.reproduce(stage, lines.append, environment, project) is dvc.Outcome.CACHED
    assert dvc.reproduce(stage, lines.append, environment, project, force=True) is dvc.Outcome.RAN


CHATTER = """
WARNING: No file hash info found for '/clone/data/reports'. It won't be created.
To track the changes with git, run:

\tgit add dvc.lock

To enable auto staging, run:

\tdvc config core.autostage true
Use `dvc push` to send your updates to remote storage.
"""


def test_what_dvc_says_around_each_stage_is_left_out_and_nothing_of_the_stage(project):
    said = "WARNING: No label\nUse `dvc push` and wait\n  git add\n"
    (project / "chatter").write_text(f"{CHATTER}{said}")
    stage = project / "dvc.yaml"
    before = stage.read_text()
    stage.write_text(f"{before}  chatter: {{cmd: cat chatter}}\n")
    lines = []
    try:
        dvc.reproduce(_stage(project, "chatter"), lines.append, {}, project)
    finally:
        stage.write_text(before)
    assert [line for line in lines if line in f"{CHATTER}{said}".splitlines()] == said.splitlines()


def test_a_stage_that_fails_says_which_what_and_its_last_lines_and_is_not_tried_again(project):
    with pytest.raises(dvc.StageFailedError, match=r"stage 'bad' failed with exit code 3: echo.*exit 3") as failure:
        dvc.reproduce(_stage(project, "bad"), lambda line: None, {}, project)
    assert failure.value.code == 3
    assert "ERROR: the disk is busy" in failure.value.lines
    assert (project / "times").read_text() == "once\n"
    assert "\n" not in repr(failure.value)


@pytest.fixture
def lock(project):
    """The lock of DVC, held as by another process."""
    with (project / ".dvc" / "tmp" / "lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def test_a_lock_that_another_process_holds_is_waited_for(project, lock):
    lines = []

    def log(line):
        lines.append(line)
        if line.startswith("another dvc process is at work"):
            fcntl.flock(lock, fcntl.LOCK_UN)

    dvc.reproduce(_stage(project, "whole"), log, {}, project)
    assert len([line for line in lines if line.startswith("another dvc process")]) == 1


def test_a_lock_that_is_never_let_go_ends_in_an_error(project, lock, monkeypatch):
    monkeypatch.setattr(dvc, "SECONDS_FOR_LOCK", 0)
    with pytest.raises(dvc.StageFailedError, match="Unable to acquire lock"):
        dvc.reproduce(_stage(project, "whole"), lambda line: None, {}, project)


# What a full disk leaves.


@pytest.fixture
def cured(project):
    """A clone in which DVC has worked, and what it says afterwards."""
    lines = []
    dvc.reproduce(_stage(project, "whole"), lines.append, {}, project, force=True)
    lines.clear()
    yield lines
    for path in [*(project / ".dvc" / "tmp").glob("rwlock*"), *project.glob("dvc.lock*")]:
        path.unlink()


@pytest.mark.parametrize("content", ["", '{"wri', "[]", '{"write": []}', "{}x"])
def test_a_lock_file_that_a_full_disk_left_is_moved_aside_and_the_stage_runs(project, cured, content):
    path = project / ".dvc" / "tmp" / "rwlock"
    path.write_text(content)
    refusal = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "whole"], cwd=project, capture_output=True, text=True
    )
    assert refusal.returncode and "RWLock-file" in refusal.stderr  # what a person would see
    dvc.reproduce(_stage(project, "whole"), cured.append, {}, project)
    assert any("rwlock: cannot be read, as a full disk leaves it; moved to" in line for line in cured)
    (aside,) = path.parent.glob("rwlock.*.broken")
    assert aside.read_text() == content


@pytest.mark.parametrize("content", ["", "schema: '2.0'\nstages:\n  whole: {cmd: [", "stages"])
def test_a_lock_of_the_stages_that_a_full_disk_left_is_moved_aside(project, cured, content):
    (project / "dvc.lock").write_text(content)
    dvc.reproduce(_stage(project, "whole"), cured.append, {}, project)
    assert any("dvc.lock: cannot be read, as a full disk leaves it; moved to" in line for line in cured)
    assert "whole" in yaml.safe_load((project / "dvc.lock").read_text())["stages"]


@pytest.mark.parametrize("content", [b"", b"no database at all" * 300])
def test_a_torn_database_of_hashes_is_moved_aside_and_the_stage_runs(project, cured, tmp_path, monkeypatch, content):
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path))
    dvc.reproduce(_stage(project, "whole"), cured.append, {}, project)
    found = list(tmp_path.rglob("cache.db"))
    assert found
    for path in found:
        path.write_bytes(content)
    dvc.reproduce(_stage(project, "whole"), cured.append, {}, project, force=True)
    assert bool(list(tmp_path.rglob("cache.db.*.broken"))) is bool(content)


def test_nothing_is_moved_while_another_dvc_process_works(project, cured):
    path = project / ".dvc" / "tmp" / "rwlock"
    path.write_text("")
    with (path.parent / "rwlock.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert not healing.heal(project, cured.append)
    stage = [sys.executable, "-c", "import time; time.sleep(300)", "-m", "dvc"]
    with subprocess.Popen(stage, cwd=project) as process:
        assert not healing.heal(project, cured.append)
        process.kill()
    assert ["it stays while another dvc process works" in line for line in cured] == [True, True]
    assert path.exists()
    assert healing.heal(project, cured.append)
    assert not healing.heal(project, cured.append)
    assert not path.exists()


def test_a_person_can_ask_for_it(project, cured, monkeypatch, capsys):
    monkeypatch.chdir(project)
    assert healing.main() == 0
    assert "nothing to put right" in capsys.readouterr().out
    (project / ".dvc" / "tmp" / "rwlock").write_text("")
    assert healing.main() == 0
    assert "moved to" in capsys.readouterr().out


def test_telemetry_is_off_and_a_foreign_run_is_not_passed_on(monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "foreign")
    monkeypatch.setenv("MPLBACKEND", "Cairo")
    environment = dvc._environment({"MINE": "1"})
    assert tracking.environment().items() <= environment.items() | os.environ.items()
    assert "MLFLOW_RUN_ID" not in environment
    assert (environment["MPLBACKEND"], environment["MINE"]) == ("Cairo", "1")
