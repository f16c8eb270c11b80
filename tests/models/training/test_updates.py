"""Confidence updates: what a model makes of its training records is what the next epoch trains on."""

import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from pipeline.base.errors import TrainingError
from pipeline.calibration.confidence import Ecdf, binary
from pipeline.calibration.thresholds.base import Thresholds
from pipeline.calibration.thresholds.percentile import Percentile
from pipeline.models.base import Batch, Model, Scorer
from pipeline.models.layers import Dropout
from pipeline.models.training import FitSettings, History, Update, Updates, fit
from pipeline.models.training.trial import HeldOutScores
from tests.settings import ROOT, fit_with


class Centre(Scorer):
    """Learns the centre of what it is confident of; the score is the distance to it."""

    def __init__(self) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(2))
        self.dropout = Dropout(0.5)
        self.drawn: list[tuple[Tensor, Tensor]] = []
        self.scored_in_training: list[bool] = []

    def loss(self, batch: Batch) -> Tensor:
        if self.training:
            self.drawn.append((batch.x, batch.confidence))
        weight = batch.confidence.clamp_min(0)
        return (weight * self.distance2(self.dropout(batch.x))).sum() / weight.sum().clamp_min(1)

    def distance2(self, x: Tensor) -> Tensor:
        return (x - self.centre).square().sum(1)

    def score(self, x: Tensor) -> Tensor:
        self.scored_in_training.append(self.training or torch.is_grad_enabled())
        return self.distance2(self.dropout(x))


N, OUTLIERS = 200, 20


def records(y: Tensor | None = None) -> Batch:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, 2, generator=generator)
    x[:OUTLIERS] += 12
    return Batch(x, torch.zeros(N, dtype=torch.int64) if y is None else y, torch.ones(N))


def settings(**changes: object) -> FitSettings:
    base = {"epochs": 6, "batch_size": 64, "learning_rate": 5e-2, "device": "cpu"}
    return fit_with(**(base | changes))  # type: ignore[arg-type]


def updates(**changes: object) -> Updates:
    base = {"strategy": Percentile(low=85, high=90), "rule": binary, "every_n_epochs": 2, "warm_up": 2}
    return Updates(**(base | changes))  # type: ignore[arg-type]


def train(
    folder: Path, plan: Updates | None, model: Model | None = None, data: Batch | None = None, **changes: object
) -> tuple[Model, History, list[Update]]:
    torch.manual_seed(0)
    trained, told = model or Centre(), []
    history = fit(
        trained,
        data or records(),
        records(),
        settings(**changes),
        folder,
        updates=plan,
        on_update=told.append,
        progress=False,
    )
    return trained, history, told


def confidence_by_epoch(model: Centre) -> list[list[float]]:
    """The confidence of every record in the order of its first feature, for each epoch of training."""
    steps = math.ceil(N / 64)
    epochs = []
    for start in range(0, len(model.drawn), steps):
        x, c = (torch.cat(part) for part in zip(*model.drawn[start : start + steps], strict=True))
        epochs.append(c[x[:, 0].argsort()].tolist())
    return epochs


def test_an_update_is_what_the_next_epoch_trains_on_and_changes_its_loss(tmp_path: Path) -> None:
    model, history, told = train(tmp_path / "a", updates())
    assert isinstance(model, Centre)
    assert [update.epoch for update in told] == [1, 3]  # after the second and the fourth of six, never after the last
    order = records().x[:, 0].argsort().numpy()
    seen = confidence_by_epoch(model)
    assert seen[0] == seen[1] == [1.0] * N
    assert seen[2] == seen[3] == told[0].confidence[order].tolist()
    assert seen[4] == seen[5] == told[1].confidence[order].tolist()
    assert (told[0].confidence < 0).sum() == OUTLIERS
    _, plain, none = train(tmp_path / "b", None)
    assert none == []
    losses, without = ([row.train_loss for row in h.rows] for h in (history, plain))
    assert losses[:2] == without[:2]
    assert losses[2] < 0.5 * without[2]


def test_the_outliers_no_longer_pull(tmp_path: Path) -> None:
    robust, _, _ = train(tmp_path / "a", updates(), epochs=40)
    pulled, _, _ = train(tmp_path / "b", None, epochs=40)
    assert robust.centre.norm() < 0.5 * pulled.centre.norm()  # type: ignore[operator, union-attr]


