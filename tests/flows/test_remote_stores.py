"""DVC's remote and MLflow's artefacts in an object store, by settings of theirs alone."""

import os
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from pipeline import tracking
from pipeline.tracking import retention
from pipeline.tracking import store as stores
from tests.conftest import KEY, SECRET
from tests.flows.shell import dvc, sh


@pytest.fixture
def clone(bucket, tmp_path, monkeypatch):
    """A clone with a remote in the bucket, and one file that DVC keeps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    sh("git", "init", "-q")
    dvc("init", "-q")
    dvc("remote", "add", "--default", "store", "s3://bucket/dvc")
    return tmp_path


def test_what_dvc_keeps_goes_to_a_bucket_and_comes_back(clone, bucket):
    Path("records.csv").write_text("a,b\n1,2\n")
    dvc("add", "-q", "records.csv")
    dvc("push", "-q")
    assert next(each.key for each in bucket.objects.all()).startswith("dvc/files/md5/")
    shutil.rmtree(".dvc/cache")
    Path("records.csv").unlink()
    dvc("pull", "-q")
    assert Path("records.csv").read_text() == "a,b\n1,2\n"
    assert SECRET not in Path(".dvc/config").read_text()


def test_dvc_runs_a_stage_again_when_an_object_that_it_reads_has_changed(clone, bucket):
    bucket.put_object(Key="raw/x.csv", Body=b"a\n1\n")
    Path("params.yaml").write_text(yaml.safe_dump({"ingest": {"path": "s3://bucket/raw"}}))
    command = f"{sys.executable} -c \"open('ran','a').write('x'); open('out','w').write('1')\""
    graph = {"stages": {"ingest": {"cmd": command, "deps": ["${ingest.path}"], "outs": ["out"]}}}
    Path("dvc.yaml").write_text(yaml.safe_dump(graph))
    ran = []
    for content in (b"a\n1\n", b"a\n1\n", b"a\n2\n"):
        if content != b"a\n1\n":
            bucket.put_object(Key="raw/x.csv", Body=content)
        dvc("repro", "-q")
        ran.append(len(Path("ran").read_text()))
    assert ran == [1, 1, 2]


def test_files_of_runs_lie_in_a_bucket_and_can_be_pruned_there(bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (tracking.PARENT_VARIABLE, "DVC_ROOT", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "params.yaml").touch()
    monkeypatch.setenv(stores.ARTEFACTS_VARIABLE, "s3://bucket/mlflow")
    (tmp_path / "table.csv").write_text("a\n1\n")
    parents = []
    for name in ("old", "new"):
        parents.append(tracking.open_parent(name, {}))
        with monkeypatch.context() as patch:
            patch.setenv(tracking.PARENT_VARIABLE, parents[-1])
            with tracking.stage("ingest", {}, {}, lambda name=name: name) as run:
                run.file(tmp_path / "table.csv", "deep")
        tracking.close_parent(parents[-1])
    found = [each.key for each in bucket.objects.all()]
    assert len(found) == 2 and all(key.startswith("mlflow/") and key.endswith("deep/table.csv") for key in found)
    assert not (tmp_path / "mlruns").exists()
    (removal,) = retention.files_of_runs(1, 0, 0.0)
    assert (removal.name, removal.size, removal.count) == ("old", 4, 1)
    assert removal.remove()
    assert len([*bucket.objects.all()]) == 1
    database = (tmp_path / "mlflow.db").read_bytes()
    assert KEY.encode() not in database and SECRET.encode() not in database
    assert not os.environ.get("MLFLOW_S3_ENDPOINT_URL")
