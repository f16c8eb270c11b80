"""The seven stages on synthetic records, read back as a user would: files, DVC, MLflow's client.

Real records run through the same stages in tests/stages/test_real_records.py.
"""

import copy
import json
import re
import shutil

import pandas as pd
import pytest
import yaml

from pipeline.artifacts import paths

STAGES = list(paths.OUTPUTS)
# The artefacts that each stage logs, as patterns; {n} is an epoch, {t} a threshold.
LOGGED = {
    "ingest": ["class_counts.svg", "ingest.json", "test_metrics_threshold=max_rejected_share.json"],
    "validate": [
        "expectations.svg",
        "shortcuts.svg",
        "shortcuts.csv",
        "shortcuts.json",
        "summary.json",
        "docs/index.html",
    ],
    "preprocess": ["splits.svg", "feature_spread.svg", "splits.json"],
    "stage1": ["loss_curves.svg", r"confidence_analysis_epoch_\d+.svg"],
    "stage2": ["loss_curves.svg", r"confidence_analysis_epoch_\d+.svg"],
    "calibrate": [r"confidence_analysis_epoch_\d+.svg"],
    "evaluate": [
        "roc_pr.svg",
        "recall_per_attack.svg",
        "confusion.svg",
        "calibration_curve.svg",
        "score_histogram.svg",
        "latent_map.svg",
        "metrics.json",
        "model_card.md",
        "data_card.md",
        "report.html",
    ],
}
# The five kinds that every stage logs: files by pattern, system metrics and metrics at each threshold by name.
FILES = [
    r"confidence_epoch_\d+.csv",
    r"confidence_intervals_epoch_\d+.json",
    r".+\.svg",
    r"test_metrics_threshold=p99.json",
]
AT_EACH = ("p99.9", "p99", "p97", "p95")  # stage1 and stage2 draw one threshold before calibrate does
SYSTEM = {"cpu_utilization_percentage", "process_cpu_percentage", "process_cpu_seconds", "process_memory_megabytes"}


