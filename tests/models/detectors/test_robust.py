"""Detectors of rows that hold attacks: one that leaves the strangest rows out, and the ensemble with it."""

import pytest
import torch
from torch import Tensor

from pipeline.base.errors import ConfigError
from pipeline.evaluation.metrics import auroc
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.ensemble import Ensemble
from pipeline.models.detectors.folds import Folds
from pipeline.models.detectors.gmm import GMM
from pipeline.models.detectors.isolation_forest import IsolationForest
from pipeline.models.detectors.peeled import Peeled
from pipeline.models.detectors.robust import Robust

MIXED = torch.tensor([[1.0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 1]])


def rows(n: int, seed: int) -> Tensor:
    """Correlated rows, (n, 4)."""
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed)) @ MIXED


def hidden(seed: int, share: float = 0.1) -> tuple[Tensor, Tensor]:
    """600 rows, a share of them attacks that are strange and alike; and which are attacks."""
    attacks = round(600 * share)
    strange = 0.3 * torch.randn(attacks, 4, generator=torch.Generator().manual_seed(9)) + 6
    return torch.cat([rows(600 - attacks, seed), strange]), torch.arange(600) >= 600 - attacks


def found(detector: Detector, x: Tensor) -> float:
    detector.fit(x)
    new, attack = hidden(7, 0.2)
    return float(auroc(attack.numpy().astype(int), detector.score(new).numpy()) or 0.0)


@pytest.mark.parametrize("seed", range(3))
def test_it_finds_attacks_that_hide_among_its_rows_where_the_ensemble_does_not(seed: int) -> None:
    x, _ = hidden(seed)
    assert found(Robust(4), x) > 0.95 > 0.8 > found(Ensemble(4), x)
    assert found(Peeled(4), x) > 0.95 > 0.8 > found(GMM(4), x)


def test_it_is_the_detector_of_the_rows_that_the_forest_finds_least_strange() -> None:
    x, _ = hidden(0)
    forest, new = IsolationForest(4), rows(200, 5) * 2
    forest.fit(x)
    left = forest.score(x).argsort(stable=True)[: 600 - 180].sort().values
    plain, peeled = GMM(4), Peeled(4, peel=0.3)
    plain.fit(x[left])
    peeled.fit(x)
    assert torch.equal(peeled.score(new), plain.score(new))
    assert torch.equal(peeled.terms(new), plain.terms(new))  # type: ignore[arg-type]
    assert peeled.nearest(new) is None


def test_nearest_rows_are_counted_among_all_that_were_given() -> None:
    x, _ = hidden(0)
    peeled = Peeled(4, "knn", {"neighbours": 1})
    peeled.fit(x)
    assert torch.equal(peeled.nearest(x[peeled.kept])[:, 0], peeled.kept)  # type: ignore[index]
    assert len(peeled.kept) == 420


def test_where_nothing_is_left_out_it_is_the_detector() -> None:
    plain, peeled = GMM(4), Peeled(4, peel=0.0)
    plain.fit(rows(300, 0))
    peeled.fit(rows(300, 0))
    assert torch.equal(peeled.score(rows(50, 1)), plain.score(rows(50, 1)))


def test_in_folds_each_model_leaves_rows_out_and_all_rows_measure_its_scores() -> None:
    x, attack = hidden(0)
    fold = torch.arange(600) % 3
    folds = Folds.fitted(lambda: Robust(4), x, fold, x[:0], fold[:0])
    score = folds.by_fold(x, fold)
    assert score[attack].median() > score[~attack].quantile(0.95)


@pytest.mark.parametrize("detector", [Robust, Peeled])
def test_its_state_is_all_that_it_is(detector: type[Detector]) -> None:
    fitted, back = detector(4), detector(4)
    fitted.fit(hidden(0)[0])
    back.load_state_dict(fitted.state_dict())
    assert torch.equal(back.score(rows(50, 1)), fitted.score(rows(50, 1)))


@pytest.mark.parametrize("peel", [-0.1, 1.0])
def test_a_peel_beyond_its_limits_is_refused(peel: float) -> None:
    with pytest.raises(ValueError, match="peel must be at least 0 and less than 1"):
        Peeled(4, peel=peel)


def test_an_unknown_detector_is_refused_with_the_near_miss() -> None:
    with pytest.raises(ConfigError, match=r"peeled\.detector: 'gm' is not known \(did you mean 'gmm'\?\)"):
        Peeled(4, "gm")
