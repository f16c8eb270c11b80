"""What a training does: its confidence reaches the loss, it writes its files, and it goes on after an interruption."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from safetensors.torch import load_file

from pipeline import ssad
from pipeline.base.errors import ArtifactError, TrainingError
from pipeline.reporting import confidence_table
from tests.ssad.small import OUTLIERS, Centre, Images, Losses, N, column, same, train, updates

STEPS = 4


def confidence_in(path):
    return [float(value) for value in column(path, "confidence")]


def test_the_confidence_of_an_update_is_what_the_next_epoch_trains_on(tmp_path):
    objective = Losses()
    train(tmp_path, objective=objective)
    epochs = [torch.cat(objective.given[start : start + STEPS]) for start in range(0, 6 * STEPS, STEPS)]
    assert [int((epoch < 0).sum()) for epoch in epochs] == [0, 0, OUTLIERS, OUTLIERS, OUTLIERS, OUTLIERS]
    assert [int((epoch == 0).sum()) for epoch in epochs] == [0, 0, 3, 3, 3, 3]


def test_outliers_no_longer_pull_the_centre(tmp_path):
    robust, pulled = Centre(), Centre()
    train(tmp_path / "with", robust, max_epochs=15)
    train(tmp_path / "without", pulled, max_epochs=15, updates=None)
    assert robust.centre.norm() < 0.5 * pulled.centre.norm()


def test_rows_are_scored_in_evaluation_mode_and_training_goes_on_as_it_was(tmp_path):
    modes = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            modes.append((pl_module.model.dropout.training, pl_module.model.frozen.training))

    model = Centre()
    train(tmp_path, model, callbacks=Watch())
    assert model.trained == [True] * 6 * STEPS
    assert model.judged and not any(model.judged)
    assert modes == [(True, False)] * 6 * STEPS  # a part that the user froze stays frozen
    assert not model.training


def test_the_batches_are_shuffled_and_each_row_is_drawn_once_in_an_epoch(tmp_path):
    drawn = []

    class Seen(Images):
        def __getitems__(self, rows):
            drawn.extend(rows)
            return super().__getitems__(rows)

    train(tmp_path, data=Seen(), updates=None, max_epochs=2)
    first, second = drawn[:N], drawn[N : 2 * N]
    assert sorted(first) == sorted(second) == list(range(N))
    assert first != second and first != list(range(N))


def test_the_files_have_the_names_and_the_content_that_users_of_ssad_know(tmp_path):
    result = train(
        tmp_path, val=Images(seed=1), test=Images(seed=2), thresholds=[3.5], record_id=lambda row: f"img-{row}"
    )
    for epoch in (1, 3, 5):
        table = tmp_path / f"confidence_epoch_{epoch}.csv"
        assert table.read_text().splitlines()[0] == '"record_id","score","confidence","verdict","y"'
        assert column(table, "record_id") == [f"img-{row}" for row in range(N)]
        intervals = json.loads((tmp_path / f"confidence_intervals_epoch_{epoch}.json").read_text())
        assert list(intervals) == ["benign", "unknown", "anomalous"]
        assert intervals["anomalous"]["left"] == intervals["unknown"]["right"]
        assert (tmp_path / f"confidence_analysis_epoch_{epoch}.svg").read_text().lstrip().startswith("<?xml")
    assert len(list(tmp_path.glob("confidence_epoch_*.csv"))) == 3
    assert [float(value) for value in column(tmp_path / "confidence_epoch_5.csv", "confidence")] == list(
        result.confidence
    )
    assert result.record_id.tolist() == [f"img-{row}" for row in range(N)]
    assert set(result.verdict) == {"benign", "unknown", "anomalous"}
    tested = json.loads((tmp_path / "test_metrics_threshold=3.5.json").read_text())
    assert tested["threshold"] == 3.5 and tested["TP"] == OUTLIERS and tested["TP"] + tested["FN"] == OUTLIERS
    cuts = {f"{cut:g}" for cut in (result.thresholds.low, result.thresholds.high, 3.5)}
    assert {path.stem.partition("=")[2] for path in tmp_path.glob("test_metrics_*.json")} == cuts
    assert set(result.test["thresholds"]) == cuts
    assert result.test["auroc"] == 1


def test_without_mlflow_every_number_lies_in_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    train(tmp_path / "out", val=Images(seed=1), mlflow=None)
    assert not list(tmp_path.glob("mlflow.db*"))
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if "train_loss" in line]
    assert [line["step"] for line in epochs] == list(range(6))
    assert all({"val_loss", "val_auroc", "val_auprc"} <= set(line) for line in epochs)
    assert ["val_f1" in line for line in epochs] == [False, False, True, True, True, True]
    assert any("system/cpu_utilization_percentage" in line for line in lines)
    assert [line["step"] for line in lines if "update.anomalous" in line] == [1, 3, 5]
    assert len(column(tmp_path / "out" / "history.csv", "train_loss")) == 6
    weights = load_file(tmp_path / "out" / "model.safetensors")
    assert list(weights) == ["centre"]
    assert not list((tmp_path / "out").rglob("last*"))


def test_where_there_is_a_store_the_run_has_the_files_and_the_numbers(tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOWSCULPT_TRACKING_ROOT", str(tmp_path))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    train(tmp_path / "digits", test=Images(seed=2), thresholds=[3.5], mlflow=None)
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (experiment,) = [each for each in client.search_experiments() if each.name == "flowsculpt"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED" and run.info.run_name == "digits"
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    for epoch in (1, 3, 5):
        assert {f"confidence_epoch_{epoch}.csv", f"confidence_intervals_epoch_{epoch}.json"} <= names
        assert f"confidence_analysis_epoch_{epoch}.svg" in names
    assert sum(name.startswith("test_metrics_threshold=") for name in names) == 3
    assert {"train_loss", "train_auroc", "test_auroc", "system/cpu_utilization_percentage"} <= set(run.data.metrics)
    assert {"threshold_low.recall", "threshold_high.fpr", "threshold_3.5.f1"} <= set(run.data.metrics)
    assert run.data.params["updates.strategy"] == "Percentile(low=85, high=90)"
    assert [point.step for point in client.get_metric_history(run.info.run_id, "train_loss")] == list(range(6))


def test_the_users_callbacks_logger_and_optimiser_are_used(tmp_path):
    called = []

    class Watch(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            called.append("train")

        def on_validation_epoch_end(self, trainer, pl_module):
            called.append("val")

        def on_test_epoch_end(self, trainer, pl_module):
            called.append("test")

    made = []

    def optimizer(parameters):
        made.append(torch.optim.SGD(parameters, 0.05, momentum=0.5))
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(made[-1], patience=1)
        return {"optimizer": made[-1], "lr_scheduler": {"scheduler": schedule, "monitor": "val_loss"}}

    best = ModelCheckpoint(tmp_path / "own", monitor="val_auroc", mode="max")
    stop = EarlyStopping("val_loss", patience=50)
    train(
        tmp_path / "out",
        val=Images(seed=1),
        test=Images(seed=2),
        callbacks=[Watch(), best, stop],
        logger=CSVLogger(tmp_path, "logs", "0"),
        optimizer=optimizer,
        log_every_n_steps=1,
        max_epochs=3,
    )
    assert [called.count(name) for name in ("train", "val", "test")] == [3, 3, 1]
    assert len(made) == 1
    assert Path(best.best_model_path).is_file()
    assert stop.best_score < torch.inf
    logged = (tmp_path / "logs" / "0" / "metrics.csv").read_text()
    assert "train_loss" in logged and "val_auroc" in logged


def test_early_stopping_in_the_epoch_of_an_update_keeps_its_files(tmp_path):
    class Stop(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            trainer.should_stop = pl_module.current_epoch == 1

    result = train(tmp_path, callbacks=[Stop()])
    assert len(result.history) == 2
    assert [path.name for path in tmp_path.glob("confidence_epoch_*.csv")] == ["confidence_epoch_1.csv"]
    assert [float(value) for value in column(tmp_path / "confidence_epoch_1.csv", "confidence")] == list(
        result.confidence
    )


def test_a_model_that_brings_its_own_optimiser_keeps_it(tmp_path):
    from lightning.pytorch import LightningModule

    class Own(LightningModule):
        def __init__(self):
            super().__init__()
            self.centre = torch.nn.Parameter(torch.zeros(1, 2, 2))

        def score(self, x):
            return (x - self.centre).flatten(1).square().sum(1)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 0.0)

    model = Own()
    train(tmp_path, model, optimizer=None, max_epochs=2)
    assert model.centre.abs().sum() == 0


class InterruptedTestError(Exception):
    pass


class Interrupt(Callback):
    """Ends a training in the middle of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if pl_module.current_epoch == self.epoch and batch_idx == 2:
            raise InterruptedTestError


