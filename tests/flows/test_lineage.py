"""From an alert back to the data: whatever one starts from, the chain names all that it hangs on."""

import json
import subprocess
import sys
from functools import partial

import pyarrow as pa
import pytest

from flows import lineage
from pipeline import tracking
from pipeline.artifacts import paths
from pipeline.artifacts.files import write_json
from pipeline.artifacts.tables import TableWriter
from pipeline.base.errors import ArtifactError
from pipeline.serving import own_model
from pipeline.serving.alerts.schema import SCHEMA
from pipeline.tracking import store as stores
from tests.serving.alerts import made as made_alerts

LOCK = """
schema: '2.0'
stages:
  ingest:
    cmd: python -m pipeline.stages.ingest
    deps:
    - {path: data/raw, hash: md5, md5: aaaa.dir, size: 1}
    - {path: pipeline/base/samples.py, hash: md5, md5: bbbb, size: 1}
    params: {params.yaml: {ingest: {dataset: synthetic, synthetic: {seed: 3}}}}
    outs:
    - {path: data/interim/records.parquet, hash: md5, md5: cccc, size: 1}
  preprocess:
    cmd: python -m pipeline.stages.preprocess
    deps:
    - {path: data/interim/records.parquet, hash: md5, md5: cccc, size: 1}
    params: {params.yaml: {preprocess: {seed: 0}}}
    outs:
    - {path: data/processed, hash: md5, md5: dddd.dir, size: 1}
"""


