"""What the run of a whole pipeline tells: settings, headline figures, data set, page and a description."""

from typing import Any

import pytest
import yaml

from pipeline import config
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.settings.sections import SECTIONS
from pipeline.stages.reports import overview


class Run:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.logged: dict[str, dict[str, Any]] = {"metrics": {}, "settings": {}, "tags": {}}
        self.data: list[Any] = []
        self.files: list[str] = []

    def metrics(self, values: Any, step: Any = None) -> None:
        self.logged["metrics"] |= values

    def settings(self, values: Any) -> None:
        self.logged["settings"] |= values

    def tags(self, values: Any) -> None:
        self.logged["tags"] |= values

    def dataset(self, *values: Any) -> None:
        self.data.append(values)

    def file(self, path: Any) -> None:
        self.files.append(path.name)


def test_the_figures_of_metrics_json_whether_evaluate_ran_or_not(prepared: Any) -> None:
    prepared.run("evaluate")
    run = Run()
    overview.results(run)  # type: ignore[arg-type]
    metrics = read_json(paths.METRICS)
    told = run.logged["metrics"]
    for name in ("seen", "unseen"):
        assert told[f"{name}.recall.p99"] == metrics[name]["thresholds"]["p99"]["recall"]
        assert told[f"{name}.auroc"] == metrics[name]["auroc"]
        assert told[f"{name}.recall_at_1pct_fpr"] == metrics[name]["tpr_at_fpr_1pct"]
        assert told[f"{name}.recall_at_01pct_fpr"] == metrics[name]["tpr_at_fpr_01pct"]
    levels = metrics["guarantee"]["levels"]
    assert {name: told[f"fpr.{name}"] for name in levels} == {name: level["fpr"] for name, level in levels.items()}
    assert run.files == ["report.html"]
    (data,) = run.data
    assert data[:4] == ("cicids2017", "data/raw", read_json(paths.SOURCE)["digest"], 600)
    description = run.logged["tags"]["mlflow.note.content"]
    assert f"AUROC {metrics['unseen']['auroc']:.3f}" in description
    assert "detector mahalanobis" in description


def test_the_description_has_three_sentences(prepared: Any) -> None:
    prepared.run("evaluate")
    told = read_json(paths.METRICS), read_json(paths.SOURCE), config.read()
    sentences = overview.sentences(*told)
    assert len(sentences) == 3
    assert all(each.endswith(".") and ". " not in each for each in sentences)


def test_figures_that_the_data_do_not_define_are_left_out(prepared: Any) -> None:
    prepared.run("evaluate")
    metrics = read_json(paths.METRICS)
    for key in ("auroc", "tpr_at_fpr_1pct", "tpr_at_fpr_01pct"):
        metrics["unseen"][key] = None
    for at in metrics["unseen"]["thresholds"].values():
        at["recall"] = None
    assert not any(name.startswith("unseen.") for name in overview.headlines(metrics))
    sentences = overview.sentences(metrics, read_json(paths.SOURCE), config.read())
    assert "it finds an unknown share (AUROC undefined) of the attacks that it never saw" in sentences[1]


def test_without_results_nothing_is_told(project: Any) -> None:
    run = Run()
    overview.results(run)  # type: ignore[arg-type]
    assert not run.logged["metrics"] and not run.files


@pytest.mark.parametrize("preset", [None, "radon"])
def test_the_settings_of_all_stages_and_the_preset(project: Any, preset: Any) -> None:
    params = config.read()
    params.pop("preset", None)
    config.PARAMS.write_text(yaml.safe_dump(params | ({"preset": preset} if preset else {})))
    run = Run()
    overview.settings(run)  # type: ignore[arg-type]
    assert list(run.logged["settings"]) == list(SECTIONS)
    assert run.logged["settings"]["stage2"]["detector"] == "mahalanobis"
    assert run.logged["tags"] == ({"flowsculpt.preset": preset} if preset else {})
