"""The doctor: each thing that can be wrong is found, with what to do, and nothing is changed by looking."""

import fcntl
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement

from flows import doctor
from flows.runtime import devices, reach, site_cache, working_copy
from flows.runtime.health import environment, folder, stores, trust
from pipeline import tracking
from pipeline.serving.trust import chain, keys

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project as a fresh clone is, in which this process works."""
    for name in ("params.yaml", "dvc.yaml", "constraints.txt", "prefect.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    autostage = false\n")
    for name in ("MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PREFECT_HOME", "DVC_ROOT", tracking.ROOT_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv(site_cache.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def repository(project, monkeypatch):
    """The same, with a commit."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.delenv("GIT_AUTHOR_EMAIL", raising=False)
    _git(project, "init", "--quiet")
    _git(project, "config", "user.email", "a@b.example")
    _git(project, "config", "user.name", "a")
    _git(project, "commit", "--quiet", "--allow-empty", "--message", "start")
    return project


def _git(root, *arguments):
    subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True)


def _levels(findings):
    return [finding.level for finding in findings]


def _only(findings, level, text, remedy=""):
    """The one finding that is not ``ok``."""
    (found,) = [finding for finding in findings if finding.level != "ok"]
    assert (found.level, text in found.text, remedy in found.remedy) == (level, True, True), found
    return found


# Python and packages.


def test_python_must_be_new_enough():
    assert _levels(environment.python((3, 11, 0))) == ["ok"]
    assert doctor.too_old((3, 11, 0)) is None
    assert "Python 3.10.9 is older than 3.11" in doctor.too_old((3, 10, 9))


def test_the_packages_of_this_environment_fit():
    assert _levels(environment.packages(ROOT)) == ["ok"]


@pytest.mark.parametrize(("name", "version"), [("fastapi", "0.151.0"), ("sqlalchemy", "2.1.0"), ("torch", "3.0.0")])
def test_a_package_that_fails_at_run_time_blocks_and_says_why(tmp_path, name, version):
    have = dict(environment._installed()) | {name: version}
    found = _only(environment.packages(tmp_path, have), "blocks", f"package {name} {version} is not", ".ci/install")
    assert environment.KNOWN_TO_FAIL[name] in found.text


def test_a_package_that_is_absent_blocks(tmp_path):
    have = dict(environment._installed())
    del have["safetensors"]
    _only(environment.packages(tmp_path, have), "blocks", "package safetensors is not installed", ".ci/install")


def test_an_extra_of_which_nothing_is_installed_is_a_note(tmp_path):
    have = dict(environment._installed())
    _only(
        environment.packages(tmp_path, {name: have[name] for name in have if name != "great-expectations"}),
        "note",
        "the extra validate is not installed: this machine cannot validate",
        "'.[validate]'",
    )
    scorer = (ROOT / ".ci" / "locks" / "image-scorer.txt").read_text()
    alone = {name: version for name, version in have.items() if f"\n{name}==" in f"\n{scorer}"}
    found = [each for each in environment.packages(tmp_path, alone) if each.level != "ok"]
    assert [each.level for each in found] == ["note"] * 3


@pytest.mark.parametrize(("lock", "absent"), [("image-server", ["train", "validate"]), ("image-worker", [])])
def test_what_several_extras_bring_makes_none_of_them_an_installed_one(lock, absent, tmp_path):
    have, text = dict(environment._installed()), (ROOT / ".ci" / "locks" / f"{lock}.txt").read_text()
    alone = {name: have[name] for name in have if f"\n{name}==" in f"\n{text}" or (name == "torch" and not absent)}
    found = [each for each in environment.packages(tmp_path, alone) if each.level != "ok"]
    assert [each.text.split()[2] for each in found] == absent


def test_metadata_from_before_the_extras_are_told_from_extras_that_are_absent(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "_needs", lambda extra: [] if extra else [Requirement("numpy")])
    found = list(environment.packages(tmp_path))
    assert [each.text for each in found if "older than pyproject.toml" in each.text]
    assert not [each for each in found if each.level == "blocks"]


