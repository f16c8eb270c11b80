"""The robust ensemble: the ensemble, fitted on all but the strangest rows."""

import pytest
import torch
from torch import Tensor

from pipeline.evaluation.metrics import auroc
from pipeline.models.detectors.ensemble import Ensemble
from pipeline.models.detectors.folds import Folds
from pipeline.models.detectors.isolation_forest import IsolationForest
from pipeline.models.detectors.robust import Robust


def rows(n: int, seed: int) -> Tensor:
    """Correlated rows, (n, 4)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 4, generator=generator) @ torch.tensor(
        [[1.0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 1]]
    )


def hidden(seed: int, share: float = 0.1) -> tuple[Tensor, Tensor]:
    """600 rows, a share of them attacks that are strange and alike; and which are attacks."""
    attacks = round(600 * share)
    x = torch.cat(
        [rows(600 - attacks, seed), 0.3 * torch.randn(attacks, 4, generator=torch.Generator().manual_seed(9)) + 6]
    )
    return x, torch.arange(600) >= 600 - attacks


def found(detector: Ensemble, x: Tensor) -> float:
    detector.fit(x)
    new, attack = hidden(7, 0.2)
    return float(auroc(attack.numpy().astype(int), detector.score(new).numpy()) or 0.0)


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_attacks_that_hide_among_its_rows_where_the_ensemble_does_not(seed: int) -> None:
    x, _ = hidden(seed)
    assert found(Robust(4), x) > 0.99 > 0.8 > found(Ensemble(4), x)


def test_it_is_the_ensemble_of_the_rows_that_the_forest_finds_least_strange() -> None:
    x, _ = hidden(0)
    forest, new = IsolationForest(4), rows(200, 5) * 2
    forest.fit(x)
    left = forest.score(x).argsort(stable=True)[: 600 - 180].sort().values
    plain, robust = Ensemble(4), Robust(4, peel=0.3)
    plain.fit(x[left])
    robust.fit(x)
    assert torch.equal(robust.score(new), plain.score(new))
    assert torch.equal(robust.nearest(x[left[:5]])[:, 0], left[:5])  # type: ignore[index]


def test_where_nothing_is_left_out_it_is_the_ensemble() -> None:
    plain, robust = Ensemble(4), Robust(4, peel=0.0)
    plain.fit(rows(300, 0))
    robust.fit(rows(300, 0))
    assert torch.equal(robust.score(rows(50, 1)), plain.score(rows(50, 1)))


def test_in_folds_it_leaves_rows_out_of_each_fit_and_measures_its_scores_on_all() -> None:
    x, attack = hidden(0)
    fold = torch.arange(600) % 3
    folds = Folds.fitted(lambda: Robust(4), x, fold, x[:0], fold[:0])
    assert [len(model.kept) for model in folds.models] == [280] * 3  # type: ignore[arg-type]
    score = folds.by_fold(x, fold)
    assert score[attack].median() > score[~attack].quantile(0.95)
    nearest = folds.nearest(x[~attack])
    assert nearest is not None and not attack[nearest].any()


def test_its_state_is_all_that_it_is() -> None:
    detector, back = Robust(4), Robust(4)
    detector.fit(hidden(0)[0])
    back.load_state_dict(detector.state_dict())
    new = rows(50, 1)
    assert torch.equal(back.score(new), detector.score(new))
    assert torch.equal(back.nearest(new), detector.nearest(new))  # type: ignore[arg-type]


@pytest.mark.parametrize("peel", [-0.1, 1.0])
def test_a_peel_beyond_its_limits_is_refused(peel: float) -> None:
    with pytest.raises(ValueError, match="peel must be at least 0 and less than 1"):
        Robust(4, peel=peel)
