import json
import math
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pipeline.base.errors import TrainingError
from pipeline.models.base import Batch, Model, Scorer
from pipeline.models.layers import Dropout
from pipeline.models.training import FitSettings, History, fit
from pipeline.models.training.bulk import device_of
from pipeline.models.training.selection import learning_rate
from tests.settings import ROOT, fit_with


class Regression(Model):
    """Something with a loss that is neither encoder nor detector."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), Dropout(0.1), nn.Linear(8, 1))
        self.weight = 1.0

    def loss(self, batch: Batch) -> Tensor:
        return self.weight * (self.net(batch.x)[:, 0] - batch.y).square().mean()


class Constant(Model):
    def loss(self, batch: Batch) -> Tensor:
        return batch.x.mean()


def data(n: int, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=generator)
    return Batch(x, (x[:, 0] > 0).long(), torch.ones(n))


def settings(**changes: object) -> FitSettings:
    base = {"epochs": 3, "batch_size": 32, "learning_rate": 1e-2, "device": "cpu"}
    return fit_with(**(base | changes))  # type: ignore[arg-type]


def model(seed: int = 0) -> Regression:
    torch.manual_seed(seed)
    return Regression()


def train(folder: Path, *, rows: int = 200, of: Model | None = None, **changes: object) -> tuple[Model, History]:
    trained = of or model()
    return trained, fit(trained, data(rows), data(64, 1), settings(**changes), folder, progress=False)


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_it_learns_and_leaves_the_best_weights(tmp_path: Path) -> None:
    trained, history = train(tmp_path, epochs=6)
    rows = history.records()
    assert [row["epoch"] for row in rows] == list(range(6))
    assert rows[-1]["val_loss"] < rows[0]["val_loss"]
    assert history.best_epoch == min(rows, key=lambda row: row["val_loss"])["epoch"]
    assert not trained.training
    with torch.no_grad():
        best = trained.loss(data(64, 1)).item()
    assert best == pytest.approx(min(row["val_loss"] for row in rows), rel=1e-5)
    assert all(row["seconds"] > 0 and row["records_per_s"] > 0 for row in rows)


def test_the_best_epoch_need_not_be_the_last(tmp_path: Path) -> None:
    trained, history = train(tmp_path, epochs=8, learning_rate=1.0, schedule="constant", rows=40)
    values = [row.val_loss for row in history.rows]
    assert history.best_epoch == values.index(min(values)) < 7
    with torch.no_grad():
        assert trained.loss(data(64, 1)).item() == pytest.approx(min(values), rel=1e-5)


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path: Path) -> None:
    first, _ = train(tmp_path / "a", input_noise=0.1)
    second, _ = train(tmp_path / "b", input_noise=0.1)
    third, _ = train(tmp_path / "c", input_noise=0.1, seed=1)
    assert same(first, second)
    assert not same(first, third)


def test_it_leaves_the_random_state_as_it_was(tmp_path: Path) -> None:
    trained = model()
    before = torch.get_rng_state()
    train(tmp_path, of=trained, epochs=1)
    assert torch.equal(torch.get_rng_state(), before)


class InterruptedTestError(Exception):
    pass


def interrupt(at: int) -> object:
    def listener(epoch: int, row: dict[str, float]) -> None:
        if epoch == at:
            raise InterruptedTestError

    return listener


@pytest.mark.parametrize("schedule", ["cosine", "constant", "plateau"])
def test_an_interrupted_training_ends_where_an_uninterrupted_one_does(tmp_path: Path, schedule: str) -> None:
    changes = settings(epochs=4, input_noise=0.1, patience=9, schedule=schedule, plateau_patience=1)
    whole = model()
    expected = fit(whole, data(200), data(64, 1), changes, tmp_path / "whole", progress=False)
    with pytest.raises(InterruptedTestError):
        fit(model(), data(200), data(64, 1), changes, tmp_path / "cut", on_epoch=interrupt(2), progress=False)  # type: ignore[arg-type]
    seen: list[int] = []
    resumed = model()
    history = fit(
        resumed, data(200), data(64, 1), changes, tmp_path / "cut", on_epoch=lambda e, _: seen.append(e), progress=False
    )
    assert seen == [2, 3]  # epoch 2 was cut before it was kept
    assert same(whole, resumed)
    fields = ("epoch", "train_loss", "val_loss", "learning_rate")
    assert [[row[f] for f in fields] for row in history.records()] == [
        [row[f] for f in fields] for row in expected.records()
    ]
    assert history.best_epoch == expected.best_epoch


@pytest.mark.parametrize("change", ["settings", "model", "start", "data", "garbage"])
def test_a_checkpoint_of_another_training_is_not_resumed(tmp_path: Path, change: str) -> None:
    with pytest.raises(InterruptedTestError):
        fit(model(), data(200), data(64, 1), settings(), tmp_path, on_epoch=interrupt(1), progress=False)  # type: ignore[arg-type]
    assert (tmp_path / "last.safetensors").exists()
    if change == "garbage":
        (tmp_path / "last.safetensors").write_bytes(b"no checkpoint")
    other = model(1 if change == "start" else 0)
    other.weight = 2.0 if change == "model" else 1.0
    seen: list[int] = []
    fit(
        other,
        data(200, 5 if change == "data" else 0),
        data(64, 1),
        settings(learning_rate=2e-2 if change == "settings" else 1e-2),
        tmp_path,
        on_epoch=lambda e, _: seen.append(e),
        progress=False,
    )
    assert seen == [0, 1, 2]


def test_a_training_that_is_done_leaves_nothing_to_resume(tmp_path: Path) -> None:
    train(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["best.safetensors"]


def test_the_cosine_falls_to_0_over_the_run(tmp_path: Path) -> None:
    rates = [row.learning_rate for row in train(tmp_path, epochs=4)[1].rows]
    expected = [1e-2 * (1 + math.cos(math.pi * (e + 1) / 4)) / 2 for e in range(4)]
    assert rates == pytest.approx(expected, abs=1e-9)


def test_small_data_get_their_steps(tmp_path: Path) -> None:
    assert len(train(tmp_path, rows=70, min_steps=20)[1].rows) == 7  # 3 steps an epoch


def test_patience_stops(tmp_path: Path) -> None:
    history = train(tmp_path, epochs=60, learning_rate=1.0, schedule="constant", patience=3)[1]
    assert len(history.rows) == history.best_epoch + 4 < 60


def test_a_plateau_halves_the_learning_rate_until_the_least_one_ends_the_training(tmp_path: Path) -> None:
    changes = {"schedule": "plateau", "plateau_patience": 2, "least_learning_rate": 3e-3, "plateau_of": "val_loss"}
    _, history = train(tmp_path, of=NeverBetter(), epochs=30, **changes)
    rates = [row.learning_rate for row in history.rows]
    assert rates == [1e-2] * 3 + [5e-3] * 2  # the first epoch is the best; 2.5e-3 is below the least


def test_a_plateau_looks_at_the_training_loss_as_published(tmp_path: Path) -> None:
    changes = {"schedule": "plateau", "plateau_patience": 2, "learning_rate": 1e-3}
    _, falling = train(tmp_path / "falling", of=Falling(), epochs=5, **changes)
    _, by_val = train(tmp_path / "by_val", of=Falling(), epochs=5, plateau_of="val_loss", **changes)
    assert [row.learning_rate for row in falling.rows] == [1e-3] * 5
    assert [row.learning_rate for row in by_val.rows] == [1e-3] * 3 + [5e-4] * 2


class NeverBetter(Regression):
    """Its validation loss stays what it is."""

    def loss(self, batch: Batch) -> Tensor:
        return super().loss(batch) if self.training else torch.ones(())


class Falling(NeverBetter):
    """Its training loss falls in each step."""

    def loss(self, batch: Batch) -> Tensor:
        self.steps = getattr(self, "steps", 0) + self.training
        loss = super().loss(batch)
        return loss * 0 + 1 / self.steps if self.training else loss


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_steps_in_groups_are_those_that_lightning_makes_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, schedule: str
) -> None:
    changes = {"rows": 1400, "input_noise": 0.1, "gradient_clip": 0.05, "schedule": schedule}  # 44 steps: two groups
    mine, history = train(tmp_path / "mine", **changes)  # type: ignore[arg-type]
    monkeypatch.setattr(FitSettings, "plain", False)
    theirs, one_by_one = train(tmp_path / "theirs", **changes)  # type: ignore[arg-type]
    for a, b in zip(mine.state_dict().values(), theirs.state_dict().values(), strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-6)
    for field in ("train_loss", "val_loss", "learning_rate"):
        expected = [getattr(row, field) for row in one_by_one.rows]
        assert [getattr(row, field) for row in history.rows] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("rows", [1, 31, 33])
def test_a_short_batch_counts(tmp_path: Path, rows: int) -> None:
    assert len(train(tmp_path, rows=rows)[1].rows) == 3


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize("clip", [0.0, 1e-3])
def test_optimiser_and_clipping_are_settings(tmp_path: Path, optimizer: str, clip: float) -> None:
    trained, _ = train(tmp_path, optimizer=optimizer, gradient_clip=clip, weight_decay=0.1)
    assert not same(trained, model())


class Seen(Regression):
    """Remembers what its loss was given in training and in validation."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: dict[bool, list[Batch]] = {True: [], False: []}

    def loss(self, batch: Batch) -> Tensor:
        self.batches[self.training].append(batch)
        return super().loss(batch)


