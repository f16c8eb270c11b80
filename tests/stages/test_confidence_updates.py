"""Confidence-aware training in the stages: what an update leaves behind, and the confidence that a user gives."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from pipeline import config
from pipeline.artifacts import paths
from pipeline.artifacts.latents import latent_groups
from pipeline.artifacts.samples import read_samples
from pipeline.base.errors import ArtifactError, CollapseError, ConfigError, DataError, TrainingError
from pipeline.base.samples import joined
from pipeline.calibration.thresholds.base import VERDICTS
from pipeline.models.detectors.maf import MAF
from pipeline.models.detectors.radon import RADON
from pipeline.models.detectors.registry import DETECTORS
from pipeline.models.training.plan import updates_of
from pipeline.settings.stage2 import Stage2

PARAMS = Path(__file__).parents[2] / "params.yaml"
REPORTS = paths.REPORTS / "stage2"


@pytest.fixture
def trained(prepared: Any) -> Any:
    """A project whose stage2 trains for five epochs, with an update after the second and the fourth."""
    for name, value in (
        ("fit.epochs", 5),
        ("fit.patience", 0),
        ("fit.learning_rate", 3e-3),
        ("confidence.updates", "always"),
        ("confidence.every_n_epochs", 2),
        ("confidence.warm_up", 2),
    ):
        prepared.set(f"stage2.{name}", value)
    shutil.rmtree(REPORTS)
    return prepared


def train_ids() -> list[str]:
    train = joined([*latent_groups("train")])
    return [f"{value:016x}" for value in train.select(train.benign).record_id.tolist()]


@pytest.mark.parametrize("detector", ["radon", "grand"])
def test_each_update_leaves_confidence_intervals_and_a_figure(trained: Any, detector: str) -> None:
    metrics: list[tuple[dict[str, float], int | None]] = []
    trained.on_metrics = lambda values, step=None: metrics.append((values, step))
    trained.set("stage2.detector", detector)
    trained.run("stage2")
    for epoch in (1, 3):
        table = pd.read_csv(REPORTS / f"confidence_epoch_{epoch}.csv")
        assert table.columns.tolist() == ["record_id", "score", "confidence", "verdict"]
        assert table.record_id.tolist() == train_ids()
        assert table.confidence.between(-1, 1).all()
        assert set(json.loads((REPORTS / f"confidence_intervals_epoch_{epoch}.json").read_text())) == set(VERDICTS)
        assert b"<svg" in (REPORTS / f"confidence_analysis_epoch_{epoch}.svg").read_bytes()[:600]
    assert sorted(path.name for path in REPORTS.glob("confidence_epoch_*.csv"))[-1] == "confidence_epoch_4.csv"
    told = {step: values for values, step in metrics if "update.anomalous" in values}
    assert list(told) == [1, 3]
    for values in told.values():
        assert sum(values[f"update.{name}"] for name in VERDICTS) == pytest.approx(1)
        assert values["update.taken_for_anomalous"] <= 0.2


class KilledTestError(Exception):
    """Ends a stage in the middle of its training."""


@pytest.mark.parametrize("rate", [3e-3, 1e-3])
def test_a_stage_that_goes_on_reports_the_updates_before_it_was_killed(trained: Any, rate: float) -> None:
    def kill(values: dict[str, float], step: int | None = None) -> None:
        if "val_loss" in values and step == 2:
            raise KilledTestError

    trained.set("stage2.detector", "radon")
    trained.on_metrics = kill
    with pytest.raises(KilledTestError):
        trained.run("stage2")
    shutil.rmtree(REPORTS, ignore_errors=True)  # the reports of a stage appear whole, or not at all
    trained.set("stage2.fit.learning_rate", rate)
    epochs: list[int | None] = []
    trained.on_metrics = lambda values, step=None: epochs.append(step) if "val_loss" in values else None
    trained.run("stage2")
    assert epochs == ([2, 3, 4] if rate == 3e-3 else [0, 1, 2, 3, 4])  # it goes on, or is another training
    assert {f"confidence_epoch_{epoch}.csv" for epoch in (1, 3, 4)} <= {path.name for path in REPORTS.iterdir()}
    assert [path.name for path in (paths.CHECKPOINTS / "stage2").iterdir()] == ["best.safetensors"]


def test_the_report_tells_which_epoch_was_kept_and_how_many_updates_it_has_seen(trained: Any, capsys: Any) -> None:
    metrics: list[tuple[dict[str, float], int | None]] = []
    trained.on_metrics = lambda values, step=None: metrics.append((values, step))
    trained.set("stage2.detector", "radon")
    trained.run("stage2")
    history = pd.read_csv(REPORTS / "history.csv")
    (told,) = [values for values, _ in metrics if "kept_updates" in values]
    kept = history.iloc[int(told["best_epoch"])]
    assert told["kept_updates"] == kept.updates
    assert not kept.undone
    undone = json.loads((REPORTS / "confidence_updates.json").read_text())
    assert undone["kept"] == told["kept_updates"]
    assert len(undone["undone"]) == told["undone_updates"]
    assert told["kept_updates"] > 0 or told["undone_updates"] > 0
    said = f"the weights of epoch {told['best_epoch']} of 0 to 4 were kept; they have trained on {kept.updates} conf"
    assert said in capsys.readouterr().out
    by_epoch = {step: values for values, step in metrics if "val.f1" in values and "val_loss" in values}
    assert list(by_epoch) == [0, 1, 2, 3, 4]
    assert [by_epoch[epoch]["val.auroc"] for epoch in by_epoch] == pytest.approx(history.val_auroc.tolist())
    assert [by_epoch[epoch]["val.f1"] for epoch in by_epoch] == pytest.approx(history.val_f1.tolist())
    last = max(step or 0 for values, step in metrics if "val.auroc" in values)
    (final,) = [values for values, step in metrics if "val.auprc" in values]
    assert last == 5  # what MLflow shows as the latest is the figure of the weights that are kept
    assert final["val.auroc"] == pytest.approx(kept.val_auroc, abs=1e-6)


@pytest.mark.parametrize(("detector", "epochs"), [("radon", [3, 6, 9]), ("grand", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10])])
def test_updates_come_when_they_were_published_to_come(detector: str, epochs: list[int]) -> None:
    settings = config.load(Stage2, PARAMS).confidence
    plan = updates_of(DETECTORS[detector](4), settings, "stage2")
    assert plan is not None
    assert [epoch for epoch in range(11) if plan.due(epoch)] == epochs
    assert plan.max_unknown_share == (0.1 if detector == "grand" else 1.0)


def test_updates_that_no_epoch_would_train_on_are_refused(trained: Any) -> None:
    trained.set("stage2.detector", "radon")
    trained.set("stage2.confidence.warm_up", 5)
    assert "raise fit.epochs to 6, lower confidence.warm_up" in trained.refusal("stage2", TrainingError)


def test_a_model_published_without_updates_has_none(trained: Any) -> None:
    trained.set("stage2.confidence.updates", "published")
    trained.set("stage2.detector", "deep_svdd")
    trained.run("stage2")
    assert [path.name for path in REPORTS.glob("confidence_epoch_*.csv")] == ["confidence_epoch_4.csv"]


def test_an_encoder_can_be_trained_with_updates(prepared: Any) -> None:
    for name, value in (
        ("encoder", "cnn_transformer"),
        ("dccl", {"confidence": "leave_out"}),
        ("fit.epochs", 3),
        ("fit.min_steps", 0),
        ("confidence.updates", "always"),
        ("confidence.warm_up", 1),
        ("confidence.undo", False),  # after so few steps any epoch may be worse than the one before
    ):
        prepared.set(f"stage1.{name}", value)
    prepared.run("stage1")
    table = pd.read_csv(paths.REPORTS / "stage1" / "confidence_epoch_0.csv")
    train = read_samples(paths.PROCESSED, "train")
    balanced = train.select(train.balanced)
    attack = ~balanced.benign
    assert attack.any()
    assert (table.confidence[attack] == balanced.confidence[attack]).all()  # a known attack is not judged


@pytest.mark.parametrize(
    ("stage", "name", "model"), [("stage2", "maf", "MAF"), ("stage1", "cnn_transformer", "CNNTransformer")]
)
def test_updates_that_the_loss_would_not_heed_are_refused(trained: Any, stage: str, name: str, model: str) -> None:
    trained.set("stage1.encoder" if stage == "stage1" else "stage2.detector", name)
    trained.set(f"{stage}.confidence.updates", "always")
    message = trained.refusal(stage, ConfigError)
    assert message.startswith(f"{stage}.confidence.updates: 'always', but the loss of {model} heeds no confidence; ")


def give(rows: list[tuple[str, float]]) -> None:
    pd.DataFrame(rows, columns=["record_id", "confidence"]).to_csv("given.csv", index=False)


def test_what_an_update_wrote_can_be_the_start_of_another_training(trained: Any, monkeypatch: Any) -> None:
    trained.set("stage2.detector", "radon")
    trained.run("stage2")
    written = REPORTS / "confidence_epoch_1.csv"
    Path("given.csv").write_bytes(written.read_bytes())
    expected = pd.read_csv("given.csv").confidence.to_numpy(dtype=np.float32)
    seen: list[torch.Tensor] = []
    step = RADON.loss_and_gradients
    monkeypatch.setattr(
        RADON, "loss_and_gradients", lambda self, batch: (seen.append(batch.confidence), step(self, batch))[1]
    )
    trained.set("stage2.confidence.initial", "given.csv")
    trained.set("stage2.confidence.updates", "never")
    trained.set("stage2.fit.epochs", 40)
    trained.run("stage2")
    drawn = torch.cat(seen).numpy()
    assert np.count_nonzero(drawn == -1) == 40 * np.count_nonzero(expected == -1) > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows[:-2], "2 "),
        (lambda rows: [*rows, rows[3]], "1 "),
        (lambda rows: [(rows[0][0], 1.5), *rows[1:]], "outside [-1, 1]"),
        (lambda rows: [(rows[0][0], math.nan), *rows[1:]], "outside [-1, 1] or NaN"),
    ],
    ids=["missing", "duplicated", "outside", "undefined"],
)
def test_a_confidence_file_that_does_not_fit(trained: Any, change: Any, message: str) -> None:
    give(change([(name, 1.0) for name in train_ids()]))
    trained.set("stage2.detector", "radon")
    trained.set("stage2.confidence.initial", "given.csv")
    refusal = trained.refusal("stage2", DataError)
    assert refusal.startswith("given.csv: ")
    assert message in refusal


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("record_id,score\n00000000000000ff,1\n", "confidence"),
        ("record_id,confidence\n00000000000000ff,high\n", "high"),
        ("record_id,confidence\n17,1\n", "16 hexadecimal digits"),
        ("", "a CSV or Parquet file with the columns record_id and confidence is expected"),
    ],
)
def test_a_confidence_file_that_is_none(trained: Any, content: str, message: str) -> None:
    Path("given.csv").write_text(content)
    trained.set("stage2.detector", "radon")
    trained.set("stage2.confidence.initial", "given.csv")
    refusal = trained.refusal("stage2", ArtifactError)
    assert refusal.startswith("given.csv: ")
    assert message in refusal


@pytest.mark.parametrize("detector", ["mahalanobis", "ensemble"])
def test_a_detector_in_closed_form_refuses_a_confidence_file(prepared: Any, detector: str) -> None:
    prepared.set("stage2.detector", detector)
    prepared.set("stage2.confidence.initial", "given.csv")
    refusal = prepared.refusal("stage2", ConfigError)
    assert refusal.startswith("stage2.confidence.initial is 'given.csv', but ")
    assert "closed form" in refusal


def test_an_absent_confidence_file(trained: Any) -> None:
    trained.set("stage2.detector", "radon")
    trained.set("stage2.confidence.initial", "absent.csv")
    assert "absent.csv" in trained.refusal("stage2", ArtifactError)


def test_a_score_that_is_nan_names_the_record(trained: Any, monkeypatch: Any) -> None:
    train = joined([*latent_groups("train")])
    benign = train.select(train.benign)
    score, row = RADON.score, torch.from_numpy(benign.x[5, :-1])

    def broken(self: RADON, x: torch.Tensor) -> torch.Tensor:
        update = not torch.is_grad_enabled()
        return torch.where((x == row).all(1) & update, math.nan, score(self, x))

    monkeypatch.setattr(RADON, "score", broken)
    trained.set("stage2.detector", "radon")
    message = trained.refusal("stage2", TrainingError)
    assert message.startswith(f"record {benign.record_id[5]:016x}: ")
    assert "the last good checkpoint is kept" in message
    assert (paths.CHECKPOINTS / "stage2" / "last.safetensors").exists()


def test_a_training_that_makes_the_model_worse_fails_the_stage(trained: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(MAF, "loss", lambda self, batch: self.weight_in.sum() * 0 + 1.0)
    trained.set("stage2.detector", "maf")
    trained.set("stage2.confidence.updates", "published")
    message = trained.refusal("stage2", CollapseError)
    assert "MAF: the validation loss of the trained model, 1, is not below that of the untrained one, 1" in message