def test_scores_are_taken_in_evaluation_mode_and_training_goes_on_in_training_mode(tmp_path: Path) -> None:
    model, _, told = train(tmp_path, updates())
    assert isinstance(model, Centre)
    assert model.scored_in_training
    assert not any(model.scored_in_training)
    assert len(model.drawn) == 6 * math.ceil(N / 64)  # every epoch of training, those behind an update too
    assert len(np.unique(told[0].score)) == N  # no dropout: none is at distance 0 by chance


def test_a_known_attack_keeps_its_confidence_and_is_not_judged(tmp_path: Path) -> None:
    y = torch.zeros(N, dtype=torch.int64)
    y[:OUTLIERS] = 1
    data = records(y)
    data.confidence[:OUTLIERS] = -1
    judged: list[int] = []

    def strategy(scores: ArrayLike, previous: Thresholds | None = None) -> Thresholds:
        judged.append(len(np.asarray(scores)))
        return Percentile(low=85, high=90)(scores)

    _, _, told = train(tmp_path, updates(strategy=strategy), data=data)
    assert judged == [N - OUTLIERS] * 2
    assert (told[-1].confidence[:OUTLIERS] == -1).all()


def test_the_strategy_is_told_the_thresholds_before(tmp_path: Path) -> None:
    given: list[Thresholds | None] = []

    def strategy(scores: ArrayLike, previous: Thresholds | None = None) -> Thresholds:
        given.append(previous)
        return Percentile(low=85, high=90)(scores)

    _, _, told = train(tmp_path, updates(strategy=strategy))
    assert given == [None, told[0].thresholds]
    assert [update.previous for update in told] == given


def judge(plan: Updates, score: ArrayLike, before: ArrayLike | None = None) -> list[float]:
    score = np.asarray(score, dtype=np.float64)
    n = len(score)
    old = torch.ones(n) if before is None else torch.tensor(before, dtype=torch.float32)
    batch = Batch(torch.zeros(n, 1), torch.zeros(n), old)
    return plan.update(4, score, batch, None).confidence.tolist()


def fixed(low: float, high: float) -> object:
    return lambda scores, previous=None: Thresholds(low, high)


def test_the_cap_lets_the_highest_scores_become_anomalous(tmp_path: Path) -> None:
    plan = updates(strategy=fixed(-1, -1), max_share=0.25)
    assert judge(plan, [3, 1, 4, 1, 5, 9, 2, 6]) == [1, 1, 1, 1, 1, -1, 1, -1]


def test_what_is_anomalous_already_does_not_count_towards_the_cap() -> None:
    plan = updates(strategy=fixed(-1, -1), max_share=0.25)
    before = [1, 1, 1, 1, 1, -1, 1, -1]
    assert judge(plan, [3, 1, 4, 1, 5, 9, 2, 6], before) == [1, 1, -1, 1, -1, -1, 1, -1]


def test_smoothing_keeps_a_share_of_what_was() -> None:
    plan = updates(strategy=fixed(1, 2), smoothing=0.75, max_share=1)
    assert judge(plan, [0, 1.5, 3]) == [1, 0.75, 0.5]


def test_every_record_judged_anomalous_is_refused_where_the_cap_allows_it() -> None:
    with pytest.raises(TrainingError, match=r"after epoch 4 leaves none of 3 records .* lower confidence\.max_share"):
        judge(updates(strategy=fixed(-1, -1), max_share=1), [1, 2, 3])


def test_the_lowest_of_too_many_unknown_records_count_as_benign() -> None:
    plan = updates(strategy=fixed(1, 8), max_unknown_share=0.25, max_share=1)
    assert judge(plan, [3, 1, 4, 1, 5, 9, 2, 6]) == [1, 1, 1, 1, 0, -1, 1, 0]


def test_what_is_unknown_already_counts_towards_the_cap_or_it_would_grow_from_update_to_update() -> None:
    plan = updates(strategy=fixed(1, 9), max_unknown_share=0.25)
    before = [0, 1, 0, 1, 1, 1, 1, 1]
    assert judge(plan, [3, 1, 4, 1, 5, 9, 2, 6], before) == [1, 1, 1, 1, 1, 0, 1, 0]