@pytest.mark.parametrize("at", [1, 2, 5])
def test_a_resumed_training_ends_as_an_uninterrupted_one(tmp_path, at):
    whole, model = Centre(), Centre()
    expected = train(tmp_path / "whole", whole)
    with pytest.raises(InterruptedTestError):
        train(tmp_path / "cut", callbacks=Interrupt(at))
    assert (tmp_path / "cut" / "checkpoints" / "last.safetensors").is_file()
    resumed = train(tmp_path / "cut", model)
    assert torch.equal(whole.centre, model.centre)
    assert same(expected, resumed)
    names = [sorted(path.name for path in (tmp_path / run).glob("c*_epoch_*")) for run in ("whole", "cut")]
    assert names[0] == names[1]
    for name in names[0]:
        if name.endswith(".csv"):
            assert (tmp_path / "cut" / name).read_text() == (tmp_path / "whole" / name).read_text()


def test_a_training_that_was_interrupted_after_its_last_epoch_is_finished(tmp_path):
    class Late(Callback):
        def on_train_end(self, trainer, pl_module):
            raise InterruptedTestError

    expected = train(tmp_path / "whole")
    with pytest.raises(InterruptedTestError):
        train(tmp_path / "cut", callbacks=Late())
    assert same(expected, train(tmp_path / "cut"))


