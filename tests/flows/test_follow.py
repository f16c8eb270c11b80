"""DVC follows each path of a list: when the files of one change, ingest is stale."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.runtime import dvc, follow
from pipeline.settings.followed import followed

ROOT = Path(__file__).parents[2]
SHIPPED = (ROOT / "dvc.yaml").read_text("utf-8")


def test_the_shipped_graph_follows_the_shipped_path_and_comes_back_to_it():
    assert followed(SHIPPED, "data/raw") == SHIPPED
    listed = followed(SHIPPED, ("a", "b", "c"))
    deps, shipped = (yaml.safe_load(text)["stages"]["ingest"]["deps"] for text in (listed, SHIPPED))
    paths = ["${ingest.path[0]}", "${ingest.path[1]}", "${ingest.path[2]}"]
    assert shipped[0] == "${ingest.path}" and deps == paths + shipped[1:]
    assert followed(listed, ("a",)).count("${ingest.path") == SHIPPED.count("${ingest.path")
    assert followed(listed, "data/raw") == SHIPPED
    assert followed("stages: {}\n", ("a", "b")) == "stages: {}\n"


def test_a_named_file_of_drills_is_followed_by_evaluate_alone():
    named = followed(SHIPPED, "data/raw", "attacks.csv")
    stages = yaml.safe_load(named)["stages"]
    assert [name for name, stage in stages.items() if "${evaluate.drills.file}" in stage["deps"]] == ["evaluate"]
    assert followed(named, "data/raw", "attacks.csv") == named
    assert followed(named, "data/raw") == SHIPPED


def test_the_file_is_written_only_where_it_changes(tmp_path):
    assert not follow.follow(tmp_path)
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    assert not follow.follow(tmp_path)
    dvc.write_settings(tmp_path / "params.yaml", {"ingest.path": ["one", "two"]})
    assert follow.follow(tmp_path) and not follow.follow(tmp_path)
    assert "- ${ingest.path[1]}\n" in (tmp_path / "dvc.yaml").read_text("utf-8")


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    (tmp_path / "params.yaml").write_text("ingest:\n  path:\n  - one.csv\n  - two.csv\n")
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  ingest:\n    cmd: cat *.csv > out\n    deps:\n    - ${ingest.path}\n    outs: [out]\n"
    )
    for name in ("one.csv", "two.csv"):
        (tmp_path / name).write_text(name)
    subprocess.run([sys.executable, "-m", "dvc", "init", "--no-scm", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def test_dvc_sees_a_change_under_the_second_path(project):
    follow.follow(project)
    assert dvc.call(["repro", "--quiet"], print, {}, project)[0] == 0
    (project / "two.csv").write_text("more has arrived")
    code, lines = dvc.call(["status"], print, {}, project)
    assert code == 0 and any("two.csv" in line for line in lines), lines
