"""An edit makes those stages stale whose output the file can change, and no other."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.architecture.test_graph import GRAPH, ROOT, STAGES

# File -> the stages that a comment in it makes stale. test_graph.py compares the dependencies of every stage with its
# imports, file by file. Here DVC itself is asked, about a file of each kind.
EDITED = {
    "flows/training.py": [],
    "pipeline/tracking/pipeline_run.py": [],
    "pipeline/base/escaping.py": ["evaluate", "ingest", "validate"],
    "pipeline/base/machine.py": ["evaluate", "ingest", "validate"],
    "pipeline/base/secrets.py": ["evaluate", "ingest", "validate"],
    "pipeline/base/csv_cells.py": ["calibrate", "evaluate", "ingest", "preprocess", "stage1", "stage2", "validate"],
    "pipeline/serving/registry.py": [],
    "pipeline/serving/batch.py": [],
    "pipeline/artifacts/models.py": ["calibrate", "evaluate", "preprocess", "stage1", "stage2"],
    "pipeline/artifacts/confidence.py": ["evaluate", "ingest", "stage1", "stage2", "validate"],
    "pipeline/evaluation/drift.py": [],
    "pipeline/evaluation/recalibration.py": [],
    "pipeline/evaluation/promotion_gate/measure.py": [],
    "pipeline/reporting/figures/drift.py": [],
    "pipeline/reporting/figures/confidence.py": [],
    "pipeline/reporting/figures/style.py": ["evaluate", "ingest", "validate"],
    "pipeline/reporting/figures/models.py": ["evaluate"],
    "pipeline/reporting/confidence_table.py": ["evaluate", "ingest", "validate"],
    "pipeline/stages/reports/report.py": ["evaluate", "ingest", "validate"],
    "pipeline/stages/reports/scores.py": [],
    "pipeline/reporting/figures/evaluation.py": ["evaluate"],
    "pipeline/reporting/figures/latent.py": ["evaluate"],
    "pipeline/reporting/page/render.py": ["evaluate"],
    "pipeline/reporting/page/report.html": ["evaluate"],
    "pipeline/reporting/html/style.css": ["evaluate", "ingest", "validate"],
    "pipeline/validation/docs.html": ["validate"],
    "pipeline/evaluation/sections.py": ["evaluate"],
    "pipeline/datasets/nslkdd.py": ["evaluate", "ingest"],  # evaluate reads attacks of a named file
    "pipeline/datasets/findings.py": ["ingest"],
    "pipeline/validation/single_feature.py": ["validate"],
    "pipeline/preprocessing/contamination.py": ["preprocess"],
    "pipeline/preprocessing/recipe.py": ["calibrate", "evaluate", "preprocess"],
    "pipeline/models/encoders/cnn_transformer.py": ["evaluate", "stage1"],
    "pipeline/models/detectors/maf.py": ["evaluate", "stage2"],
    "pipeline/models/scoring.py": ["evaluate", "stage1", "stage2"],
    "pipeline/models/training/learner.py": ["stage1", "stage2"],
    "pipeline/calibration/thresholds/evt.py": ["calibrate", "stage1", "stage2"],
    "pipeline/calibration/fusion.py": ["calibrate", "evaluate"],
    "pipeline/calibration/groups.py": ["calibrate", "evaluate", "stage2"],
    "pipeline/stages/reports/calibrate.py": [],
    "pipeline/stages/reports/evaluate.py": ["evaluate"],
    "pipeline/stages/fitting.py": ["stage2"],
    "pipeline/stages/records.py": ["preprocess"],
}
STATUS = """
import json, sys
from pathlib import Path
from dvc.repo import Repo

Repo.init(no_scm=True).close()
with Repo() as repo:
    repo.commit(force=True)
    assert not repo.status(), repo.status()
    found = {}
    for file in map(Path, sys.argv[1:]):
        before = file.read_bytes()
        file.write_bytes(before + b"# a comment\\n")
        found[file.as_posix()] = sorted(repo.status())
        file.write_bytes(before)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def stale(tmp_path_factory):
    """Source file -> the stages that a comment in it makes stale."""
    project = tmp_path_factory.mktemp("project")
    for folder in ("pipeline", "flows"):
        shutil.copytree(ROOT / folder, project / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", "dvc.yaml", ".dvcignore"):
        shutil.copy(ROOT / name, project / name)
    raw = Path(yaml.safe_load((ROOT / "params.yaml").read_text())["ingest"]["path"])
    outs = [next(iter(out)) for stage in STAGES.values() for kind in ("outs", "metrics") for out in stage.get(kind, [])]
    read = [dep for stage in STAGES.values() for dep in stage["deps"] if dep.startswith("data/")]
    for path in (raw, *map(Path, [*outs, *read, *GRAPH["plots"]])):
        file = project / (path if path.suffix else path / "something.txt")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path.name)
    here = os.environ | {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(project / "site")}
    done = subprocess.run(
        [sys.executable, "-c", STATUS, *EDITED], cwd=project, env=here, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("file", "stages"), EDITED.items(), ids=EDITED)
def test_an_edit_retrains_what_it_can_change(stale, file, stages):
    assert stale[file] == stages
