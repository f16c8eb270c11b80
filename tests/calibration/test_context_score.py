"""A context is a score of its own; a record without one is judged as if nobody had asked for it."""

import numpy as np
import pytest

from pipeline.base.errors import ConfigError, DataError
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.decisions import WITHOUT_CONTEXT
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


@pytest.mark.parametrize("known", [0, 1, 30, 98])
def test_contexts_of_too_few_records_are_left_out(known):
    margin, detector, head, context = drawn(N, 0)
    context[known:] = np.nan
    attacks = [scores[:50] + 3 for scores in (margin, detector, head, context)]
    given = {"head": head, "surprisals_from": drawn(N, 5, missing=1.0), "attacks": attacks}
    one = Calibration.fit(margin, detector, context=context, **given)
    assert one.alone is None and "context" not in one.surprisals
    others = {name: each[:3] if isinstance(each, list | tuple) else each for name, each in given.items()}
    other = Calibration.fit(margin, detector, **others)
    assert one.promises() == other.promises() and one.thresholds == other.thresholds


def test_where_other_records_have_no_context_it_is_measured_on_those_that_have():
    margin, detector, head, context = drawn(N, 0)
    bare = drawn(N, 5, missing=1.0)
    calibration = Calibration.fit(margin, detector, head=head, context=context, surprisals_from=bare)
    own = Calibration.fit(margin, detector, head=head, context=context)
    assert np.array_equal(calibration.surprisals["context"].knots, own.surprisals["context"].knots)


def grouped(n, seed, missing=0.0):
    """A tenth of the records are of a louder group."""
    random = np.random.default_rng(seed)
    names = np.where(random.random(n) < 0.9, "tcp", "udp").astype(object)
    margin, detector, _, context = drawn(n, seed + 1, missing)
    return margin, detector + 3 * (names == "udp"), context, names


def test_groups_have_decisions_of_their_own_with_and_without_a_context():
    margin, detector, context, names = grouped(8000, 0)
    calibration = Calibration.fit(margin, detector, context=context, group="protocol", groups=names)
    margin, detector, context, names = grouped(40_000, 10, missing=0.5)
    names[:100] = "icmp"
    said = Prediction.of(calibration, margin, detector, context, groups=names)
    bare = np.isnan(context)
    assert {*said.group[bare]} == {"tcp, without context", "udp, without context", WITHOUT_CONTEXT}
    assert {*said.group[~bare]} == {"tcp", "udp", ""}
    for rows in (bare & (names == "udp"), ~bare & (names == "udp"), bare & (names == "tcp")):
        assert 0 < said.flagged["p99"][rows].mean() < 0.03  # of udp 800 calibration records; without groups 6 %
    loaded = Calibration.load(*calibration.state())
    again = Prediction.of(loaded, margin, detector, context, groups=names)
    assert np.array_equal(again.p_value, said.p_value) and np.array_equal(again.group, said.group)
    plain = Calibration.fit(*grouped(8000, 0)[:2], group="protocol", groups=grouped(8000, 0)[3])
    other = Prediction.of(plain, margin[bare], detector[bare], groups=names[bare])
    np.testing.assert_array_equal(said.p_value[bare], other.p_value)


def test_each_decision_promises_for_the_records_that_it_judges():
    calibration = fitted(missing=0.9, percentiles=(99.9, 99))
    judged = {"": 2, WITHOUT_CONTEXT: 1}
    few, many = calibration.whole.reference.size, calibration.alone.whole.reference.size
    assert 99 < few < 300 and many == N
    assert calibration.promised(judged) == {
        "p99.9": ((2, 1 / (few + 1), few), (1, 0.001, many)),
        "p99": ((2, 0.01, few), (1, 0.01, many)),
    }


def test_scores_with_and_without_a_context_are_ranked_on_one_scale():
    margin, detector, head, context = drawn(20_000, 3, missing=0.5)
    said = Prediction.of(fitted(), margin, detector, head, context)
    bare = np.isnan(context)
    assert np.median(said.score[bare]) < np.median(said.score[~bare]) - 0.5
    assert abs(np.median(said.ranked[bare]) - np.median(said.ranked[~bare])) < 0.05
    for rows in (bare, ~bare):
        order = np.argsort(said.score[rows], kind="stable")
        assert (np.diff(said.ranked[rows][order]) >= 0).all()
    usual = Prediction.of(plain(), margin, detector, head)
    assert np.array_equal(usual.ranked, usual.score)


def test_intervals_know_seen_attacks_with_and_without_a_context():
    attacks = [scores + 3 for scores in drawn(200, 3, missing=0.5)]
    calibration = fitted(strategy=Conformal(), attacks=attacks)
    assert calibration.intervals.high < np.inf and calibration.alone.whole.intervals.high < np.inf