def test_every_row_is_drawn_once_an_epoch_in_another_order(tmp_path: Path) -> None:
    seen = Seen()
    train(tmp_path, of=seen, epochs=2, rows=100)
    first, second = (torch.cat([b.x for b in seen.batches[True][i : i + 4]]) for i in (0, 4))
    assert not torch.equal(first, second)
    expected = data(100).x.sort(0).values
    assert torch.equal(first.sort(0).values, expected)
    assert torch.equal(second.sort(0).values, expected)


def test_noise_is_on_training_batches_alone(tmp_path: Path) -> None:
    seen = Seen()
    train(tmp_path, of=seen, epochs=1, rows=2000, input_noise=0.5)
    drawn = torch.cat([b.x for b in seen.batches[True]])
    assert drawn.var(0).mean().item() == pytest.approx(1.25, abs=0.1)
    validated = torch.cat([b.x for b in seen.batches[False]])
    assert torch.equal(validated.sort(0).values, data(64, 1).x.sort(0).values)


def test_validation_batches_mix_rows_that_are_stored_by_class(tmp_path: Path) -> None:
    seen = Seen()
    y = torch.arange(64) // 32
    val = Batch(data(64).x, y, torch.ones(64))
    fit(seen, data(32), val, settings(epochs=1), tmp_path, progress=False)
    assert all(0 < b.y.sum() < len(b.y) for b in seen.batches[False])


