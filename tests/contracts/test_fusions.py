"""What every fusion in the registry keeps to."""

import numpy as np
import pytest

from pipeline.calibration.calibration import Calibration
from pipeline.calibration.fusion import FUSIONS

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
