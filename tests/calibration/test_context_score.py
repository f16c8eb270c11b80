"""A context is a score of its own; a record without one is judged as if nobody had asked for it."""

import numpy as np
import pytest

from pipeline.base.errors import ConfigError, DataError, SplitError
from pipeline.calibration.calibration import WITHOUT_CONTEXT, Calibration
from pipeline.calibration.prediction import Prediction
from pipeline.calibration.thresholds.conformal import Conformal

N = 2000


def drawn(n, seed, missing=0.0):
    random = np.random.default_rng(seed)
    margin, detector, head, context = random.normal(size=(4, n))
    context[random.random(n) < missing] = np.nan
    return margin, detector, head, context


def fitted(seed=0, missing=0.0, **given):
    margin, detector, head, context = drawn(N, seed, missing)
    return Calibration.fit(margin, detector, head=head, context=context, used=("detector", "head", "context"), **given)


def plain(seed=0, **given):
    margin, detector, head, _ = drawn(N, seed)
    return Calibration.fit(margin, detector, head=head, used=("detector", "head"), **given)


@pytest.mark.parametrize("fusion", ["fisher", "max", "harmonic"])
def test_a_record_without_a_context_gets_what_a_calibration_without_any_gives_it(fusion):
    margin, detector, head, context = drawn(500, 1)
    context[::2] = np.nan
    one = Prediction.of(fitted(fusion=fusion), margin, detector, head, context)
    other = Prediction.of(plain(fusion=fusion), margin, detector, head)
    for name in ("score", "p_value", "verdict", "confidence"):
        np.testing.assert_array_equal(getattr(one, name)[::2], getattr(other, name)[::2])
    assert all(np.array_equal(one.flagged[name][::2], other.flagged[name][::2]) for name in other.flagged)
    assert set(one.group[::2]) == {WITHOUT_CONTEXT} and set(one.group[1::2]) == {""}
    assert np.isnan(one.context[::2]).all() and np.isnan(other.context).all()


def test_a_context_that_is_left_out_is_none():
    calibration, (margin, detector, head, _) = fitted(), drawn(50, 1)
    left_out, unknown = (
        Prediction.of(calibration, margin, detector, head, *more) for more in ([], [np.full(50, np.nan)])
    )
    np.testing.assert_array_equal(left_out.score, unknown.score)
    with pytest.raises(DataError, match="made for margin, detector, head, context"):
        calibration.score(margin, detector)


def test_a_strange_past_alone_raises_an_alarm():
    usual = np.zeros(1)
    said = Prediction.of(fitted(), usual, usual, usual, usual + 30)
    assert said.flagged["p99"].all() and not Prediction.of(fitted(), usual, usual, usual, usual).flagged["p99"].any()


def test_promises_hold_for_records_with_a_context_and_for_those_without():
    shares = {"": [], WITHOUT_CONTEXT: []}
    for seed in range(20):
        said = Prediction.of(fitted(seed, missing=0.3), *drawn(N, 1000 + seed, missing=0.3))
        for group, found in shares.items():
            found.append(said.flagged["p95"][said.group == group].mean())
    assert all(abs(np.mean(found) - 0.05) < 0.01 for found in shares.values())


def test_its_state_is_what_load_needs_and_one_without_context_has_no_trace_of_it():
    calibration, rows = fitted(missing=0.2), drawn(300, 7, missing=0.5)
    loaded = Calibration.load(*calibration.state())
    one, other = (Prediction.of(each, *rows) for each in (calibration, loaded))
    np.testing.assert_array_equal(one.score, other.score)
    np.testing.assert_array_equal(one.p_value, other.p_value)
    values, arrays = plain().state()
    assert not any("context" in name for name in (*values, *arrays)) and "context" not in values["scores"]


def test_the_context_alone_is_not_enough():
    margin, detector, _, context = drawn(N, 0)
    with pytest.raises(ConfigError, match=r"calibrate\.scores"):
        Calibration.fit(margin, detector, context=context, used=["context"])


def test_a_calibration_of_records_without_any_context_is_refused():
    margin, detector, _, context = drawn(N, 0)
    with pytest.raises(SplitError):
        Calibration.fit(margin, detector, context=np.full_like(context, np.nan))


def test_intervals_know_seen_attacks_with_and_without_a_context():
    attacks = [scores + 3 for scores in drawn(200, 3, missing=0.5)]
    calibration = fitted(strategy=Conformal(), attacks=attacks)
    assert calibration.intervals.high < np.inf and calibration.alone.intervals.high < np.inf
