"""The confidence before any training, and the binary one afterwards."""

import math

import numpy as np

from pipeline.calibration.confidence import binary, initial
from pipeline.calibration.thresholds.base import Thresholds


def test_labels_give_certainty_and_contradiction_takes_it_away():
    confidence = initial([0, 1, 0, 1], [False, False, True, True])
    assert confidence.tolist() == [1, -1, 0, 0]
    assert confidence.dtype == np.float32


def test_no_records_give_no_confidence():
    assert initial([], []).shape == (0,)


def test_binary_is_the_verdict_at_the_edges():
    assert binary([1.0, 1.5, 2.0, 2.1], Thresholds(1.0, 2.0)).tolist() == [1, 0, 0, -1]


def test_binary_with_infinite_thresholds():
    assert binary([-1e300, 1e300], Thresholds(math.inf, math.inf)).tolist() == [1, 1]
    assert binary([-1e300, 1e300], Thresholds(-math.inf, -math.inf)).tolist() == [-1, -1]
