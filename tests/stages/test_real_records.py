"""Some real records of each published file run through all seven stages, where they are at hand."""

import gzip
import json
from pathlib import Path

import pytest

from pipeline.artifacts import paths
from tests.settings import ROOT
from tests.stages.conftest import Project

DATA = ROOT.parent / "shared" / "data"
STAGES = ("ingest", "validate", "preprocess", "stage1", "stage2", "calibrate", "evaluate")


def thinned(files: Path, pattern: str, every: int, folder: Path) -> Path:
    """Each n-th line of the gzip'd files in ``files``, in ``folder``; skips the test where there are none."""
    if not files.is_dir():
        pytest.skip(f"the real records are absent: {files}")
    for file in files.glob(pattern):
        with gzip.open(file, "rb") as stream, gzip.open(folder / file.name, "wb") as sample:
            sample.writelines(line for number, line in enumerate(stream) if number % every == 0)
    return folder


def test_cicids2017(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    records = thinned(DATA / "cicids2017", "*.csv.gz", 8, tmp_path_factory.mktemp("records"))
    project.set("ingest.path", str(records))
    project.run(*STAGES)
    found = json.loads(paths.METRICS.read_text())
    assert found["synthetic"] is False
    for section in ("seen", "unseen"):
        part = found[section]
        assert all(0 <= part[key] <= 1 for key in ("auroc", "auprc", "tpr_at_fpr_1pct", "tpr_at_fpr_01pct"))
        assert set(part["thresholds"]) == {"p99.9", "p99", "p97", "p95"}
        assert all(
            {"precision", "recall", "f1", "f1_balanced", "fpr"} <= set(each) for each in part["thresholds"].values()
        )
        assert all(
            each["n"] > 0 and {"recall", "low", "high"} <= set(each["p99"])
            for each in part["recall_by_attack"].values()
        )
    unseen = set(found["unseen"]["recall_by_attack"])
    assert unseen <= {"bot", "infiltration", "dos_slowloris", "dos_slowhttptest"}
    assert not unseen & set(found["seen"]["recall_by_attack"])
    assert found["unseen"]["auroc"] > 0.5


def test_nslkdd(project: Project, tmp_path_factory: pytest.TempPathFactory) -> None:
    records = thinned(DATA / "nslkdd", "*.txt.gz", 16, tmp_path_factory.mktemp("records"))
    settings = {"ingest.dataset": "nslkdd", "ingest.path": str(records), "preprocess.unseen": ["mscan", "apache2"]}
    settings |= {"stage2.detector": "radon", "stage2.fit.epochs": 2}
    settings |= {"stage2.confidence.every_n_epochs": 1, "stage2.confidence.warm_up": 1}
    for name, value in settings.items():
        project.set(name, value)
    project.run(*STAGES)
    found = json.loads(paths.METRICS.read_text())
    assert set(found["unseen"]["recall_by_attack"]) == {"mscan", "apache2"}
    assert 0.5 < found["unseen"]["auroc"] <= 1
    assert (paths.REPORTS / "stage2" / "confidence_updates.json").exists()