def test_an_interrupted_training_of_something_else_is_not_destroyed(tmp_path):
    with pytest.raises(InterruptedTestError):
        train(tmp_path, callbacks=Interrupt(3))
    with pytest.raises(TrainingError, match="another model, rule, objective or seed; give another folder as out"):
        train(tmp_path, updates=updates(rule=ssad.Ecdf()))
    with pytest.raises(TrainingError, match="had 60 rows, the data set now has 50"):
        train(tmp_path, data=Images(50))
    assert len(train(tmp_path, updates=updates(rule=ssad.Ecdf()), resume=False).history) == 6


def test_what_an_earlier_training_left_in_the_folder_does_not_mix_with_the_new_one(tmp_path):
    train(tmp_path, max_epochs=6)
    train(tmp_path, max_epochs=2)
    assert [path.name for path in tmp_path.glob("confidence_epoch_*.csv")] == ["confidence_epoch_1.csv"]


def test_a_training_without_updates_scores_its_rows(tmp_path):
    result = train(tmp_path, updates=None)
    assert result.thresholds is None and result.verdict is None
    assert result.scores.shape == (N,) and (result.confidence == 1).all()
    assert not list(tmp_path.glob("confidence_*"))


def test_a_confidence_file_is_what_the_next_training_begins_with(tmp_path):
    objective = Losses()
    first = train(tmp_path / "first")
    train(tmp_path / "second", initial=tmp_path / "first" / "confidence_epoch_5.csv", objective=objective)
    begun = torch.cat(objective.given[:STEPS])
    assert sorted(begun.tolist()) == sorted(first.confidence.tolist())


def test_many_rows_are_reported_as_a_sample_beside_the_whole_which_the_next_training_begins_with(tmp_path, monkeypatch):
    monkeypatch.setattr(confidence_table, "MOST_ROWS", 20)
    given, objective = [], Losses()
    monkeypatch.setattr("pipeline.ssad.report.FolderRun.file", lambda self, path: given.append(path.name))
    first = train(tmp_path / "first")
    names = ["confidence_epoch_5.csv", "confidence_epoch_5.parquet", "confidence_epoch_5_sample.json"]
    assert [name for name in given if name.startswith("confidence_epoch_5")] == names
    assert len(column(tmp_path / "first" / names[0], "record_id")) == 20
    with pytest.raises(ArtifactError, match=r"is a sample of 20 of 60 records; give .*confidence_epoch_5.parquet"):
        train(tmp_path / "second", initial=tmp_path / "first" / names[0])
    train(tmp_path / "second", initial=tmp_path / "first" / names[1], objective=objective)
    assert sorted(torch.cat(objective.given[:STEPS]).tolist()) == sorted(first.confidence.tolist())


def test_updates_that_would_be_taken_back_are_refused(tmp_path):
    with pytest.raises(TrainingError, match="takes no update back, only the stages of the pipeline do"):
        train(tmp_path, updates=updates(undo=True))


def test_the_seed_of_the_caller_is_left_alone(tmp_path):
    torch.manual_seed(0)
    expected = torch.rand(1)
    train(tmp_path)
    assert torch.rand(1) == expected


SCRIPT = """
    import json, sys
    from pathlib import Path
    sys.path.insert(0, {root!r})
    from tests.ssad.small import Images, train
    from pipeline import ssad

    if __name__ == "__main__":
        out, devices = Path(sys.argv[1]), int(sys.argv[2])
        strategy = "ddp" if devices == 2 else "auto"
        result = train(out, test=Images(31, seed=2), devices=devices, strategy=strategy, batch_size=16 // devices)
        print(json.dumps({{
            "scores": result.scores.tolist(),
            "confidence": result.confidence.tolist(),
            "thresholds": [result.thresholds.low, result.thresholds.high],
            "losses": [row["train_loss"] for row in result.history],
            "auroc": result.test["auroc"],
        }}))
"""


def in_processes(folder, devices):
    folder.mkdir()
    script = folder / "script.py"
    script.write_text(textwrap.dedent(SCRIPT).format(root=str(Path(__file__).parents[2])))
    done = subprocess.run(
        [sys.executable, str(script), str(folder / "out"), str(devices)],
        capture_output=True,
        text=True,
        env=os.environ | {"GOMP_SPINCOUNT": "1000"},
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_two_processes_draw_the_same_thresholds_and_one_writes(tmp_path):
    one, other = in_processes(tmp_path / "two", 2)
    assert one == other  # scores of all rows, confidence, thresholds
    assert len(one["scores"]) == N and one["auroc"] == 1
    lines = [json.loads(line) for line in (tmp_path / "two" / "out" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "train_loss" in line] == list(range(6))
    alone = train(tmp_path / "one", test=Images(31, seed=2))
    assert (np.array(one["confidence"]) < 0).tolist() == (alone.confidence < 0).tolist()
    assert one["thresholds"] == pytest.approx([alone.thresholds.low, alone.thresholds.high], rel=0.2)
