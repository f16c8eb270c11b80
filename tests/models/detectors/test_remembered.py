"""Rows that were scored when their fold was left out are not scored again."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.calibration import cross_conformal
from pipeline.models.arrays.mahalanobis import MahalanobisForm
from pipeline.models.arrays.parts import Rows
from pipeline.models.arrays.stored import Stored
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.boosting import Boosting
from pipeline.models.detectors.ensemble import Ensemble
from pipeline.models.detectors.folds import VERIFIED, Folds
from pipeline.models.detectors.mahalanobis import Mahalanobis
from pipeline.models.detectors.remembered import Remembered


def rows(n: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, 3)).astype(np.float32))


def fitted(make: Callable[[], Detector], x: Tensor, fold: Tensor) -> Folds:
    attacks, families = rows(120, 2) + torch.tensor([4.0, 0, 0]), torch.arange(120) % 2 + 1
    known = make().trains_on == "all"
    return Folds.fitted(make, x, fold, attacks[: 120 * known], families[: 120 * known])


def dealt(x: Tensor, together: list[str] | None = None) -> Tensor:
    groups = [] if together is None else [np.array(together)]
    return torch.from_numpy(cross_conformal.deal(x.numpy(), groups, 3))


class CountedForm(MahalanobisForm):
    """Counts the rows that it scores."""

    scored = 0

    def scores(self, x: Rows) -> Rows:
        CountedForm.scored += len(x)
        return super().scores(x)


class Counted(Mahalanobis):
    """Counts the rows that it scores."""

    def _formed(self, arrays: Stored) -> CountedForm:
        return CountedForm.of(arrays, self.features)


@pytest.mark.parametrize("make", [lambda: Mahalanobis(3), lambda: Ensemble(3), lambda: Boosting(3, trees=10)])
def test_the_scores_are_those_that_the_models_give(make: Callable[[], Detector]) -> None:
    x = rows(400)
    model, both = fitted(make, x, dealt(x)), torch.cat([x, rows(50, 1)])
    torch.testing.assert_close(model.scores(both), model.by_fold(both, model.route(both)), rtol=1e-6, atol=1e-6)


def test_only_new_rows_are_scored() -> None:
    x = rows(400)
    model = fitted(lambda: Counted(3), x, dealt(x))
    CountedForm.scored = 0
    model.scores(torch.cat([x, x[:10]]))
    assert CountedForm.scored == 0
    model.scores(torch.cat([x, rows(50, 1)]))
    assert CountedForm.scored == 50


def test_a_row_that_its_own_model_has_seen_is_scored_by_that_of_its_content() -> None:
    x = rows(300)
    fold = dealt(x, [str(i % 40) for i in range(300)])
    fold[:5] = cross_conformal.IN_EVERY_MODEL
    model = fitted(lambda: Counted(3), x, fold)
    elsewhere = int((model.route(x) != fold).sum())
    CountedForm.scored = 0
    found = model.scores(x)
    assert CountedForm.scored == elsewhere > 100
    torch.testing.assert_close(found, model.by_fold(x, model.route(x)))


def test_other_weights_have_other_scores() -> None:
    x = rows(200)
    model, other = (fitted(lambda: Mahalanobis(3), each, dealt(each)) for each in (x, 2 * x + 1))
    model.load_state_dict(other.state_dict())
    torch.testing.assert_close(model.scores(x), other.scores(x))


def test_of_no_rows_nothing_is_known() -> None:
    x = rows(4)
    assert Remembered.of(x[:0], x[:0, 0]).scores(x)[1].all()
    assert Remembered.of(x, x[:, 0]).scores(x[:0])[0].shape == (0,)


def test_a_model_of_each_fold_is_verified_on_some_of_many_rows() -> None:
    x = rows(300)
    model = fitted(lambda: Counted(3), x, dealt(x))
    CountedForm.scored = 0
    model.verify(rows(2 * VERIFIED + 1))
    assert 3 * VERIFIED / 2 <= CountedForm.scored <= 3 * VERIFIED
