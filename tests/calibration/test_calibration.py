"""The one decision rule: surprise, fusion, calibration, and the two stages together."""

import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binom, norm

from pipeline.base.errors import ArtifactError, DataError, SplitError, UnknownPluginError
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.fusion import FUSIONS
from pipeline.calibration.prediction import Prediction
from pipeline.calibration.surprisal import Surprisal
from pipeline.calibration.thresholds.base import Thresholds
from pipeline.calibration.thresholds.percentile import Percentile
from pipeline.models.on_device import DetectorOnDevice, EncoderOnDevice
from pipeline.serving.two_stage import TwoStage

CONTINUOUS = sorted(set(FUSIONS) - {"cascade"})
every_fusion = pytest.mark.parametrize("fusion", sorted(FUSIONS))
grid = st.integers(-1000, 1000).map(lambda i: i / 8)  # scores far enough apart for floats to tell their surprise
calibration_scores = arrays(np.float64, st.integers(1, 200), elements=grid)


def benign(n=4000, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(-5, 1, n), random.normal(-180, 4, n) + (random.random(n) < 0.05) * random.pareto(2, n) * 20


@settings(max_examples=60)
@given(scores=calibration_scores, a=grid, step=st.integers(1, 800))
def test_surprise_rises_strictly_and_is_never_negative(scores, a, step):
    low, high = Surprisal.fit(scores).surprise([a, a + step / 8])
    assert 0 <= low < high


@settings(max_examples=60)
@given(scores=calibration_scores)
def test_surprise_does_not_jump(scores):
    tail = Surprisal.fit(scores)
    edges = np.concatenate([tail.knots - 1e-9, tail.knots + 1e-9]).reshape(2, -1)
    steepest = 1e-6 * (1 + 1 / min(tail.above, tail.below))
    assert np.abs(np.diff(tail.surprise(edges.ravel()).reshape(2, -1), axis=0)).max() < steepest


@settings(max_examples=60)
@given(scores=calibration_scores, seed=st.integers(0, 99))
def test_the_order_of_the_calibration_scores_does_not_matter(scores, seed):
    shuffled = np.random.default_rng(seed).permutation(scores)
    probes = np.linspace(-200, 200, 41)
    assert np.array_equal(Surprisal.fit(shuffled).surprise(probes), Surprisal.fit(scores).surprise(probes))


@given(
    scores=calibration_scores, scale=st.sampled_from([1e-6, 0.5, 3.0, 1e6]), shift=st.sampled_from([-7.0, 0.0, 30.0])
)
def test_surprise_has_no_unit(scores, scale, shift):
    if np.ptp(scores) > 0:  # constant scores have no scale of their own
        probes = np.linspace(-150, 150, 31)
        moved = Surprisal.fit(scale * (scores + shift)).surprise(scale * (probes + shift))
        assert moved == pytest.approx(Surprisal.fit(scores).surprise(probes), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_surprise_is_minus_log_survival_of_the_normal(seed):
    tail = Surprisal.fit(np.random.default_rng(seed).standard_normal(50_000))
    probes = np.array([-1.0, 0.0, 1.0, 2.0, 3.0])
    assert tail.surprise(probes) == pytest.approx(-norm.logsf(probes), rel=0.1, abs=0.01)


def test_surprise_is_minus_log_survival_of_the_exponential_far_into_its_tail():
    tail = Surprisal.fit(np.random.default_rng(0).exponential(3.0, 50_000))
    assert tail.surprise([3.0, 15.0, 60.0]) == pytest.approx([1.0, 5.0, 20.0], rel=0.3)


def test_a_heavy_tail_is_followed_to_where_the_calibration_ends():
    scores = np.sort(1 + np.random.default_rng(0).pareto(0.8, 20_000))
    at = scores[[int(q * 20_000) for q in (0.5, 0.9, 0.98, 0.99, 0.998)]]
    assert Surprisal.fit(scores).surprise(at) == pytest.approx(-np.log([0.5, 0.1, 0.02, 0.01, 0.002]), rel=0.02)


def test_ties_share_one_surprise_between_those_of_their_neighbours():
    tail = Surprisal.fit([0.0] * 500 + [1.0] * 400 + [2.0] * 100)
    assert tail.surprise([0.0, 1.0, 2.0]) == pytest.approx(-np.log([0.75, 0.3, 0.05]))


def test_a_tail_is_small_whatever_it_was_fitted_on():
    assert Surprisal.fit(np.random.default_rng(0).standard_normal(30_000)).knots.size <= 513


@pytest.mark.parametrize("scores", [[0.0], [5.0] * 100, [1.0, 2.0], [-1e12, 1e12], [0.0] * 99 + [1e-300]])
def test_degenerate_calibrations_are_defined_and_strict(scores):
    middle, unit = scores[0], max(1.0, abs(scores[0]))
    surprise = Surprisal.fit(scores).surprise([middle - unit, middle, middle + 3 * unit, middle + 9 * unit])
    assert np.isfinite(surprise).all() and (np.diff(surprise) > 0).all()


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_calibration_score_that_is_no_number_is_refused(broken):
    with pytest.raises(DataError, match=r"1 of 3 benign scores.*position 1"):
        Surprisal.fit([0.0, broken, 1.0])


def test_a_constant_is_a_constant_whatever_rounding_makes_of_its_deviation():
    assert Surprisal.fit([0.1] * 1000).surprise([0.1, 1.1]) == pytest.approx([math.log(2), math.log(2) + 1])


def test_no_calibration_records_are_refused():
    with pytest.raises(SplitError, match="no benign records"):
        Calibration.fit([], [])


def test_stages_of_different_length_are_refused():
    with pytest.raises(DataError, match="2 of margin, 1 of second stage"):
        Calibration.fit([0.0, 1.0], [0.0])


def test_an_unknown_fusion_offers_the_near_miss():
    with pytest.raises(UnknownPluginError, match="did you mean 'fisher'"):
        Calibration.fit([0.0], [0.0], fusion="fischer")


pairs = st.tuples(grid, grid)


@pytest.mark.parametrize("fusion", ["fisher", "max"])
@settings(max_examples=60)
@given(margin=st.tuples(grid, grid), detector=st.tuples(grid, grid))
def test_a_score_rises_with_either_stage_and_ties_nowhere(fusion, margin, detector):
    calibration = Calibration.fit(*benign(300), fusion=fusion)
    margin, detector = sorted(margin), sorted(d - 180 for d in detector)
    low, high = calibration.score(margin, detector)
    assert low < high or (margin[0], detector[0]) == (margin[1], detector[1])


@settings(max_examples=40)
@given(densities=st.lists(grid, min_size=2, max_size=20, unique=True), margin=grid)
def test_density_alone_does_not_see_the_margin(densities, margin):
    calibration = Calibration.fit(*benign(300), fusion="detector")
    score = calibration.score(np.full(len(densities), margin), densities)
    assert np.array_equal(np.argsort(score), np.argsort(densities)) and len(set(score)) == len(densities)


@settings(max_examples=40)
@given(rows=st.lists(pairs, min_size=1, max_size=30))
def test_the_cascade_is_the_papers_rule(rows):
    margins, densities = benign(500)
    calibration = Calibration.fit(margins, densities, fusion="cascade")
    margin, detector = np.array(rows).T
    detector = detector - 180
    for name, level in (("p99", 99), ("p97", 97), ("p95", 95)):
        expected = (margin > 0) | (detector > np.percentile(densities, level))
        assert np.array_equal(Prediction.of(calibration, margin, detector).flagged[name], expected)
    judged = Prediction.of(calibration, margin, detector)
    assert np.array_equal(judged.verdict == "anomalous", judged.flagged["p99"])
    score = calibration.score(margin, detector)
    assert np.array_equal(score[margin <= 0], detector[margin <= 0])
    assert len(set(score[margin > 0])) <= 1 and (score[margin > 0] > detector.max()).all()


@every_fusion
def test_thresholds_hold_what_they_promise_on_the_calibration_records(fusion):
    margin, detector = benign()
    calibration = Calibration.fit(margin - 5, detector, fusion=fusion)  # no benign record has a margin above 0
    for name, share in (("p99", 0.01), ("p97", 0.03), ("p95", 0.05)):
        exceeding = Prediction.of(calibration, margin - 5, detector).flagged[name].mean()
        assert share - 2 / len(margin) <= exceeding <= share  # a new record may stand anywhere among them


@every_fusion
def test_named_thresholds_and_intervals_follow_their_settings(fusion):
    calibration = Calibration.fit(*benign(), fusion=fusion, percentiles=(99.9, 90), strategy=Percentile(90, 99.9))
    assert list(calibration.thresholds) == ["p99.9", "p90"]
    low, high = calibration.intervals.low, calibration.intervals.high
    named = [calibration.thresholds["p90"], calibration.thresholds["p99.9"]]
    assert named == [low, high] if fusion == "cascade" else (low <= named[0] and high <= named[1])


@every_fusion
@pytest.mark.parametrize("broken", [([math.nan], [0.0]), ([0.0], [math.nan])])
def test_a_nan_is_never_judged(fusion, broken):
    calibration = Calibration.fit(*benign(50), fusion=fusion)
    for decide in (calibration.score, lambda *stages: Prediction.of(calibration, *stages)):
        with pytest.raises(DataError, match="NaN"):
            decide(*broken)


@every_fusion
def test_p_values_of_benign_records_are_valid(fusion):
    margin, detector = benign(60_000, seed=1)
    p_values = []
    for part in range(60):  # each with a fresh calibration, so that the p-values are nearly independent
        rows = slice(1000 * part, 1000 * part + 500)
        calibration = Calibration.fit(margin[rows], detector[rows], fusion=fusion)
        test = slice(1000 * part + 500, 1000 * part + 520)
        p_values.append(calibration.p_value(calibration.score(margin[test], detector[test])))
    p = np.concatenate(p_values)
    for level in (0.01, 0.05, 0.2, 0.5):
        assert (p <= level).sum() <= binom.ppf(1 - 1e-5, p.size, level)


def test_p_values_are_counts_of_calibration_scores_as_high():
    calibration = Calibration.fit([0.0] * 4, [1.0, 2.0, 2.0, 3.0], fusion="cascade")
    assert calibration.p_value([0.0, 2.0, 3.0, 3.5, math.inf]) == pytest.approx([1.0, 0.8, 0.4, 0.2, 0.2])


@every_fusion
def test_p_values_fall_as_the_score_rises(fusion):
    calibration = Calibration.fit(*benign(500), fusion=fusion)
    score = np.sort(calibration.score(*benign(200, seed=3)))
    assert (np.diff(calibration.p_value(score)) <= 0).all()


@every_fusion
def test_a_calibration_survives_json_and_arrays_exactly(fusion):
    calibration = Calibration.fit(*benign(700), fusion=fusion, strategy=lambda scores: Thresholds(0.1, math.inf))
    values, arrays_ = calibration.state()
    loaded = Calibration.load(json.loads(json.dumps(values, allow_nan=False)), arrays_)
    rows = benign(300, seed=2)
    assert np.array_equal(loaded.score(*rows), calibration.score(*rows))
    assert loaded.thresholds == calibration.thresholds and loaded.intervals == calibration.intervals
    score = calibration.score(*rows)
    assert np.array_equal(loaded.p_value(score), calibration.p_value(score))
    assert all(array.dtype == np.float64 and array.flags.c_contiguous for array in arrays_.values())


@pytest.mark.parametrize("lost", ["fusion", "intervals", "thresholds"])
def test_a_state_with_a_part_lost_is_refused(lost):
    values, arrays_ = Calibration.fit(*benign(50)).state()
    del values[lost]
    with pytest.raises(ArtifactError, match=lost):
        Calibration.load(values, arrays_)


def test_a_state_with_an_array_lost_is_refused():
    values, _ = Calibration.fit(*benign(50)).state()
    with pytest.raises(ArtifactError, match="knots"):
        Calibration.load(values, {})


class Halves(torch.nn.Module):
    """An encoder whose latent is the first half of the features, its margin their first one."""

    def forward(self, x):
        return x[:, : x.shape[1] // 2]

    def margin(self, z):
        return z[:, 0]


class SquaredLength(torch.nn.Module):
    """A detector whose score is the squared length of the latent."""

    def scores(self, x):
        return x.square().sum(dim=1)


class SquaredLengthOfSome(SquaredLength):
    """The same, of a latent that training would drop at random."""

    def __init__(self):
        super().__init__()
        self.dropout = torch.nn.Dropout(0.5)

    def scores(self, x):
        return super().scores(self.dropout(x))


@pytest.fixture
def features():
    return np.random.default_rng(0).standard_normal((500, 8)).astype(np.float32)


def two_stage(features, batch_size=64):
    z = features[:, :4].astype(np.float64)
    calibration = Calibration.fit(z[:, 0], np.square(z).sum(axis=1))
    return TwoStage(EncoderOnDevice(Halves()), DetectorOnDevice(SquaredLength()), calibration, batch_size=batch_size)


def test_a_judgement_says_the_same_in_all_its_words(features):
    judge = two_stage(features)
    judgement = judge.predict(features)
    assert judgement.margin == pytest.approx(features[:, 0])
    assert judgement.detector == pytest.approx(np.square(features[:, :4]).sum(axis=1), rel=1e-5)
    assert np.array_equal(judgement.score, judge.calibration.score(judgement.margin, judgement.detector))
    assert np.array_equal(judgement.verdict, judge.calibration.intervals.verdict(judgement.score))
    assert np.array_equal(judgement.p_value, judge.calibration.p_value(judgement.score))
    word = {1: "benign", 0: "unknown", -1: "anomalous"}
    assert [word[int(value)] for value in judgement.confidence] == judgement.verdict.tolist()


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1000])
def test_each_record_is_judged_on_its_own(features, batch_size):
    order = np.random.default_rng(batch_size).permutation(len(features))
    alone, mixed = two_stage(features).predict(features), two_stage(features, batch_size).predict(features[order])
    assert mixed.score == pytest.approx(alone.score[order], rel=1e-5)


def test_dropout_does_not_decide(features):
    judge = two_stage(features)
    noisy = TwoStage(EncoderOnDevice(Halves()), DetectorOnDevice(SquaredLengthOfSome()), judge.calibration)
    assert np.array_equal(noisy.predict(features).score, judge.predict(features).score)


def test_nothing_to_judge_gives_an_empty_judgement(features):
    judgement = two_stage(features).predict(features[:0])
    parts = [judgement.score, judgement.p_value, judgement.confidence, judgement.verdict]
    assert all(len(part) == 0 for part in [*parts, *judgement.scores.values()])


def test_a_model_that_answers_nan_is_not_believed():
    with pytest.raises(DataError, match="NaN"):
        Prediction.of(Calibration.fit(*benign(50)), [math.nan], [0.0])


def test_what_a_calibration_promises_is_what_its_records_support():
    promised = Calibration.fit(*benign(99), percentiles=(99.9, 99, 95)).promises()
    assert promised == {"p99.9": pytest.approx(0.01), "p99": pytest.approx(0.01), "p95": pytest.approx(0.05)}
    assert Calibration.fit(*benign(99), fusion="cascade").promises() == {}


def test_a_score_that_a_fusion_passes_over_is_not_used():
    assert Calibration.fit(*benign(99), fusion="detector").used == ("detector",)
    assert Calibration.fit(*benign(99), fusion="fisher").used == ("margin", "detector")