def test_a_model_without_parameters_is_left_alone(tmp_path: Path) -> None:
    trained, history = train(tmp_path / "none", of=Constant())
    assert history == History((), -1)
    assert not trained.training
    assert not (tmp_path / "none").exists()


class Ranker(Scorer):
    """Scores by one feature, rightly in its second epoch and wrongly in each other."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.register_buffer("validations", torch.zeros(()))

    def loss(self, batch: Batch) -> Tensor:
        if not self.training:
            self.validations += 1
        return (batch.x - self.weight).square().mean()

    def score(self, x: Tensor) -> Tensor:
        return x[:, 0] * (1 if self.validations == 2 else -1)


def watched() -> Batch:
    return data(64, 2)


def test_auroc_and_f1_are_told_for_each_epoch(tmp_path: Path) -> None:
    seen: list[float] = []
    history = fit(
        Ranker(),
        data(200),
        data(32, 1),
        settings(),
        tmp_path,
        watched=watched(),
        on_epoch=lambda _, row: seen.append(row["val_auroc"]),
        progress=False,
    )
    assert seen == [row.val_auroc for row in history.rows] == [0.0, 1.0, 0.0]
    flagged = watched().y.sum().item()  # all attacks are above the 99th percentile of the others, and 1 of those is
    assert [row.val_f1 for row in history.rows] == [0.0, pytest.approx(2 * flagged / (2 * flagged + 1)), 0.0]


def test_the_score_at_which_a_model_decides_is_that_of_its_f1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ranker, "decides_above", 0.0)
    history = fit(Ranker(), data(200), data(32, 1), settings(), tmp_path, watched=watched(), progress=False)
    assert [row.val_f1 for row in history.rows] == [0.0, 1.0, 0.0]


def test_the_epoch_can_be_chosen_by_f1(tmp_path: Path) -> None:
    def chosen(select: str) -> History:
        plan, folder = settings(select=select), tmp_path / select
        return fit(Ranker(), data(200), data(32, 1), plan, folder, watched=watched(), progress=False)

    by_loss, by_f1 = chosen("val_loss"), chosen("val_f1")
    assert by_f1.best_epoch == 1
    assert by_loss.best_epoch == min(by_loss.rows, key=lambda row: row.val_loss).epoch != 1


def test_what_is_watched_does_not_change_the_training(tmp_path: Path) -> None:
    plain, beside = Ranker(), Ranker()
    first = fit(plain, data(200), data(32, 1), settings(), tmp_path / "a", progress=False)
    second = fit(beside, data(200), data(32, 1), settings(), tmp_path / "b", watched=watched(), progress=False)
    assert same(plain, beside)
    assert [row.val_loss for row in first.rows] == [row.val_loss for row in second.rows]
    assert first.rows[0].val_auroc is None


def test_to_choose_by_f1_needs_attacks_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"fit\.select is 'val_f1', which needs validation rows of benign records"):
        fit(Ranker(), data(200), data(32, 1), settings(select="val_f1"), tmp_path, progress=False)
    benign = watched()._replace(y=torch.zeros(64))
    with pytest.raises(TrainingError, match="watched rows need benign records and attacks, and these are of one kind"):
        fit(Ranker(), data(200), data(32, 1), settings(), tmp_path, watched=benign, progress=False)


class Overflowing(Ranker):
    def score(self, x: Tensor) -> Tensor:
        return torch.where(x[:, 0] > 1, math.nan, super().score(x))


def test_a_watched_score_that_is_nan_says_when(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"Overflowing: \d+ of 64 validation scores became NaN in epoch 0; lower"):
        fit(Overflowing(), data(200), data(32, 1), settings(), tmp_path, watched=watched(), progress=False)


def test_a_training_that_patience_ended_does_not_go_on_when_it_is_called_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may die between its last epoch and the end of ``fit``."""
    whole, history = train(tmp_path / "whole", of=seeded(NeverBetter), epochs=9, patience=2)
    assert len(history.rows) == 3
    with monkeypatch.context() as patch:
        patch.setattr(
            sys.modules["pipeline.models.training.fit"],
            "_finish",
            lambda *_: (_ for _ in ()).throw(InterruptedTestError),
        )
        with pytest.raises(InterruptedTestError):
            train(tmp_path / "cut", of=seeded(NeverBetter), epochs=9, patience=2)
    resumed, again = train(tmp_path / "cut", of=seeded(NeverBetter), epochs=9, patience=2)
    assert len(again.rows) == 3
    assert again.best_epoch == history.best_epoch == 0
    assert same(whole, resumed)


