"""A version is made again in a second clone, from what is stored of it; the project is a toy with one quick stage."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from flows import reproduce
from flows.runtime import origin as collected
from flows.runtime import second_clone
from pipeline import tracking
from pipeline.serving import own_model, packaging, registry
from pipeline.serving.manifest import HashedFolder
from pipeline.serving.origin import ABOUT, CHANGES, FOLDER, LOCK, PARAMS
from pipeline.serving.registry import DIGEST
from pipeline.serving.trust import keys, origins, signing
from pipeline.serving.trust.statements import SIGNATURE
from pipeline.tracking import store as stores
from tests.flows.shell import dvc, sh

GRAPH = """
stages:
  train:
    cmd: python pipeline/train.py
    params: [ingest]
    deps: [data/raw, pipeline/train.py]
    outs: [data/model.json: {persist: true}]
"""
TRAIN = """
import json, pathlib
rows = sum(len(path.read_text().split()) for path in pathlib.Path("data/raw").glob("*.csv"))
with open("data/trained", "a") as file:
    file.write("x")
pathlib.Path("data/model.json").write_text(json.dumps({"rows": rows, "factor": 1}))
"""
BUNDLE = """
import hashlib, json, pathlib

class Bundle:
    @classmethod
    def of_project(cls):
        return cls()

    def save(self, folder):
        content = pathlib.Path("data/model.json").read_bytes()
        folder.mkdir()
        (folder / "model.json").write_bytes(content)
        told = {"format": 1, "dataset": "toy", "files": {"model.json": hashlib.sha256(content).hexdigest()}}
        (folder / "bundle.json").write_text(json.dumps(told, indent=2) + "\\n")
"""
IGNORED = "/data/raw/*\n!/data/raw/.gitkeep\n/data/model.json\n/data/trained\n__pycache__/\n/.flowsculpt/\n*.lock\n"
FILES = {
    "dvc.yaml": GRAPH,
    "params.yaml": "ingest: {seed: 1}\n",
    "pipeline/train.py": TRAIN,
    "pipeline/__init__.py": "",
    "pipeline/serving/__init__.py": "",
    "pipeline/serving/bundle.py": BUNDLE,
    ".gitignore": IGNORED.replace("*.lock\n", "/mlflow.db*\n"),
    "data/raw/.gitkeep": "",
}


class Team:
    """Two clones of a project, one MLflow, and one remote of DVC, which the first clone names by a relative path."""

    def __init__(self, folder):
        self.folder, self.first, self.second = folder, folder / "first", folder / "second"
        self.uri = f"sqlite:///{folder}/mlflow/store.db"
        (folder / "remote").mkdir()

    def build(self, patch):
        for name, text in FILES.items():
            (self.first / name).parent.mkdir(parents=True, exist_ok=True)
            (self.first / name).write_text(text)
        self.enter(patch, self.first)
        sh("git", "init", "-q", "-b", "main")
        for name, value in {"user.email": "a@b.c", "user.name": "a"}.items():
            sh("git", "config", name, value)
        dvc("init", "-q")
        dvc("remote", "add", "-q", "--default", "store", "../remote")
        sh("git", "add", ".")
        sh("git", "commit", "-q", "-m", "toy")
        sh("git", "clone", "-q", str(self.first), str(self.second))
        (self.first / "data/raw/x.csv").write_text("a b c\n")
        (self.first / "pipeline/train.py").write_text(TRAIN.replace('"factor": 1', '"factor": 2'))  # never committed
        dvc("repro", "-q")
        self.origin = collected.of_project(self.first)
        self.model = (self.first / "data/model.json").read_bytes()
        self.number = self.register(self.origin)
        shutil.copy(self.first / "data/trusted_keys.json", self.second / "data/trusted_keys.json")
        self.commit = self.origin.commit

    def enter(self, patch, clone):
        patch.chdir(clone)
        patch.setenv("MLFLOW_TRACKING_URI", self.uri)
        for name in (tracking.PARENT_VARIABLE, tracking.ROOT_VARIABLE, "DVC_ROOT", "MLFLOW_RUN_ID", keys.VARIABLE):
            patch.delenv(name, raising=False)

    def register(self, origin, model=None, signed=True, **tags):
        """A version of this model and origin, as the store would hold it; its number."""
        client = stores.client()
        if not client.search_registered_models():
            client.create_registered_model(own_model.name())
        stored = self.folder / f"stored{len(registry.versions())}"
        sealed = HashedFolder({"dataset": "toy"}, {"model.json": model or self.model})
        sealed.save(stored / packaging.BUNDLE)
        for name, content in (origin.encoded() if origin else {}).items():
            (stored / FOLDER).mkdir(exist_ok=True)
            (stored / FOLDER / name).write_bytes(content)
        told = {f"flowsculpt.{name}": value for name, value in tags.items()} | {DIGEST: sealed.digest}
        if signed:
            code = packaging.code_digest(stored)
            with pytest.MonkeyPatch.context() as patch:
                if (key := self.first / ".flowsculpt/signing.key").is_file():
                    patch.setenv(keys.VARIABLE, key.read_text())  # the first clone alone has one
                told[SIGNATURE] = signing.model(own_model.name(), sealed.digest, code, "", {})
        made = client.create_model_version(own_model.name(), stored.as_uri(), tags=told)
        return made.version


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        team = Team(tmp_path_factory.mktemp("team"))
        team.build(patch)
        assert reproduce.main([str(team.number), "--push"]) == 0
        return team


@pytest.fixture
def team(made, monkeypatch):
    """Its second clone, without anything in DVC's cache."""
    made.enter(monkeypatch, made.second)
    shutil.rmtree(made.second / ".dvc/cache", ignore_errors=True)
    yield made
    assert sh("git", "status", "--short") == "?? data/trusted_keys.json\n"
    assert not (made.second / second_clone.PLACE).exists()
    assert not (made.second / "data/model.json").exists() and not (made.second / "dvc.lock").exists()