def _family(project):
    """The client, the first parent, and its children by name."""
    client, runs = project.runs()
    parent = next(run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return client, parent, {run.info.run_name: run for run in children}


def _artefacts(client, run_id, folder=None):
    names = []
    for entry in client.list_artifacts(run_id, folder):
        names += _artefacts(client, run_id, entry.path) if entry.is_dir else [entry.path]
    return names


def _check_tracking(project):
    client, parent, children = _family(project)
    assert parent.info.status == "FINISHED"
    assert list(children) == STAGES
    for stage, run in children.items():
        assert run.info.status == "FINISHED"
        assert parent.data.tags[f"stage.{stage}"] == run.info.run_id
        assert parent.data.tags[f"stage.{stage}.state"] == "ran"
        names = _artefacts(client, run.info.run_id)
        for pattern in [*LOGGED[stage], *FILES]:
            assert any(re.fullmatch(pattern, name) for name in names), (stage, pattern, names)
        assert run.data.params
    for stage in ("ingest", "preprocess", "stage1", "stage2", "calibrate", "evaluate"):
        assert children[stage].inputs.dataset_inputs, stage
    for stage in ("stage1", "stage2"):
        history = client.get_metric_history(children[stage].info.run_id, "val_loss")
        assert len(history) >= 2
    assert "unseen.auroc" in children["evaluate"].data.metrics


def test_every_stage_leaves_all_five_kinds_of_evidence(project):
    client, _, children = _family(project)
    assert list(children) == STAGES
    for stage, run in children.items():
        names = _artefacts(client, run.info.run_id)
        for pattern in FILES:
            assert any(re.fullmatch(pattern, name) for name in names), (stage, pattern, names)
        levels = ("p99",) if stage in ("stage1", "stage2") else AT_EACH
        assert {f"test_metrics_threshold={level}.json" for level in levels} <= set(names), stage
        measured = set(run.data.metrics)
        assert all(any(name.startswith(f"{level}.") for name in measured) for level in levels), (stage, measured)
        assert {f"system/{name}" for name in SYSTEM} <= measured, stage
        for name in (each for each in names if re.fullmatch(FILES[0], each)):
            table = pd.read_csv(client.download_artifacts(run.info.run_id, name), dtype={"record_id": str})
            assert {"record_id", "confidence"} <= set(table)
            assert table["record_id"].str.fullmatch("[0-9a-f]{16}").all()


def test_the_run_of_the_pipeline_can_be_compared(project):
    client, parent, children = _family(project)
    report = json.loads((project.folder / "data/reports/metrics.json").read_text())
    told = parent.data.metrics
    assert told["unseen.auroc"] == report["unseen"]["auroc"]
    assert told["seen.recall_at_1pct_fpr"] == report["seen"]["tpr_at_fpr_1pct"]
    assert told["fpr.p99"] == report["guarantee"]["levels"]["p99"]["fpr"]
    assert {f"seconds.{stage}" for stage in STAGES} <= set(told)
    assert parent.data.params["stage2.maf.layers"] == "4"
    assert parent.data.params["evaluate.threshold"] == "p99"
    assert [each.dataset.name for each in parent.inputs.dataset_inputs] == ["synthetic"]
    assert _artefacts(client, parent.info.run_id) == ["report.html"]
    assert parent.data.tags["mlflow.note.content"].startswith("Trained on 6,000 synthetic records: ")
    assert parent.info.start_time <= min(run.info.start_time for run in children.values())
    assert parent.info.end_time >= max(run.info.end_time for run in children.values())
    kind = client.get_experiment(parent.info.experiment_id).tags["mlflow.experimentKind"]
    assert kind == "custom_model_development"


def _check_metrics(project):
    report = json.loads((project.folder / "data/reports/metrics.json").read_text())
    for section in ("seen", "unseen"):
        part = report[section]
        for key in ("auroc", "auprc", "tpr_at_fpr_1pct", "tpr_at_fpr_01pct"):
            assert 0 <= part[key] <= 1
        assert set(part["thresholds"]) == {"p99.9", "p99", "p97", "p95"}
        for rates in part["thresholds"].values():
            assert {"precision", "recall", "f1", "f1_balanced", "fpr"} <= set(rates)
        for attack in part["recall_by_attack"].values():
            assert attack["n"] > 0
            assert {"recall", "low", "high"} <= set(attack["p99"])
    unseen = set(report["unseen"]["recall_by_attack"])
    assert unseen <= {"bot", "infiltration", "dos_slowloris", "dos_slowhttptest"}
    assert not unseen & set(report["seen"]["recall_by_attack"])
    return report


def test_synthetic_records_run_through_all_stages(project):
    report = _check_metrics(project)
    assert report["synthetic"] is True
    _check_tracking(project)
    svg = (project.folder / "data/reports/evaluate/roc_pr.svg").read_text()
    assert "synthetic" in svg


def test_every_test_record_has_a_verdict_and_a_p_value(project):
    verdicts = pd.read_csv(project.folder / "data/reports/evaluate/confidence_epoch_0.csv", dtype={"record_id": str})
    assert verdicts["record_id"].is_unique
    assert verdicts["p_value"].between(0, 1).all()
    assert set(verdicts["verdict"]) <= {"benign", "unknown", "anomalous"}
    expected = {"benign": 1.0, "unknown": 0.0, "anomalous": -1.0}
    assert (verdicts["confidence"] == verdicts["verdict"].map(expected)).all()


def test_nothing_changed_means_nothing_runs(project):
    before = len(project.runs()[1])
    output = project.call("dvc", "repro")
    assert output.count("didn't change, skipping") >= len(STAGES)
    assert len(project.runs()[1]) == before


def test_dvc_shows_metrics_and_plots_without_a_network(project):
    shown = json.loads(project.call("dvc", "metrics", "show", "--json"))
    assert "unseen" in json.dumps(shown)
    project.call("dvc", "plots", "show", "--out", "plots")
    page = (project.folder / "plots" / "index.html").read_text()
    assert page.count("<img") >= 10
    assert not re.findall(r"(?:src|href)=[\"']?(?:https?:)?//", page)


def _check_update(client, run):
    """The update that follows the first epoch left its files and its shares."""
    names = _artefacts(client, run.info.run_id)
    for name in ("confidence_epoch_0.csv", "confidence_intervals_epoch_0.json", "confidence_analysis_epoch_0.svg"):
        assert name in names
    assert run.data.params["confidence.every_n_epochs"] == "1"
    shares = [run.data.metrics[f"update.{name}"] for name in ("benign", "unknown", "anomalous")]
    assert sum(shares) == pytest.approx(1)


def test_an_experiment_trains_with_confidence_updates(project):
    before = {run.info.run_id for run in project.runs()[1]}
    project.call("dvc", "exp", "run", "--set-param", "stage2.detector=grand", "--name", "robust")
    client, runs = project.runs()
    (stage2,) = [run for run in runs if run.info.run_id not in before and run.info.run_name == "stage2"]
    _check_update(client, stage2)


def test_an_experiment_changes_one_plug_in_and_links_what_it_did_not_run(project):
    before = {run.info.run_id for run in project.runs()[1]}
    project.call("dvc", "exp", "run", "--set-param", "stage2.detector=mahalanobis", "--name", "closed-form")
    client, runs = project.runs()
    new = [run for run in runs if run.info.run_id not in before]
    parent = next(run for run in new if "mlflow.parentRunId" not in run.data.tags)
    assert {run.info.run_name for run in new} - {parent.info.run_name} == {"stage2", "calibrate", "evaluate"}
    assert parent.data.tags["stage.stage1.state"] == "cached"
    assert client.get_run(parent.data.tags["stage.stage1"]).info.run_id in before
    assert "closed-form" in project.call("dvc", "exp", "show", "--md")
    assert "mahalanobis" in project.call("dvc", "params", "diff")


def test_a_bad_setting_stops_its_stage_and_keeps_the_old_artefacts(project):
    old = (project.folder / "data/models/thresholds.json").read_bytes()
    project.settings({"calibrate": {"fusion": "fischer"}})
    output = project.call("dvc", "repro", ok=False)
    assert "did you mean 'fisher'?" in output
    assert (project.folder / "data/models/thresholds.json").read_bytes() == old
    project.settings({"calibrate": {"fusion": "fisher"}})
    project.call("dvc", "repro")


@pytest.mark.parametrize("stage", STAGES)
def test_reports_of_every_stage_lie_in_its_folder(project, stage):
    assert any((project.folder / "data/reports" / stage).iterdir())


REGISTER = """
from pathlib import Path
from flows.runtime import origin
from pipeline import tracking
from pipeline.serving import registry
from pipeline.serving.bundle import Bundle
Bundle.of_project().save(Path("build/bundle"))
registry.register(Path("build/bundle"), tracking.run_ids()[0], {}, "", origin.of_project(Path.cwd()))
"""


def test_another_clone_makes_the_registered_model_again(project, tmp_path):
    remote, second = tmp_path / "remote", copy.copy(project)
    second.folder = tmp_path / "second"
    for clone in (project, second):
        if clone is second:
            project.call("git", "clone", "--quiet", ".", str(second.folder))
            shutil.copy(project.folder / "data/trusted_keys.json", second.folder / "data/trusted_keys.json")
        clone.call("dvc", "remote", "add", "--default", "store", str(remote))
        if clone is project:
            project.call("python", "-c", REGISTER)
            project.call("python", "-m", "flows.reproduce", "candidate", "--push")
    stages = yaml.safe_load((project.folder / "dvc.lock").read_text())["stages"]
    for out in [*stages["stage2"]["outs"], *stages["calibrate"]["outs"]]:
        if out["path"].startswith("data/models"):  # what the remote lacks is made
            (remote / "files/md5" / out["md5"][:2] / out["md5"][2:]).unlink(missing_ok=True)
    before = second.call("git", "status", "--short")
    store = f"sqlite:///{project.folder / 'mlflow.db'}"
    output = second.call("python", "-m", "flows.reproduce", "candidate", MLFLOW_TRACKING_URI=store)
    assert "the same model came out" in output
    ran = re.findall(r"Running stage '(\w+)'", output)
    assert ran == ["stage2", "calibrate"]
    assert second.call("git", "status", "--short") == before
    assert not (second.folder / "dvc.lock").exists() and not (second.folder / "mlflow.db").exists()
