"""Every registered model that trains: with confidence updates, after an interruption, and in two processes."""

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.base.registry import build
from pipeline.calibration.confidence import CONFIDENCES
from pipeline.calibration.thresholds.registry import THRESHOLDS
from pipeline.models.base import Batch, Model
from pipeline.models.detectors.registry import DETECTORS
from pipeline.models.encoders.losses.registry import LOSSES
from pipeline.models.encoders.registry import ENCODERS
from pipeline.models.training import FitSettings, History, Update, Updates, fit
from tests.settings import ROOT, fit_with

F, N = 16, 192


def model(name: str) -> Model:
    """A model in its starting state: a detector, an encoder, or an encoder and its loss."""
    torch.manual_seed(0)
    kind, _, goal = name.partition("-")
    if kind in ENCODERS:
        loss = build(LOSSES, goal or "dccl", confidence="push", **({"centre": "ema"} if goal == "binary" else {}))
        encoder = build(ENCODERS, kind, features=F, loss=loss)
        encoder.initialise(*records()[:2])
        return encoder
    detector = build(DETECTORS, name, features=F)
    detector.fit(records().x)
    return detector


def records() -> Batch:
    """Benign records, every ninth of them an attack that nobody labelled, and labelled attacks."""
    generator = torch.Generator().manual_seed(1)
    y = (torch.arange(N) % 3 == 2).long()
    x = torch.randn(N, F, generator=generator) + 2 * y[:, None]
    x[::9] -= 4
    return Batch(x, y, 1.0 - 2 * y)


def updates(name: str) -> Updates:
    plan = model(name)
    strategy, rule = build(THRESHOLDS, plan.strategy), build(CONFIDENCES, plan.rule)
    return Updates(strategy, rule, every_n_epochs=1, warm_up=1, max_share=0.3)


def settings(**changes: object) -> FitSettings:
    return fit_with(**({"epochs": 4, "batch_size": 64, "learning_rate": 1e-3, "device": "cpu"} | changes))  # type: ignore[arg-type]


def worsening(trained: Model) -> Model:
    """The same model, but its validation loss rises from epoch to epoch, after an interruption too."""
    trained.register_buffer("validations", torch.zeros(()))
    loss = trained.loss

    def rising(batch: Batch) -> torch.Tensor:
        if trained.training:
            return loss(batch)
        trained.validations += 1
        return trained.validations.clone()

    trained.loss = rising  # type: ignore[method-assign]
    return trained


def train(
    name: str,
    folder: Path,
    on_epoch: Callable[[int, object], None] | None = None,
    change: Callable[[Model], Model] = lambda model: model,
    **changes: object,
) -> tuple[Model, History, list[Update]]:
    trained, told = change(model(name)), []
    history = fit(
        trained,
        records(),
        records(),
        settings(**changes),
        folder,
        on_epoch=on_epoch,
        updates=updates(name),
        on_update=told.append,
        progress=False,
    )
    return trained, history, told


WITH_LOSSES = [f"residual_mlp-{loss}" for loss in LOSSES if loss != "dccl"]
TRAINABLE = [*(name for name in (*DETECTORS, *ENCODERS) if model(name).trainable), *WITH_LOSSES]


class InterruptedTestError(Exception):
    pass


@pytest.mark.parametrize("name", TRAINABLE)
def test_an_interrupted_training_with_updates_ends_where_an_uninterrupted_one_does(name: str, tmp_path: Path) -> None:
    def interrupt(epoch: int, _: object) -> None:
        if epoch == 2:
            raise InterruptedTestError

    whole, history, told = train(name, tmp_path / "whole")
    with pytest.raises(InterruptedTestError):
        train(name, tmp_path / "cut", interrupt)
    resumed, again, rest = train(name, tmp_path / "cut")
    for mine, theirs in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    assert [row.train_loss for row in history.rows] == [row.train_loss for row in again.rows]
    assert [update.epoch for update in told] == [0, 1, 2]
    assert [update.epoch for update in rest] == [2]
    assert np.array_equal(rest[0].confidence, told[2].confidence)