def test_a_spared_record_is_as_little_sure_as_the_least_sure_benign_one() -> None:
    plan = updates(strategy=fixed(2, 9), rule=Ecdf(), max_unknown_share=0.0)
    assert judge(plan, [1, 2, 3, 4]) == [1, 0.75, 0.75, 0.75]


def test_a_share_of_1_switches_the_caps_off() -> None:
    plan = updates(strategy=fixed(1, 8), max_unknown_share=1.0, max_share=1.0)
    assert judge(plan, [3, 1, 4, 1, 5, 9, 2, 9]) == [0, 1, 0, 1, 0, -1, 0, -1]


class Worsening(Centre):
    """Its validation loss rises from epoch to epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("validations", torch.zeros(()))

    def loss(self, batch: Batch) -> Tensor:
        if self.training:
            return super().loss(batch)
        self.validations = self.validations + 1
        return self.validations


def test_an_epoch_that_no_update_has_reached_is_not_kept(tmp_path: Path) -> None:
    _, history, told = train(tmp_path, updates(), Worsening())
    assert [update.epoch for update in told] == [1, 3]
    assert [row.updates for row in history.rows] == [0, 0, 1, 1, 2, 2]
    assert history.best_epoch == 2
    assert history.updates_seen == 1


class Validated(Centre):
    """Notes the confidence of the rows that validate it."""

    def __init__(self) -> None:
        super().__init__()
        self.validated: list[Tensor] = []

    def loss(self, batch: Batch) -> Tensor:
        if not self.training:
            self.validated.append(batch.confidence)
        return super().loss(batch)


def test_updates_leave_the_confidence_of_the_validation_rows_as_it_was(tmp_path: Path) -> None:
    model = Validated()
    _, history, _ = train(tmp_path, updates(), model)
    assert history.updates_seen > 0
    assert torch.cat(model.validated).tolist() == [1.0] * N * len(history.rows)


def test_patience_counts_from_the_first_epoch_that_trains_on_an_update(tmp_path: Path) -> None:
    _, history, _ = train(tmp_path, updates(warm_up=4, every_n_epochs=9), Worsening(), epochs=20, patience=3)
    assert len(history.rows) == 8  # the first update follows epoch 3; epoch 4 is the best, 5 to 7 are not better
    assert history.best_epoch == 4


@pytest.mark.parametrize(("warm_up", "epochs"), [(6, 6), (7, 6)])
def test_updates_that_no_epoch_would_train_on_are_refused_before_training(
    tmp_path: Path, warm_up: int, epochs: int
) -> None:
    message = (
        f"would follow epoch {warm_up - 1} and training ends with epoch {epochs - 1}, .*epochs to {warm_up + 1}, lower"
    )
    model = Centre()
    with pytest.raises(TrainingError, match=message):
        train(tmp_path, updates(warm_up=warm_up), model, epochs=epochs)
    assert not model.drawn


def against_the_bulk(scores: ArrayLike, thresholds: Thresholds) -> np.ndarray:
    """Trust in what stands out alone."""
    return np.where(np.asarray(scores) > thresholds.high, 1, -1).astype(np.float32)


def harmful(**changes: object) -> Updates:
    return updates(rule=against_the_bulk, max_share=1.0, undo=True, **changes)


def test_an_update_that_makes_the_model_worse_is_taken_back_and_is_the_last(tmp_path: Path) -> None:
    seen: list[Tensor] = []
    model = Centre()
    torch.manual_seed(0)
    told: list[Update] = []
    history = fit(
        model, records(), records(), settings(keep="last", schedule="constant", learning_rate=1.0), tmp_path,
        updates=harmful(), on_update=told.append, progress=False,
        on_epoch=lambda *_: seen.append(model.centre.detach().clone()),
    )  # fmt: skip
    assert [update.epoch for update in told] == [1]
    assert [update.epoch for update in history.undone] == [1]
    assert "most benign 80%" in history.undone[0].reason
    assert [row.undone for row in history.rows] == [False, False, True, False, False, False]
    assert [row.updates for row in history.rows] == [0, 0, 1, 0, 0, 0]
    assert history.updates_seen == 0
    assert torch.equal(seen[1], seen[2])  # the weights went back
    assert history.confidence is not None
    assert history.confidence.tolist() == [1.0] * N  # and so did the confidence


def test_an_update_is_not_taken_back_where_the_plan_does_not_say_so(tmp_path: Path) -> None:
    _, history, told = train(tmp_path, updates(rule=against_the_bulk, max_share=1.0))
    assert [update.epoch for update in told] == [1, 3]
    assert history.undone == ()


def test_an_update_that_finds_what_contaminates_stays(tmp_path: Path) -> None:
    _, history, _ = train(tmp_path, updates(undo=True), keep="last")
    assert history.undone == ()
    assert history.updates_seen == 2


def test_records_that_are_copies_of_one_another_do_not_make_rounding_noise_a_fault() -> None:
    copies = np.full(100, 0.3)
    before = HeldOutScores.of(copies, None)
    assert before.fault(HeldOutScores.of(copies + 0.01, None)) is None
    assert before.fault(HeldOutScores.of(copies * 3, None)) is not None


def test_known_attacks_that_look_more_benign_speak_against_an_update() -> None:
    before = HeldOutScores.of(np.arange(100.0), 0.95)
    assert before.fault(HeldOutScores.of(np.arange(100.0), 0.94)) is None
    assert "AUROC on the validation rows fell from 0.9500 to 0.9000" in str(
        before.fault(HeldOutScores.of(np.arange(100.0), 0.90))
    )


def test_known_attacks_decide_alone_where_there_are_any() -> None:
    before = HeldOutScores.of(np.arange(100.0), 0.90)
    assert before.fault(HeldOutScores.of(np.arange(100.0) * 9, None)) is not None
    assert before.fault(HeldOutScores.of(np.arange(100.0) * 9, 0.95)) is None


def test_attacks_among_the_held_out_records_do_not_speak_against_an_update() -> None:
    score = np.arange(100.0)
    found = np.where(score >= 80, 1e6, score)
    assert HeldOutScores.of(score, None).fault(HeldOutScores.of(found, None)) is None


def test_an_undone_epoch_is_not_kept_though_it_is_the_last(tmp_path: Path) -> None:
    _, history, _ = train(tmp_path, harmful(), epochs=3, keep="last", schedule="constant", learning_rate=1.0)
    assert history.best_epoch == 1


@pytest.mark.parametrize("at", [2, 3, 4])
def test_an_interrupted_training_takes_the_same_update_back(tmp_path: Path, at: int) -> None:
    def interrupt(epoch: int, _: object) -> None:
        if epoch == at:
            raise InterruptedTestError

    whole, history, _ = train(tmp_path / "whole", harmful(), keep="last", learning_rate=1.0)
    with pytest.raises(InterruptedTestError):
        fit(
            Centre(), records(), records(), settings(keep="last", learning_rate=1.0), tmp_path / "cut",
            on_epoch=interrupt, updates=harmful(), progress=False,
        )  # fmt: skip
    resumed, again, _ = train(tmp_path / "cut", harmful(), keep="last", learning_rate=1.0)
    assert torch.equal(whole.centre, resumed.centre)  # type: ignore[arg-type]
    assert again.undone == history.undone
    assert [row.undone for row in again.rows] == [row.undone for row in history.rows]


class Breaking(Centre):
    def score(self, x: Tensor) -> Tensor:
        return torch.where(x[:, 0] == records().x[7, 0], math.nan, super().score(x))


def test_a_score_that_is_nan_names_the_row_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="score of 1 training records became NaN after epoch 1, the first is row 7"):
        train(tmp_path, updates(), Breaking())
    assert (tmp_path / "last.safetensors").exists()
    assert (tmp_path / "best.safetensors").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"every_n_epochs": 0},
        {"warm_up": 0},
        {"max_share": 0.0},
        {"max_share": 1.1},
        {"smoothing": 1.0},
        {"max_unknown_share": -0.1},
    ],
)
def test_values_outside_their_limits_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        updates(**wrong)


class InterruptedTestError(Exception):
    pass


@pytest.mark.parametrize("at", [2, 3, 4])
def test_an_interrupted_training_goes_on_with_its_confidence(tmp_path: Path, at: int) -> None:
    def interrupt(epoch: int, _: object) -> None:
        if epoch == at:
            raise InterruptedTestError

    whole, history, told = train(tmp_path / "whole", updates())
    with pytest.raises(InterruptedTestError):
        fit(
            Centre(),
            records(),
            records(),
            settings(),
            tmp_path / "cut",
            on_epoch=interrupt,
            updates=updates(),
            progress=False,
        )
    resumed, again, rest = train(tmp_path / "cut", updates())
    assert torch.equal(whole.centre, resumed.centre)  # type: ignore[arg-type]
    assert [row.train_loss for row in again.rows] == [row.train_loss for row in history.rows]
    assert np.array_equal(rest[-1].confidence, told[-1].confidence) if rest else at == 4
    if rest:
        assert rest[-1].previous == told[-1].previous


@pytest.mark.parametrize("at", [2, 4])
def test_what_is_told_of_the_confidence_at_the_end_survives_an_interruption(tmp_path: Path, at: int) -> None:
    def interrupt(epoch: int, _: object) -> None:
        if epoch == at:
            raise InterruptedTestError

    _, whole, told = train(tmp_path / "whole", updates())
    with pytest.raises(InterruptedTestError):
        fit(
            Centre(),
            records(),
            records(),
            settings(),
            tmp_path / "cut",
            on_epoch=interrupt,
            updates=updates(),
            progress=False,
        )
    _, resumed, _ = train(tmp_path / "cut", updates())
    assert whole.confidence is not None
    assert whole.confidence.tolist() == told[-1].confidence.tolist()
    assert resumed.confidence is not None
    assert resumed.confidence.tolist() == whole.confidence.tolist()


class Scoreless(Model):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def loss(self, batch: Batch) -> Tensor:
        return (batch.x - self.weight).square().mean()


def test_a_model_without_a_score_cannot_be_trained_with_updates(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="Scoreless: has no score, which confidence updates need"):
        train(tmp_path, updates(), Scoreless())


def test_another_plan_does_not_resume(tmp_path: Path) -> None:
    def interrupt(epoch: int, _: object) -> None:
        if epoch == 3:
            raise InterruptedTestError

    with pytest.raises(InterruptedTestError):
        fit(Centre(), records(), records(), settings(), tmp_path, on_epoch=interrupt, updates=updates(), progress=False)
    _, _, told = train(tmp_path, updates(max_share=0.05))
    assert [update.epoch for update in told] == [1, 3]


SCRIPT = """
    import json, sys
    from pathlib import Path
    sys.path[:0] = [{tests!r}, {root!r}]
    import torch
    from test_updates import Centre, records, settings, updates
    from pipeline.models.training import fit

    if __name__ == "__main__":
        torch.manual_seed(0)
        told = []
        model = Centre()
        plan = settings(devices=int(sys.argv[2]), strategy="ddp" if sys.argv[2] == "2" else "auto")
        data, where = records(), Path(sys.argv[1])
        fit(model, data, data, plan, where, updates=updates(), on_update=told.append, progress=False)
        if told:
            print(json.dumps({{
                "centre": model.centre.tolist(),
                "thresholds": [[u.thresholds.low, u.thresholds.high] for u in told],
                "confidence": [u.confidence.tolist() for u in told],
            }}))
"""


def in_processes(folder: Path, devices: int) -> dict[str, list[float]]:
    import json

    script = folder / "script.py"
    script.write_text(textwrap.dedent(SCRIPT).format(tests=str(Path(__file__).parent), root=str(ROOT)))
    done = subprocess.run(
        [sys.executable, str(script), str(folder / "checkpoints"), str(devices)],
        capture_output=True,
        text=True,
        env=os.environ | {"GOMP_SPINCOUNT": "1000"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(lines) == 1  # the first process alone tells
    return json.loads(lines[0])  # type: ignore[no-any-return]


def test_two_processes_draw_the_thresholds_that_one_draws(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one, two = in_processes(tmp_path / "one", 1), in_processes(tmp_path / "two", 2)
    assert two["confidence"][0] == one["confidence"][0]
    assert two["thresholds"][0] == pytest.approx(one["thresholds"][0], rel=0.05)
    assert len(two["thresholds"]) == 2