class Life:
    """Two pipeline runs: the first made calibrate, the second took it from the cache, and was registered."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "params.yaml").touch()
        (folder / "dvc.lock").write_text(LOCK)
        for output in paths.OUTPUTS["calibrate"]:
            write_json(output if output.suffix else output / "thresholds.json", {})
        self.first, self.second = (self.run(name) for name in ("first", "second"))
        tracking.link(self.second, "calibrate", paths.content_hash("calibrate"))
        self.child = tracking.children(self.first)["calibrate"].run_id
        client = stores.client()
        client.create_registered_model(own_model.name())
        tags = {"flowsculpt.digest": "f" * 64, "flowsculpt.flow_run": "a-flow-run", **lineage.provenance()}
        client.create_model_version(own_model.name(), "file:///nowhere", self.second, tags)
        client.set_registered_model_alias(own_model.name(), "champion", "1")
        self.scored = folder / "data" / "scored" / "monday.parquet"
        self.score(self.scored, "1", "f" * 64)

    def run(self, name):
        parent = tracking.open_parent(name, {"flowsculpt.flow_run": f"flow-{name}", lineage.GIT_COMMIT: "c0ffee"})
        if name == "first":
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv(tracking.PARENT_VARIABLE, parent)
                outputs = partial(paths.content_hash, "calibrate")
                with tracking.stage("calibrate", {}, {}, outputs):
                    pass
        tracking.close_parent(parent)
        return parent

    def score(self, path, version, digest):
        metadata = {"version": version, "digest": digest, "source_sha256": "5" * 64, "flow_run": "scoring-run"}
        schema = pa.schema([("score", pa.float64())], {f"flowsculpt.{key}": value for key, value in metadata.items()})
        with TableWriter(path, schema) as writer:
            writer.write(schema.empty_table())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("life")
    with pytest.MonkeyPatch.context() as patch:
        _alone(patch, folder)
        return Life(folder)


@pytest.fixture
def life(made, monkeypatch):
    _alone(monkeypatch, made.folder)
    return made


def _alone(patch, folder):
    patch.chdir(folder)
    for name in (tracking.PARENT_VARIABLE, "DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
        patch.delenv(name, raising=False)


def assert_whole(chain, life):
    """Everything from the pipeline run down to the raw input is there."""
    assert (chain["run"]["id"], chain["run"]["flow_run"]) == (life.second, "flow-second")
    assert chain["run"]["git_commit"] == "c0ffee"
    (stage,) = chain["stages"]
    assert (stage["stage"], stage["state"], stage["run"], stage["made_in"]) == (
        "calibrate",
        "cached",
        life.child,
        life.first,
    )
    assert stage["outputs"] == paths.content_hash("calibrate")
    assert chain["data"]["inputs"] == {"data/raw": "md5:aaaa.dir"}
    assert chain["data"]["outputs"]["preprocess"] == {"data/processed": "md5:dddd.dir"}
    assert len(chain["data"]["dvc_lock"]) == 64
    assert chain["doubts"] == []


@pytest.mark.parametrize("what", ["champion", "1"])
def test_from_a_version(life, what):
    chain = lineage.trace(what)
    assert_whole(chain, life)
    assert (chain["version"]["number"], chain["version"]["aliases"]) == (1, ["champion"])
    assert json.loads(chain["version"]["tags"]["seeds"]) == {"ingest.synthetic.seed": 3, "preprocess.seed": 0}


def test_from_a_scored_file(life):
    chain = lineage.trace(str(life.scored))
    assert_whole(chain, life)
    assert (chain["scored"]["source_sha256"], chain["scored"]["flow_run"]) == ("5" * 64, "scoring-run")


def test_from_an_alert_whose_records_a_watch_is_still_writing(life, capsys):
    scored = made_alerts.scored([(0, "10.0.0.1", "10.0.0.2", 80, 0.001)])
    alerts = made_alerts.alerts(scored, model=own_model.name(), model_digest="f" * 64)
    path = own_model.scored() / "alerts" / "conn.log-0-9-v1.000001.parquet"
    with TableWriter(path, SCHEMA) as writer:
        writer.write(alerts)
    try:
        key = alerts.column("alert")[0].as_py()
        chain = lineage.trace(key)
        (doubt,) = chain["doubts"]
        assert "flowsculpt watch is still writing it" in doubt
        assert_whole(chain | {"doubts": []}, life)
        assert (chain["alert"]["key"], chain["version"]["number"]) == (key, 1)
        assert lineage.main([key]) == 0 and "still writing" in capsys.readouterr().out
    finally:
        path.unlink()


def test_from_a_pipeline_run_or_its_first_digits(life):
    chain = lineage.trace(life.second)
    assert_whole(chain, life)
    assert [version["number"] for version in chain["versions"]] == [1]
    assert lineage.trace(life.second[:12]) == chain


def test_from_a_stage_run_and_from_what_it_made(life):
    chain = lineage.trace(life.child)
    assert (chain["stage_run"]["id"], chain["run"]["id"], chain["versions"]) == (life.child, life.first, [])
    by_file = lineage.trace("data/models/thresholds.json")
    assert by_file["artefact"]["stage"] == "calibrate"
    assert by_file["run"] == chain["run"]


def test_the_text_holds_the_whole_chain(life, capsys):
    assert lineage.main([str(life.scored)]) == 0
    text = capsys.readouterr().out
    for part in ("monday.parquet", "5" * 64, "f" * 64, "champion", life.second, life.first, life.child, "flow-second"):
        assert part in text
    for part in ("c0ffee", "cached", "data/raw", "md5:aaaa.dir", "md5:cccc", "scoring-run"):
        assert part in text
    assert "doubt" not in text


def test_json_is_the_same_chain(life, capsys):
    assert lineage.main(["champion", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == lineage.trace("champion")


def test_a_scored_file_of_another_model_raises_a_doubt(life, capsys):
    other, gone = life.folder / "other.parquet", life.folder / "gone.parquet"
    life.score(other, "1", "e" * 64)
    life.score(gone, "7", "e" * 64)
    assert "another digest than version 1" in lineage.trace(str(other))["doubts"][0]
    assert lineage.main([str(gone)]) == 0
    assert "version 7 of flowsculpt, which scored it, is no longer in the registry" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("champoin", "did you mean 'champion'?"),
        ("2", "no version or alias.*champion, 1"),
        ("f" * 32, "no run of this store"),
        ("data/models/threshold.json", "did you mean 'data/models/thresholds.json'"),
        ("params.yaml", "no output of a stage"),
    ],
)
def test_what_nobody_knows_is_refused_with_what_there_is(life, what, says, capsys):
    with pytest.raises(ArtifactError, match=says):
        lineage.trace(what)
    assert lineage.main([what]) == 1
    assert capsys.readouterr().err.startswith("lineage: ")


def test_an_artefact_that_was_changed_by_hand_has_no_maker(life):
    path = life.folder / "data" / "models" / "thresholds.json"
    content = path.read_bytes()
    path.write_bytes(content + b"\n")
    try:
        with pytest.raises(ArtifactError, match="no run of this store made what lies there now"):
            lineage.trace("data/models/thresholds.json")
    finally:
        path.write_bytes(content)


def test_it_imports_no_prefect():
    code = "import sys, flows.lineage; sys.exit(bool({'prefect', 'torch', 'mlflow'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