def seeded(kind: type[Regression]) -> Regression:
    torch.manual_seed(0)
    return kind()


class Diverging(Regression):
    def loss(self, batch: Batch) -> Tensor:
        self.steps = getattr(self, "steps", 0) + self.training
        return super().loss(batch) * (math.nan if self.steps == 9 else 1.0)


def test_a_loss_that_is_nan_says_when(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"Diverging: the loss became nan in epoch 1, step 1 of 7; lower learning"):
        train(tmp_path, of=Diverging())


class BlindInValidation(Regression):
    def loss(self, batch: Batch) -> Tensor:
        return super().loss(batch) + (0.0 if self.training else math.inf)


def test_a_validation_loss_that_is_infinite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="validation loss became inf in epoch 0"):
        train(tmp_path, of=BlindInValidation())


@pytest.mark.parametrize(("part", "rows"), [("training", (0, 5)), ("validation", (5, 0))])
def test_an_empty_set_is_refused(tmp_path: Path, part: str, rows: tuple[int, int]) -> None:
    with pytest.raises(TrainingError, match=f"the {part} set is empty; check"):
        fit(model(), data(rows[0]), data(rows[1]), settings(), tmp_path)


def test_features_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    bad = data(10)
    bad.x[4, 1] = math.nan
    with pytest.raises(
        TrainingError, match="1 of 10 rows of the training set hold NaN or Infinity, the first is row 4"
    ):
        fit(model(), bad, data(5), settings(), tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="device is 'cuda', but PyTorch finds no CUDA device"):
        train(tmp_path, device="cuda")