def refused(capsys, *given):
    assert reproduce.main([*map(str, given)]) == 1
    return capsys.readouterr().err


def test_another_clone_makes_the_same_model_of_what_was_pushed(team, capsys):
    assert reproduce.main([str(team.number)]) == 0
    said = capsys.readouterr()
    assert f"commit {team.commit[:12]} with 1 changed file, on " in said.out
    assert "the same model came out, digest " in said.out
    assert "Running stage" not in said.err  # its output was pulled


def test_every_stage_runs_on_the_input_that_was_pushed_if_that_is_asked_for(team, capsys):
    assert reproduce.main([str(team.number), "--rerun"]) == 0
    said = capsys.readouterr()
    assert "the same model came out" in said.out and "Running stage 'train'" in said.err


def test_a_stage_whose_output_the_remote_lacks_runs(team, capsys):
    digest = hashlib.md5(team.model).hexdigest()
    kept = team.folder / "remote/files/md5" / digest[:2] / digest[2:]
    kept.rename(team.folder / "away")
    assert reproduce.main([str(team.number)]) == 0
    assert "Running stage 'train'" in capsys.readouterr().err
    (team.folder / "away").rename(kept)


def test_what_differs_is_named(team, capsys):
    number = team.register(team.origin, model=b'{"rows": 3, "factor": 3}')
    assert reproduce.main([str(number)]) == reproduce.DIFFERS
    assert "another model came out" in (said := capsys.readouterr().out)
    assert "  model.json differs\n" in said


def test_the_origin_is_covered_by_the_signature(team, capsys):
    number = team.register(team.origin)
    version = registry.find_version(number)
    assert origins.read(version) == team.origin
    stored = Path(stores.client().get_model_version_download_uri(version.model, str(number)).removeprefix("file://"))
    for name in (CHANGES, PARAMS, LOCK, ABOUT):
        before = (stored / FOLDER / name).read_bytes()
        (stored / FOLDER / name).write_bytes(before + b"\n")
        assert "is not what was signed" in refused(capsys, number)
        (stored / FOLDER / name).write_bytes(before)
    assert "is not signed" in refused(capsys, team.register(team.origin, signed=False))


