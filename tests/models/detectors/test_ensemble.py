"""The ensemble: the mean of what its members say, in the unit of benign rows that they have not seen."""

import numpy as np
import pytest
import torch

from pipeline.base.errors import ConfigError, TrainingError
from pipeline.calibration.surprisal import Surprisal
from pipeline.models.arrays.knn import KNNForm
from pipeline.models.detectors.ensemble import Ensemble
from pipeline.models.detectors.knn import KNN
from pipeline.models.detectors.mahalanobis import Mahalanobis

MEMBERS = {"mahalanobis": {}, "knn": {"neighbours": 2}}


def rows(n=600, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(size=(n, 4)) * [1, 2, 3, 4] + rng.integers(0, 2, size=(n, 1)) * 20)


def fitted(members=MEMBERS, x=None, **settings):
    detector = Ensemble(4, members, **settings).double()
    detector.fit(rows() if x is None else x)
    return detector


def test_the_score_is_the_mean_surprise_of_the_members():
    x, others = rows(), torch.cat([rows(300, 1), rows(50, 2) + 60, rows(20, 3) * 1e3])
    part = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)) % 3
    expected = []
    for make in (lambda: Mahalanobis(4).double(), lambda: KNN(4, 2).double()):
        scores = []
        for each in range(3):
            member = make()
            member.fit(x[part != each])
            scores.append(member.score(x[part == each]))
        member = make()
        member.fit(x)
        expected.append(Surprisal.fit(torch.cat(scores)).surprise(member.score(others)))
    np.testing.assert_allclose(fitted().score(others), np.mean(expected, axis=0), rtol=1e-9)


def test_a_member_that_knows_its_rows_is_judged_by_rows_that_it_does_not_know():
    x = rows()
    detector = fitted({"knn": {"neighbours": 1}})
    assert (detector.score(x) < 1e-2).all()  # every row is its own neighbour
    surprise = detector.score(rows(4_000, 5))
    assert surprise.mean() == pytest.approx(1.0, abs=0.2)  # the mean of -log u


def test_its_state_is_all_that_it_is():
    detector, back = fitted(), Ensemble(4, MEMBERS).double()
    back.load_state_dict(detector.state_dict())
    assert torch.equal(back.score(rows(seed=1)), detector.score(rows(seed=1)))
    assert torch.equal(fitted().score(rows(seed=1)), detector.score(rows(seed=1)))
    assert not torch.equal(fitted(seed=1).score(rows(seed=1)), detector.score(rows(seed=1)))


def test_scores_increase_with_the_distance_however_far():
    detector = fitted()
    line = torch.linspace(0, 1e4, 200, dtype=torch.float64)[:, None].expand(-1, 4)
    score = detector.score(line + 30)
    assert (score.diff() > 0).all()


def test_nearest_rows_are_those_of_the_member_that_has_them():
    x = rows()
    assert torch.equal(fitted().nearest(x[:5])[:, 0], torch.arange(5))
    assert fitted({"mahalanobis": {}}).nearest(x[:5]) is None


def test_what_cannot_be_a_member_is_refused():
    with pytest.raises(ConfigError, match=r"ensemble.members: 'gm' is not known \(did you mean 'gmm'\?\)"):
        Ensemble(4, {"gm": {}})
    with pytest.raises(ConfigError, match=r"ensemble\.members: 'maf' is not known"):
        Ensemble(4, {"maf": {}})
    with pytest.raises(ConfigError, match="knn: unknown setting 'neighbors'"):
        Ensemble(4, {"knn": {"neighbors": 1}})
    for wrong in (("knn", "gmm"), {"knn": None}, "knn"):
        with pytest.raises(ValueError, match="members must be names with their settings"):
            Ensemble(4, wrong)
    for wrong in ({"members": {}}, {"parts": 1}):
        with pytest.raises(ValueError, match="needs members and at least 2 parts"):
            Ensemble(4, **wrong)


def test_too_few_rows_are_refused():
    with pytest.raises(TrainingError, match="3 parts need at least as many records, given 2"):
        fitted(x=rows(2))
    with pytest.raises(TrainingError, match="5 neighbours need at least as many records, given 4"):
        fitted({"knn": {"neighbours": 5}}, rows(6))


def test_a_member_whose_scores_are_no_numbers_is_named(monkeypatch):
    monkeypatch.setattr(KNNForm, "scores", lambda self, x: x[:, 0] * np.nan)
    with pytest.raises(TrainingError, match=r"detector ensemble, knn: .*NaN or infinite"):
        fitted()
