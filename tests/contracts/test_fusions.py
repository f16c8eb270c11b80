"""What every fusion in the registry keeps to."""

import numpy as np
import pytest
from scipy.stats import gamma

from pipeline.calibration.calibration import Calibration
from pipeline.calibration.fusion import FUSIONS, SHARE, Score, beside

RANDOM = np.random.default_rng(0)
MARGIN, DETECTOR = RANDOM.normal(-3, 1, 500), RANDOM.normal(0, 1, 500)


@pytest.fixture(params=FUSIONS)
def calibration(request):
    return Calibration.fit(MARGIN, DETECTOR, request.param)


def test_a_score_never_falls_where_both_stages_see_more(calibration):
    grid = np.linspace(-8, 8, 41)
    score = calibration.score(grid, grid)
    assert (score[1:] >= score[:-1]).all()


def test_a_record_is_judged_on_its_own(calibration):
    both = calibration.score(MARGIN, DETECTOR)
    alone = np.array([calibration.score([m], [d])[0] for m, d in zip(MARGIN[:20], DETECTOR[:20], strict=True)])
    np.testing.assert_array_equal(both[:20], alone)


def test_the_named_thresholds_are_ordered(calibration):
    assert calibration.thresholds["p95"] <= calibration.thresholds["p97"] <= calibration.thresholds["p99"]


def test_state_round_trips(calibration):
    loaded = Calibration.load(*calibration.state())
    np.testing.assert_array_equal(loaded.score(MARGIN, DETECTOR), calibration.score(MARGIN, DETECTOR))
    np.testing.assert_array_equal(loaded.p_value(DETECTOR), calibration.p_value(DETECTOR))


def test_a_head_that_stands_beside_hides_nothing_and_finds_what_it_knows():
    """Benign records on which the head says nothing, odd records that it does not know, and those that it knows."""
    rng = np.random.default_rng(1)
    margin, detector, head = rng.normal(size=(3, 3000))
    odd, known = (np.full(200, 6.0), rng.normal(-3, 0.1, 200)), (rng.normal(size=200), np.full(200, 6.0))
    fitted = Calibration.fit(margin, detector, "beside", head=head, used=("detector", "head"))
    for scores in (odd, known):
        assert (fitted.score(np.zeros(200), *scores) > fitted.thresholds["p99"]).all()


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_others_of_a_head_that_stands_beside_are_one_test(k):
    """The surprise of a sum of k surprises is minus the logarithm of a share of a gamma variable."""
    values = np.linspace(0, 40, 81)
    scores = {f"score{each}": Score(values / k, values / k) for each in range(k)}
    with_head = beside(scores | {"head": Score(np.full(81, -np.inf), np.full(81, -np.inf))})
    np.testing.assert_allclose(with_head, -gamma(k).logsf(values) + np.log(1 - SHARE), rtol=1e-12, atol=1e-12)