def test_what_is_lacking_is_said(team, capsys, monkeypatch):
    assert "registered before versions kept theirs" in refused(capsys, team.register(None))
    unknown = team.register(replace(team.origin, commit="1" * 40))
    assert f"does not have the commit {'1' * 40}; run `git fetch --all`" in refused(capsys, unknown)
    older = team.register(replace(team.origin, libraries={**team.origin.libraries, "torch": "1.0"}))
    assert "it was made with torch 1.0, and here is 2." in refused(capsys, older)
    assert reproduce.main([str(older), "--other-libraries"]) == 0
    capsys.readouterr()
    gaps = team.register(replace(team.origin, gaps=("git did not track pipeline/mine.py",)))
    assert "cannot be made again: git did not track pipeline/mine.py" in refused(capsys, gaps)
    anew = team.register(team.origin, recalibrates="7")
    assert "is version 7 with thresholds that were fitted anew" in refused(capsys, anew)
    assert "there is no version 'champoin'" in refused(capsys, "champoin")


def test_an_input_that_the_remote_does_not_hold_is_named(team, capsys, tmp_path):
    local = team.second / ".dvc" / "config.local"
    local.write_text(f"['remote \"store\"']\n    url = {tmp_path}\n")
    said = refused(capsys, team.number, "--rerun")
    assert "the remote store does not hold the input data/raw (md5 " in said and "--push" in said
    local.unlink()


def test_no_remote_is_said_with_the_command_that_sets_one(team, capsys):
    config = team.second / ".dvc" / "config"
    before = config.read_text()
    config.write_text("[core]\n    analytics = false\n")
    assert "no remote of DVC is set" in (said := refused(capsys, team.number)) and "dvc remote add --default" in said
    config.write_text(before)


def test_an_input_that_has_changed_is_not_called_pushed(made, capsys, monkeypatch):
    made.enter(monkeypatch, made.first)
    raw = made.first / "data/raw/x.csv"
    before = raw.read_bytes()
    raw.write_text("a b\n")
    assert "the input data/raw has changed: its hash is " in refused(capsys, made.number, "--push")
    raw.write_bytes(before)


# What is collected.


@pytest.fixture
def first(made, monkeypatch):
    made.enter(monkeypatch, made.first)
    return made.first


def test_a_diff_that_is_too_long_is_cut_and_that_is_a_gap(first, monkeypatch):
    monkeypatch.setattr(collected, "MOST_CHANGES", 100)
    found = collected.of_project(first)
    assert len(found.files[CHANGES]) == 100
    assert "the changes to the commit were" in found.gaps[0] and "the first 100 were kept" in found.gaps[0]


def test_a_source_that_git_does_not_track_is_a_gap(first):
    (first / "pipeline" / "mine.py").touch()
    assert collected.of_project(first).gaps == ("git did not track pipeline/mine.py",)
    (first / "pipeline" / "mine.py").unlink()


@pytest.mark.parametrize(("section", "gaps"), [("alerts", 0), ("ingest", 1)])
def test_a_secret_is_taken_out_and_is_a_gap_where_a_stage_reads_it(first, section, gaps):
    before = (first / "params.yaml").read_text()
    (first / "params.yaml").write_text(f"{before}{section}: {{url: 'https://user:p4ssword@host/x'}}\n")
    (first / "params.yaml").write_text((first / "params.yaml").read_text().replace("ingest: {seed: 1}\ni", "i"))
    found = collected.of_project(first)
    (first / "params.yaml").write_text(before)
    assert all(b"p4ssword" not in content for content in found.encoded().values())
    assert b"https://host/x" in found.files[PARAMS]
    assert found.gaps == ("params.yaml held a secret, which was taken out",) * gaps


def test_a_project_without_a_commit_registers_all_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = collected.of_project(tmp_path)
    assert found.gaps == ("no git commit was known", "there was no dvc.lock", "there was no params.yaml")
    told = json.loads(found.encoded()[ABOUT])
    assert told["libraries"]["python"].startswith("3.") and "torch" in told["libraries"]
