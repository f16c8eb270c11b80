"""The shipped model scores, explains and serves where no extra is installed: no PyTorch, no Prefect, no DVC."""

import json
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.champions import serve
from pipeline.artifacts import paths
from pipeline.artifacts.tables import read_table
from pipeline.base.errors import ArtifactError
from pipeline.serving import bundle_parts
from pipeline.serving.bundle import Bundle
from pipeline.serving.reasons import Explainer
from tests.stages.conftest import shipped_settings

TRAINED = ("ingest", "validate", "preprocess", "stage1", "stage2", "calibrate")
ABSENT = """
import sys
from pipeline.base.extras import BROUGHT_BY
sys.modules.update(dict.fromkeys(BROUGHT_BY))  # an import of any fails
"""
JUDGED = f"""{ABSENT}
import json
from pathlib import Path
import pyarrow.parquet as pq
from pipeline.serving.bundle import Bundle
from pipeline.serving.reasons import Explainer
bundle, records = Bundle.load(Path(sys.argv[1])), pq.read_table("records.parquet")
found = Explainer(bundle).explain(records)
families = [each.family for each in found]
reasons = [[cause.reason.text for cause in each.causes] for each in found]
print(json.dumps([bundle.predict(records).score.tolist(), families, reasons]))
"""
CALLED = f"""{ABSENT}
from flows.cli import app
app(sys.argv[1:])
"""


@pytest.fixture
def shipped(project):
    """The project with the settings of params.yaml, trained."""
    for section in ("preprocess", "stage1", "stage2", "calibrate"):
        project.params[section] = shipped_settings()[section]
    project.set("preprocess.seed", 0)
    project.run(*TRAINED)
    return project


def run(script, *given):
    return subprocess.run([sys.executable, "-c", script, *given], capture_output=True, text=True)


def test_the_shipped_model_needs_no_torch(shipped, tmp_path):
    bundle = Bundle.of_project()
    assert not bundle_parts.needs_torch(bundle.model.encoder, bundle.model.detector, bundle.model.head)
    records = read_table(paths.RECORDS).slice(0, 60)
    score = bundle.predict(records).score
    pq.write_table(records, tmp_path / "records.parquet")
    bundle.save(tmp_path / "saved")
    done = run(JUDGED, "saved")
    assert done.returncode == 0, done.stderr
    found, families, reasons = json.loads(done.stdout)
    np.testing.assert_array_equal(found, score)
    explained = Explainer(bundle).explain(records)
    assert families == [each.family for each in explained]
    assert reasons == [[cause.reason.text for cause in each.causes] for each in explained]
    _scores_a_file(bundle, shipped.file("DDos"))


def _scores_a_file(bundle, file):
    serve(bundle)
    for program, said in {"score": "records scored by version 1 (champion)", "explain": "p-value"}.items():
        done = run(CALLED, program, str(file))
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
    for others in (["incidents"], ["deliver"], ["read", str(file)], ["triage", "--help"], ["watch", "--help"]):
        assert run(CALLED, *others).returncode == 0
    assert run(f"{ABSENT}\nimport flows.triage.app, flows.triage.server, flows.watch, flows.label").returncode == 0


@pytest.mark.parametrize("program", ["train", "promote", "serve", "drift", "reproduce"])
def test_what_takes_an_extra_says_which(program, project):
    done = run(CALLED, program, *(["1"] if program == "reproduce" else []))
    assert done.returncode == 1
    assert "is not installed here, and this needs it; in a clone run `pip install --editable '.[" in done.stderr


def test_a_model_that_needs_torch_says_so(prepared, tmp_path):
    prepared.set("stage1.loss", "clad")
    prepared.run("stage1", "stage2", "calibrate")
    bundle = Bundle.of_project()
    assert bundle_parts.needs_torch(bundle.model.encoder)
    bundle.save(tmp_path / "saved")
    done = run(
        f"{ABSENT}\nfrom pathlib import Path\nfrom pipeline.serving.bundle import Bundle\nBundle.load(Path('saved'))"
    )
    assert ArtifactError.__name__ in done.stderr
    assert "the loss clad has no form; and PyTorch is not installed" in done.stderr