def test_a_machine_that_only_scores_is_not_asked_for_git_and_servers(project, monkeypatch):
    (project / "dvc.yaml").unlink()
    monkeypatch.setattr(doctor, "find_spec", lambda _: None)
    found = [*doctor.examine(project)]
    assert [each for each in found if each.level == "blocks"] == []
    assert not [each for each in found if each.text.startswith(("git", "DVC", "Prefect", "servers"))]


def test_versions_beside_the_constraints_are_named_and_a_build_is_none(tmp_path):
    have = dict(environment._installed())
    (tmp_path / "constraints.txt").write_text(f"# torch==1.0\nnumpy==1.0.0\ntorch=={have['torch'].partition('+')[0]}\n")
    _only(environment.packages(tmp_path, have), "note", f"numpy {have['numpy']} for 1.0.0", ".ci/install")
    (tmp_path / "constraints.txt").write_text("pip==1.0\nnot-installed==1.0\n")
    assert _levels(environment.packages(tmp_path, have)) == ["ok"]
    assert _levels(environment.packages(tmp_path, have | {"numpy": "1.0.0", "pandas": have["pandas"]}))[-1] == "blocks"


def test_the_code_of_another_folder_is_named(tmp_path):
    assert list(environment.code(ROOT)) == []
    _only(environment.code(tmp_path), "note", f"runs the code in {ROOT}", ".venv")


# GPUs.


@pytest.mark.parametrize(
    ("built", "works", "level", "remedy"),
    [("13.0", True, "ok", ""), (None, False, "note", "CUDA wheel"), ("13.0", False, "blocks", "driver for CUDA 13.0")],
)
def test_a_gpu_that_torch_cannot_use_is_found(monkeypatch, built, works, level, remedy):
    torch = SimpleNamespace(
        __version__="2.13.0", version=SimpleNamespace(cuda=built), cuda=SimpleNamespace(is_available=lambda: works)
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(devices, "find_devices", lambda: (devices.Device(0, "GPU-a"),))
    (found,) = environment.gpus()
    assert (found.level, found.text.startswith("1 GPU, "), remedy in found.remedy) == (level, True, True)


def test_without_a_gpu_torch_is_not_asked(monkeypatch):
    monkeypatch.setattr(devices, "find_devices", lambda: ())
    monkeypatch.setitem(sys.modules, "torch", None)
    assert _levels(environment.gpus()) == ["ok"]


def test_where_nothing_can_look_for_gpus_that_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    _only(environment.gpus(), "note", "GPUs are not looked for, as pynvml is not installed", "'.[train]'")


# The folder.


def test_a_folder_that_is_no_project_says_where_the_project_is(project):
    inside = project / "data"
    inside.mkdir()
    found = _only(doctor.examine(inside), "blocks", "there is no params.yaml and no dvc.yaml")
    assert f"go to {project}" in found.remedy


def test_settings_that_a_stage_would_refuse_block(project):
    assert _levels(folder.settings(project)) == ["ok"]
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("max_rejected_share", "max_rejected_shares"))
    _only(folder.settings(project), "blocks", "did you mean 'max_rejected_share'", "git diff")


def test_a_folder_that_cannot_be_written_and_a_full_disk_block(project, monkeypatch):
    assert _levels(folder.rights(project))[0] in ("ok", "note")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1e8))
    monkeypatch.setattr(os, "access", lambda path, _: path != project / ".dvc")
    findings = list(folder.rights(project))
    assert _levels(findings) == ["blocks", "blocks"]
    assert str(project / ".dvc") in findings[0].text
    assert "0.1 GB free" in findings[1].text


def test_a_disk_that_fills_up_is_worth_a_note(project, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2e9))
    _only(folder.rights(project), "note", "2.0 GB free", "dvc gc")


# Signatures.


def test_a_project_signs_when_its_first_training_does(project):
    assert [each.text for each in trust.signatures()] == ["no key signs models yet; the first training makes one"]
    chain.append({"decision": "refused"})
    (said,) = trust.signatures()
    assert said.level == "ok" and "signs models and promotions" in said.text
    keys.file().chmod(0o644)
    _only(trust.signatures(), "blocks", "others can read it (644); run: chmod 600")
    keys.file().unlink()
    _only(trust.signatures(), "note", "no key is here to sign with", "flowsculpt keys init")