def test_it_is_quiet_but_for_a_line_an_epoch(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    fit(model(), data(64), data(64), settings(epochs=2), tmp_path)
    out, err = capfd.readouterr()
    assert err == ""
    assert [line.split(":")[0] for line in out.splitlines()] == ["epoch 1", "epoch 2"]
    assert not list(tmp_path.glob("**/lightning_logs"))


SCRIPT = """
    import os, signal, sys
    from pathlib import Path
    sys.path[:0] = [{tests!r}, {root!r}]
    from test_fit import data, model, settings
    from pipeline.models.training import fit

    def stop(epoch, row):
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    fit(model(), data(200), data(64, 1), settings(epochs=5), Path(sys.argv[1]), on_epoch=stop, progress=False)
    print("done")
"""


class Terminated(Seen):
    """Is told to end in its second step."""

    def loss(self, batch: Batch) -> Tensor:
        if self.training and len(self.batches[True]) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().loss(batch)


def test_a_terminated_training_ends_behind_the_step_that_it_is_in(tmp_path: Path) -> None:
    told = Terminated()
    with pytest.raises(SystemExit) as ended:
        train(tmp_path, of=told)  # 7 steps an epoch
    assert ended.value.code == 143
    assert len(told.batches[True]) == 2


def test_a_terminated_training_fails_and_can_be_resumed(tmp_path: Path) -> None:
    script = textwrap.dedent(SCRIPT).format(tests=str(Path(__file__).parent), root=str(ROOT))
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == 143, done.stderr
    assert "done" not in done.stdout
    assert (tmp_path / "last.safetensors").exists()
    seen: list[int] = []
    fit(
        model(),
        data(200),
        data(64, 1),
        settings(epochs=5),
        tmp_path,
        on_epoch=lambda e, _: seen.append(e),
        progress=False,
    )
    assert seen[0] > 0
    assert seen[-1] == 4


def test_records_are_plain_json(tmp_path: Path) -> None:
    records = train(tmp_path)[1].records()
    assert json.loads(json.dumps(records)) == records


def row(epoch: int, loss: float, undone: bool = False) -> dict[str, object]:
    return {"epoch": epoch, "train_loss": loss, "val_loss": loss, "updates": 0, "undone": undone}


def test_an_epoch_that_was_undone_does_not_set_the_loss_that_a_plateau_is_measured_by() -> None:
    plan = settings(schedule="plateau", plateau_patience=2, learning_rate=1e-2)
    falling = [row(0, 1.0), row(1, 0.1, undone=True), row(2, 0.9), row(3, 0.8)]
    assert learning_rate(falling, plan) == 1e-2
    assert learning_rate([row(0, 1.0), row(1, 1.0), row(2, 1.0)], plan) == 5e-3


PROCESSES = """
    import json, os, sys, time
    from pathlib import Path
    sys.path[:0] = [{tests!r}, {root!r}]
    from test_fit import data, model, settings
    from pipeline.base.errors import TrainingError
    from pipeline.models.training import fit

    if __name__ == "__main__":
        if os.environ.get("LOCAL_RANK") == "1":  # the other process is long done when this one reads the weights
            door = sys.modules["pipeline.models.training.fit"]
            read = door.read
            door.read = lambda path: time.sleep(2) or read(path)
        plan = settings(devices=2, strategy="ddp", schedule="plateau", keep="last")
        history = fit(model(), data(200), data(64, 1), plan, Path(sys.argv[1]), progress=False)
        sys.stdout.write(json.dumps([row.train_loss for row in history.rows]) + "\\n")  # one write: both share a pipe
        other = data(200, int(os.environ["LOCAL_RANK"]))  # each process now has records of its own
        try:
            fit(model(), other, data(64, 1), plan, Path(sys.argv[1]) / "other", updates=None, progress=False)
        except TrainingError as error:
            sys.stdout.write(f"{{error}}\\n")
"""


def test_two_processes_see_one_training_loss_and_both_end_with_the_last_weights(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(PROCESSES).format(tests=str(Path(__file__).parent), root=str(ROOT)))
    command = [sys.executable, str(script), str(tmp_path / "checkpoints")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"GOMP_SPINCOUNT": "1000"})
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert len(lines) == 2, done.stderr
    assert lines[0] == lines[1]
    assert done.stdout.count("the processes of this training differ in their records") == 2, done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_absent_is_refused_where_nothing_is_trained_too():
    with pytest.raises(TrainingError, match="finds no CUDA device"):
        device_of("cuda")
