"""Live traffic refuses a candidate for a surplus of alarms that is broken, large and no chance; never for less."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.calibration.decisions import Promise
from pipeline.evaluation import alarm_share
from pipeline.evaluation.shadow import Comparison, refusal
from pipeline.settings.promotion import Shadow
from tests.settings import rules_with

RULES = rules_with()
N, CALIBRATION = 20_000, 4_000


def alarms(count, n=N):
    return alarm_share.beside("p99", count, [Promise(n, 0.01, CALIBRATION)])


def compared(ours, theirs, both=0, n=N):
    """Two models that flag so many records alone, and so many together."""
    return Comparison(alarms(ours + both, n), alarms(theirs + both, n), ours, theirs)


def test_the_sentence_says_both_shares_and_what_was_promised():
    reason = refusal(compared(4700, 80, 100), RULES, 3.0)
    assert reason.startswith("on the 20,000 records that arrived last this candidate alarms on 24 %, where 0.")
    assert "% were promised; the champion on 0.9 %: look at the records" in reason


@pytest.mark.parametrize(
    ("found", "is_refused"),
    [
        (compared(4700, 80, 100), True),
        (compared(4700, 4600, 100), False),  # both are wrong in the same measure
        (compared(300, 280, 6000), False),  # a wave that both see
        (compared(180, 0, 20), False),  # as promised, whatever the champion does
        (compared(0, 4700, 100), False),
        (compared(440, 300, 6000), False),  # above by less than the margin
        (compared(30, 20, 300, 1000), False),  # chance: 30 of 50
        (compared(15, 1, 300, 1000), True),
    ],
)
def test_three_things_together_refuse(found, is_refused):
    assert bool(refusal(found, RULES, 3.0)) is is_refused


@given(st.integers(0, 500), st.integers(0, 500), st.integers(0, 5000))
def test_what_refuses_is_never_a_candidate_with_fewer_alarms_nor_one_that_keeps_its_promise(ours, theirs, both):
    found = compared(ours, theirs, both)
    assert found.excess == pytest.approx(found.candidate.share - found.champion.share)
    if refusal(found, RULES, 3.0):
        assert ours > theirs and found.candidate.alarms > found.candidate.high
    assert not refusal(compared(ours, ours, both), RULES, 3.0)


@pytest.mark.parametrize(("count", "factor", "is_refused"), [(599, 3.0, False), (601, 3.0, True), (601, 4.0, False)])
def test_a_first_model_is_refused_beyond_so_many_times_its_promise(count, factor, is_refused):
    reason = refusal(Comparison(alarms(count)), RULES, factor)
    assert bool(reason) is is_refused
    assert not is_refused or "or the model does not know it" in reason


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        ({"records": 500}, "records is 500, allowed is 0, or min_records, 1,000, or more"),
        ({"min_records": 99}, "min_records must lie in"),
        ({"margin": 1.0}, "margin must lie in"),
        ({"records": -1}, "records must lie in"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given_, said):
    with pytest.raises(ValueError, match=said.replace("[", r"\[")):
        Shadow(**{"records": 20_000, "min_records": 1_000, "margin": 0.0075} | given_)
    assert Shadow(0, 1_000, 0.0).records == 0