def test_a_log_of_promotions_that_was_changed_blocks(project):
    chain.append({"decision": "refused"})
    chain.place().write_bytes(chain.place().read_bytes().replace(b"refused", b"promoted"))
    said, fault = trust.signatures()
    assert (said.level, fault.level) == ("ok", "blocks")
    assert "line 1 is forged or was changed" in fault.text and "from a backup" in fault.remedy


# Git.


def test_a_repository_with_a_commit_and_an_identity_is_fine(repository):
    assert _levels(folder.git(repository)) == ["ok"]


def test_without_git_the_command_that_makes_a_repository_is_named(project):
    _only(folder.git(project), "blocks", "is no git repository", "git init")


def test_a_machine_without_git_blocks(project, monkeypatch):
    monkeypatch.setenv("PATH", "")
    _only(folder.git(project), "blocks", "git is not installed")


def test_nobody_who_commits_and_no_commit_are_worth_a_note(repository):
    _git(repository, "config", "--unset", "user.email")
    _only(folder.git(repository), "note", "who commits", "user.email")
    _git(repository, "config", "user.email", "a@b.example")
    _git(repository, "update-ref", "-d", "HEAD")
    _only(folder.git(repository), "note", "no commit yet", "git commit")


# DVC.


def test_a_fresh_clone_has_nothing_to_say_of_dvc(project):
    assert _levels(folder.dvc(project)) == ["ok"]


def test_a_folder_without_dvc_blocks(tmp_path):
    _only(folder.dvc(tmp_path), "blocks", "DVC is not initialised here")


