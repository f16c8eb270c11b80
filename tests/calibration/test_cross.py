"""Folds of benign records: who is in which, and what holds for p-values across them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.base.errors import CollapseError, SplitError, TrainingError
from pipeline.calibration import cross_conformal
from pipeline.calibration.named_thresholds import Decision
from pipeline.calibration.thresholds.base import Thresholds
from pipeline.calibration.thresholds.conformal import interval
from pipeline.calibration.thresholds.percentile import Percentile
from pipeline.models.arrays.base import Form
from pipeline.models.detectors.boosting import Boosting
from pipeline.models.detectors.closed_form import ClosedForm
from pipeline.models.detectors.ensemble import Ensemble
from pipeline.models.detectors.folds import Folds
from pipeline.models.detectors.gmm import GMM
from pipeline.models.detectors.knn import KNN
from pipeline.models.detectors.mahalanobis import Mahalanobis

LEVELS = {"p95": 0.05, "p90": 0.1, "p80": 0.2}
none = torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64)


def rows(n, seed=0, features=3):
    return np.random.default_rng(seed).normal(size=(n, features)).astype(np.float32)


def folds(make, x, number=4, seed=0):
    fold = torch.from_numpy(cross_conformal.deal(x, [], number, seed))
    return Folds.fitted(make, torch.from_numpy(x), fold, *none, seed)


@settings(max_examples=25, deadline=None)
@given(n=st.integers(60, 200), number=st.integers(2, 6), seed=st.integers(0, 50))
def test_a_fold_depends_on_the_content_of_a_row_alone(n, number, seed):
    x = rows(n, seed)
    fold = cross_conformal.deal(x, [], number, seed)
    shuffled = np.random.default_rng(seed).permutation(n)
    twice = cross_conformal.deal(np.concatenate([x, x[shuffled]]), [], number, seed)
    np.testing.assert_array_equal(twice, [*fold, *fold[shuffled]])
    assert [int(cross_conformal.route(row[None], number, seed)[0]) for row in x[:5]] == fold[:5].tolist()
    assert set(fold.tolist()) == set(range(number))


def test_what_belongs_together_shares_a_fold_and_so_do_copies():
    random = np.random.default_rng(0)
    x = rows(300)
    x[100:200] = x[:100]
    host, day = random.integers(0, 60, 300).astype(str), random.integers(0, 40, 300).astype(str)
    host[100:200] = host[:100]
    fold = cross_conformal.deal(x, [host], 3)
    assert all(len(set(fold[host == name])) == 1 for name in set(host))
    np.testing.assert_array_equal(fold[:100], fold[100:200])
    assert np.ptp(np.bincount(fold)) < 60
    with pytest.raises(SplitError, match=r"leave 2 of 3 folds empty, as copies and groups share one"):
        cross_conformal.deal(x, [host, day], 3)  # chains of hosts and days tie all records together


@pytest.mark.parametrize(
    ("n", "number", "message"),
    [
        (3, 5, r"3 benign records leave \d of 5 folds empty"),
        (0, 2, "0 benign records leave 2 of 2 folds empty"),
        (50, 1, "1 fold leaves no record out"),
    ],
)
def test_records_that_fill_no_folds_are_refused(n, number, message):
    with pytest.raises(SplitError, match=message):
        cross_conformal.deal(rows(n), [], number)


def test_copies_of_one_record_fill_no_second_fold():
    with pytest.raises(SplitError, match="leave 1 of 2 folds empty"):
        cross_conformal.deal(np.repeat(rows(1), 40, axis=0), [], 2)


def test_no_record_is_scored_by_a_model_that_has_seen_it():
    x = rows(200)
    model = folds(lambda: KNN(3, neighbours=1), x)
    scores = model.score(torch.from_numpy(x))
    assert (scores > 0).all()  # itself, or a copy, would be at a distance of 0
    torch.testing.assert_close(scores, model.by_fold(torch.from_numpy(x), model.fold))


def test_a_model_of_a_fold_is_what_a_fit_without_that_fold_gives():
    x = rows(200)
    model, new = folds(lambda: Mahalanobis(3), x), torch.from_numpy(rows(100, 1))
    route = cross_conformal.route(new.numpy(), 4)
    for k in range(4):
        alone = Mahalanobis(3)
        alone.fit(torch.from_numpy(x)[model.fold != k])
        torch.testing.assert_close(model.score(new)[route == k], alone.score(new[route == k]))


def test_a_score_does_not_depend_on_the_other_rows():
    model, new = folds(lambda: GMM(3), rows(300)), torch.from_numpy(rows(40, 1))
    alone = torch.cat([model.score(row[None]) for row in new])
    torch.testing.assert_close(model.score(new), alone)
    assert model.score(new[:0]).shape == (0,)


def test_the_account_of_a_score_is_that_of_the_model_of_the_fold():
    x = rows(150)
    model, new = folds(lambda: KNN(3, neighbours=2), x), torch.from_numpy(rows(30, 1))
    torch.testing.assert_close(model.terms(new).sum(1), model.score(new))
    fold, near = cross_conformal.route(new.numpy(), 4), model.nearest(new).numpy()
    assert near.shape == (30, 2)
    assert (model.fold.numpy()[near] != fold[:, None]).all()
    assert folds(lambda: GMM(3), x).nearest(new) is None


def test_units_are_read_from_rows_that_no_part_has_seen():
    x = rows(400)
    model = folds(lambda: Ensemble(3), x)
    raw = torch.cat([each.raw(torch.from_numpy(x)[model.fold == k]) for k, each in enumerate(model.models)])
    for row, name in enumerate(model.models[0].named):
        tail = model.models[0]._tail(name, raw[:, row])
        for each in model.models:
            assert each.knots[row, 0] == pytest.approx(tail.knots[0], rel=1e-6)
            assert each.above[row] == pytest.approx(tail.above, rel=1e-6)


def test_a_supervised_detector_sees_all_attacks_in_every_fold():
    x = rows(400)
    attacks = torch.from_numpy(rows(120, 2)) + torch.tensor([4.0, 0, 0])
    families = torch.arange(120) % 2 + 1
    fold = torch.from_numpy(cross_conformal.deal(x, [], 3))
    model = Folds.fitted(lambda: Boosting(3, trees=10), torch.from_numpy(x), fold, attacks, families)
    assert all(len(each.start) == 3 for each in model.models)
    assert model.score(attacks).median() > model.score(torch.from_numpy(x)).quantile(0.99)


def test_a_fold_whose_fit_fails_is_named():
    x = rows(40)
    with pytest.raises(TrainingError, match=r"fold 1 of 4: .*neighbours need at least as many records"):
        folds(lambda: KNN(3, neighbours=35), x)
    model = folds(lambda: Mahalanobis(3), x)
    model.models[2].whitening.fill_(float("nan"))
    with pytest.raises(CollapseError, match="fold 3 of 4"):
        model.verify(torch.from_numpy(rows(30, 1)))


@pytest.mark.parametrize("make", [lambda: KNN(3, neighbours=1), lambda: Ensemble(3)], ids=["knn", "ensemble"])
def test_benign_records_exceed_a_level_about_as_often_as_it_says(make):
    n, tested, draws, number = 120, 60, 25, 4
    alarms = dict.fromkeys(LEVELS, 0)
    for draw in range(draws):
        x = rows(n + tested, draw)
        model = folds(make, x[:n], number, draw)
        scores = model.score(torch.from_numpy(x)).double().numpy()
        decision = Decision.fit(scores[:n], [95, 90, 80], Percentile(80, 95))
        p_value = decision.p_value(scores[n:])
        for name, level in LEVELS.items():
            flagged = scores[n:] > decision.thresholds[name]
            np.testing.assert_array_equal(flagged, p_value <= level)
            alarms[name] += int(flagged.sum())
        verdict = decision.intervals.verdict(scores[n:])
        np.testing.assert_array_equal(verdict == "anomalous", p_value <= 0.05)
        np.testing.assert_array_equal(verdict == "benign", p_value > 0.2)
    for name, level in LEVELS.items():
        rate = alarms[name] / (draws * tested)
        spread = np.sqrt(level * (1 - level) * (1 / n + 1 / tested) / draws)
        assert abs(rate - level) < 4 * spread, (name, rate)


class Line(Form):
    def __init__(self, arrays):
        self.sign, self.scale = arrays.floats("sign"), arrays.floats("scale")

    def scores(self, x):
        return self.sign * x[:, 0] + self.scale


class Wild(ClosedForm):
    """A model whose unit depends on whether a record was among those that it was fitted on: as unstable as can be."""

    def fit(self, x, y=None):
        self.register_buffer("sign", torch.sign(x.sum()))
        self.register_buffer("scale", 10 * (x.sum() * 1e3 % 1).abs())

    def _formed(self, arrays):
        return Line(arrays)


def test_the_worst_case_holds_for_models_that_one_record_overturns():
    n, number, level = 200, 4, 0.05
    flagged, bounds = [], []
    for draw in range(60):
        x = rows(n + 100, draw)
        model = folds(lambda: Wild(3), x[:n], number, draw)
        scores = model.score(torch.from_numpy(x)).double().numpy()
        flagged.append((Decision.fit(scores[:n], [95], Percentile()).p_value(scores[n:]) <= level).mean())
        bounds.append(level * cross_conformal.worst_factor(model.fold.numpy()))
    assert np.mean(flagged) <= np.mean(bounds)
    assert level < np.mean(bounds) < 1.5 * number * level


def test_tied_scores_raise_no_alarm():
    decision = Decision.fit(np.ones(500), [99], Percentile())
    assert (decision.p_value(np.ones(3)) == 1).all()
    assert not (np.ones(3) > decision.thresholds["p99"]).any()


def test_the_spread_that_is_foretold_holds_what_is_realised():
    low, high = interval(2000, 0.05, 0.95)
    inside = 0
    for draw in range(40):
        x = rows(2000, draw)
        model = folds(lambda: Mahalanobis(3), x, 5, draw)
        threshold = Decision.fit(model.score(torch.from_numpy(x)).double().numpy(), [95], Percentile()).thresholds[
            "p95"
        ]
        new = model.score(torch.from_numpy(rows(20_000, 1000 + draw))).double().numpy()
        inside += low <= (new > threshold).mean() <= high
    assert inside >= 33


def test_the_ends_of_all_scores_may_be_the_intervals():
    scores = np.random.default_rng(0).normal(size=50)
    assert Decision.fit(scores, [99], Percentile(0, 100)).intervals == Thresholds(scores.min(), scores.max())