def weights(trained: Model) -> list[torch.Tensor]:
    return [value.clone() for value in trained.parameters()]


def same(mine: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))


@pytest.mark.parametrize("name", TRAINABLE)
def test_the_last_epoch_is_kept_though_the_validation_loss_rises(name: str, tmp_path: Path) -> None:
    seen: list[list[torch.Tensor]] = []
    watched: list[Model] = []

    def change(trained: Model) -> Model:
        watched.append(worsening(trained))
        return watched[0]

    trained, history, _ = train(name, tmp_path, lambda *_: seen.append(weights(watched[0])), change, keep="last")
    losses = [row.val_loss for row in history.rows]
    assert losses == sorted(losses)
    assert history.best_epoch == 3
    assert same(weights(trained), seen[3])
    assert not same(seen[0], seen[3])


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("name", TRAINABLE)
def test_a_training_goes_on_behind_its_last_epoch_though_the_validation_loss_rises(
    name: str, keep: str, tmp_path: Path
) -> None:
    def interrupt(epoch: int, _: object) -> None:
        if epoch == 4:
            raise InterruptedTestError

    whole, history, _ = train(name, tmp_path / "whole", change=worsening, keep=keep, epochs=6)
    with pytest.raises(InterruptedTestError):
        train(name, tmp_path / "cut", interrupt, worsening, keep=keep, epochs=6)
    seen: list[int] = []
    resumed, again, _ = train(
        name, tmp_path / "cut", lambda epoch, _: seen.append(epoch), worsening, keep=keep, epochs=6
    )
    assert seen == [4, 5]
    assert same(weights(whole), weights(resumed))
    assert again.best_epoch == history.best_epoch == (5 if keep == "last" else 1)  # 1 is the first behind an update
    assert again.updates_seen == history.updates_seen == again.rows[again.best_epoch].updates


@pytest.mark.parametrize("name", TRAINABLE)
def test_an_update_judges_every_record_that_is_labelled_benign(name: str, tmp_path: Path) -> None:
    _, _, told = train(name, tmp_path)
    attack = records().y.numpy() == 1
    for update in told:
        assert np.isfinite(update.score).all()
        assert (update.confidence[attack] == -1).all()
        assert np.abs(update.confidence).max() <= 1
        assert (update.confidence[~attack] > 0).any()


SCRIPT = """
    import json, os, sys
    from dataclasses import replace
    from pathlib import Path
    sys.path[:0] = [{tests!r}, {root!r}]
    import test_training as contract

    name, folder = sys.argv[1], Path(sys.argv[2])
    plan, drawn = contract.updates(name), []

    def strategy(scores, previous=None):
        thresholds = plan.strategy(scores, previous)
        drawn.append([len(scores), thresholds.low, thresholds.high])
        return thresholds

    if __name__ == "__main__":
        contract.updates = lambda name: replace(plan, strategy=strategy)
        model, _, told = contract.train(name, folder / "checkpoints", devices=2, strategy="ddp", epochs=3)
        weights = [value.double().sum().item() for value in model.state_dict().values()]
        rank = os.environ.get("LOCAL_RANK", "0")
        (folder / f"{{rank}}.json").write_text(json.dumps([drawn, weights]))
"""


@pytest.mark.parametrize("name", [name for name in TRAINABLE if model(name).updated])
def test_two_processes_draw_the_same_thresholds_and_end_with_the_same_weights(name: str, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT).format(tests=str(Path(__file__).parent), root=str(ROOT)))
    done = subprocess.run(
        [sys.executable, str(script), name, str(tmp_path)],
        capture_output=True,
        text=True,
        env=os.environ | {"GOMP_SPINCOUNT": "1000", "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    drawn, _ = first
    assert [rows for rows, _, _ in drawn] == [N - N // 3] * 2  # every record that is labelled benign, in both