def test_a_clone_that_was_moved_is_found(project, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "site-cache"
    (project / ".dvc" / "config.local").write_text(f"[core]\n    site_cache_dir = {elsewhere}\n")
    here = project / ".dvc" / "site-cache"
    _only(folder.dvc(project), "note", "the clone was moved", f"core.site_cache_dir {here}")
    (project / ".dvc" / "config.local").write_text(f"[core]\n    site_cache_dir = {here}\n")
    assert _levels(folder.dvc(project)) == ["ok"]


def test_a_cache_of_pickles_that_others_may_enter_blocks(project):
    (project / ".dvc" / "site-cache").mkdir()
    (project / ".dvc" / "site-cache").chmod(0o755)
    _only(folder.dvc(project), "blocks", "other users can get in", "delete it")


def test_a_file_that_a_full_disk_left_blocks(project):
    (project / "dvc.lock").write_text("")
    _only(folder.dvc(project), "blocks", "dvc.lock cannot be read", "flows.runtime.healing")


def test_who_holds_the_locks_is_named(project):
    (project / ".dvc" / "tmp").mkdir()
    with working_copy.alone(project, "flow run brave-fox", "refuse", print):
        _only(folder.dvc(project), "note", "flow run brave-fox", "wait for it")
    with (project / ".dvc" / "tmp" / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        _only(folder.dvc(project), "note", "another dvc process is at work")


def test_a_process_that_is_gone_and_claims_files_is_named(project):
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    (project / ".dvc" / "tmp").mkdir()
    claims = {
        "write": {"a": {"pid": process.pid, "cmd": "dvc repro"}},
        "read": {"b": [{"pid": os.getpid(), "cmd": "x"}]},
    }
    (project / ".dvc" / "tmp" / "rwlock").write_text(json.dumps(claims))
    _only(folder.dvc(project), "note", f"process {process.pid} is gone", "the next dvc command")


# The stores.


def _database(path, revision, location=""):
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("INSERT INTO alembic_version VALUES (?)", [revision])
        database.execute("CREATE TABLE experiments (name TEXT, artifact_location TEXT)")
        database.execute("INSERT INTO experiments VALUES (?, ?)", [tracking.project_names().experiment, location])
        database.commit()
    return path


def _newest(package, migrations):
    known, (newest,) = stores._revisions(package, migrations)
    return newest, next(iter(known - {newest}))


@pytest.mark.parametrize(
    ("check", "place", "package", "migrations", "older"),
    [
        (stores.mlflow, "mlflow.db", "mlflow", stores.MLFLOW_MIGRATIONS, "blocks"),
        (stores.prefect, ".prefect/prefect.db", "prefect", stores.PREFECT_MIGRATIONS, "note"),
    ],
    ids=["mlflow", "prefect"],
)
def test_a_store_must_open_and_have_the_tables_of_the_installed_tool(project, check, place, package, migrations, older):
    path, (newest, before) = project / place, _newest(package, migrations)
    assert _levels(check(project)) == ["ok"]
    for revision, level in ((newest, "ok"), (before, older), ("f00d", "blocks")):
        _database(path, revision, f"file://{project}/mlruns")
        assert _levels(check(project)) == [level], revision
        path.unlink()
    path.write_bytes(b"no database at all" * 300)
    _only(check(project), "blocks", "cannot be read: file is not a database", ".broken")


def test_files_of_runs_that_lie_where_the_project_was_block(project):
    newest, _ = _newest("mlflow", stores.MLFLOW_MIGRATIONS)
    _database(project / "mlflow.db", newest, "file:///gone/mlruns")
    _only(stores.mlflow(project), "blocks", "the project was moved", "flowsculpt doctor --relocate")


def test_a_store_elsewhere_is_named_without_its_password_and_not_asked(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://user:hidden@tracking.example")
    (found,) = stores.mlflow(project)
    assert found.level == "ok"
    assert "tracking.example" in found.text and "hidden" not in found.text


# Servers.


@pytest.mark.parametrize(
    ("address", "answers", "level", "said"),
    [
        ("", False, "ok", "none runs"),
        ("https://prefect.example/api", None, "ok", "not asked"),
        ("http://127.0.0.1:4200/api", True, "ok", "answers"),
        ("http://127.0.0.1:4200/api", False, "blocks", "does not answer"),
    ],
)
def test_a_server_that_is_named_must_answer_and_no_other_machine_is_asked(
    project, monkeypatch, address, answers, level, said
):
    monkeypatch.setattr(reach, "answers", lambda _: pytest.fail("asked") if answers is None else answers)
    monkeypatch.setenv("PREFECT_API_URL", address)
    (found,) = stores.servers(project)
    assert (found.level, said in found.text) == (level, True), found


# The whole.


def test_the_program_ends_with_1_where_something_blocks_and_changes_nothing(repository, monkeypatch, capsys):
    monkeypatch.setattr(environment, "gpus", lambda: iter(()))
    before = sorted(repository.rglob("*"))
    assert doctor.main([]) == 0
    assert capsys.readouterr().out.endswith("nothing blocks a run\n")
    (repository / "dvc.lock").write_text("")
    assert doctor.main([]) == 1
    said = capsys.readouterr().out
    assert "blocks  DVC:" in said and "        -> run `python -m flows.runtime.healing`" in said
    assert said.endswith("1 blocks a run\n")
    (repository / "dvc.lock").unlink()
    assert sorted(repository.rglob("*")) == before


def test_no_heavy_package_is_imported_to_look_at_a_fresh_clone(repository):
    heavy = {"mlflow", "torch", "dvc", "prefect"}
    script = f"import sys, flows.doctor; flows.doctor.main([]); print(*{heavy} & {{*sys.modules}})"
    environ = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", script], cwd=repository, env=environ, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "", done


BARE = """
import sys


class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Blocker())
{before}
from flows import doctor

sys.exit(doctor.main([]))
"""


@pytest.mark.parametrize(
    ("blocked", "before", "said"),
    [
        (["psutil"], "", "package psutil is not installed"),
        (["pydantic", "yaml"], "", "is not installed"),
        (["packaging"], "", "package packaging is not installed"),
        (["numpy", "psutil", "pydantic"], "sys.version_info = (3, 10, 4)", "Python 3.10.4 is older than 3.11"),
    ],
)
def test_an_environment_in_which_nothing_can_be_imported_gets_one_plain_line(project, blocked, before, said):
    script = BARE.format(blocked=blocked, before=before)
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    (line,) = done.stdout.splitlines()
    assert line.startswith("blocks") and said in line
