"""What stands in for the ensemble where no record has a label."""

from typing import Any

import pytest

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.config import load
from pipeline.settings.sections import SECTIONS
from pipeline.stages.unlabelled import of_labels


@pytest.mark.parametrize(
    ("labels", "dataset", "unlabelled", "expected"),
    [
        ("none", "table", "auto", "robust"),
        ("none", "cicids2017 as published", "auto", "ensemble"),
        ("none", "cicids2017 as published", "robust", "robust"),
        ("none", "table", "ensemble", "ensemble"),
        ("full", "table", "robust", "ensemble"),
        ("partial", "table", "auto", "ensemble"),
    ],
)
def test_labels_and_the_kind_of_records_decide(
    project: Any, labels: str, dataset: str, unlabelled: str, expected: str
) -> None:
    project.set("stage2.detector", "ensemble")
    project.set("stage2.unlabelled", unlabelled)
    settings = of_labels(load(SECTIONS["stage2"]), {"labels": labels, "dataset": dataset})  # type: ignore[arg-type]
    assert settings.detector == expected


def test_another_detector_is_never_replaced(project: Any) -> None:
    project.set("stage2.detector", "mahalanobis")
    project.set("stage2.unlabelled", "robust")
    settings = of_labels(load(SECTIONS["stage2"]), {"labels": "none", "dataset": "table"})  # type: ignore[arg-type]
    assert settings.detector == "mahalanobis"


def test_the_model_says_which_detector_it_has(project: Any, capsys: pytest.CaptureFixture[str]) -> None:
    project.set("ingest.labels", "none")
    project.set("stage2.detector", "ensemble")
    project.set("stage2.unlabelled", "robust")
    project.run("ingest", "preprocess", "stage1", "stage2")
    assert read_json(paths.DETECTOR.with_suffix(".json"))["detector"] == "robust"
    assert "no record has a label: robust is fitted in place of ensemble" in capsys.readouterr().out
