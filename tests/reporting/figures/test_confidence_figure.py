"""The figure of a confidence update shows what the strategy saw, also where there is little to see."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest

from pipeline.calibration.thresholds.base import Thresholds
from pipeline.calibration.thresholds.evt import EVT
from pipeline.calibration.thresholds.registry import THRESHOLDS
from pipeline.calibration.thresholds.triangular import Triangular
from pipeline.reporting.figures.confidence import confidence_analysis
from pipeline.reporting.figures.style import svg

random = np.random.default_rng(0)
SCORES = np.append(random.exponential(size=900), random.normal(12, 1, size=100))
TRUTH = np.repeat([0, 1], [900, 100])
EXTREMES = {
    "constant": [2.5] * 9,
    "one": [1.0],
    "two": [0.0, 1.0],
    "infinite": [0.0, 1.0, math.inf, -math.inf],
    "far": np.append(SCORES, [1e9, -1e9]),
}


def drawn(scores, groups, strategy, **words):
    return confidence_analysis(scores, groups, strategy(scores), strategy.analysis(scores), **words)


@pytest.mark.parametrize("name", THRESHOLDS)
@pytest.mark.parametrize("scores", EXTREMES.values(), ids=EXTREMES)
def test_extremes_can_be_drawn(name, scores):
    image = svg(drawn(np.asarray(scores), ["record"] * len(scores), THRESHOLDS[name]()))
    assert b"<svg" in image and len(image) < 300_000


def test_bars_are_shares_of_all_records_in_the_bins_of_the_analysis():
    analysis = Triangular().analysis(SCORES)
    figure = drawn(SCORES, TRUTH, Triangular())
    bars = {patch.get_label(): patch.get_data() for patch in figure.axes[0].patches if hasattr(patch, "get_data")}
    for group, label in (("benign", 0), ("attack", 1)):
        np.testing.assert_array_equal(bars[group].edges, analysis.edges)
        assert bars[group].values.sum() == pytest.approx((label == TRUTH).mean())


def test_a_fitted_tail_is_drawn_and_named():
    figure = drawn(SCORES, TRUTH, EVT())
    line = next(line for line in figure.axes[0].lines if line.get_label() == "fitted tail")
    assert line.get_xdata()[0] == pytest.approx(EVT()(SCORES).low)
    assert "fitted tail" in figure.texts[2].get_text()


def test_the_title_tells_the_shares_unless_another_is_given():
    figure = confidence_analysis([0.0] * 7 + [2.0] * 2 + [5.0], [0] * 10, Thresholds(1.0, 3.0), EVT().analysis([0, 5]))
    assert figure.texts[0].get_text() == "70 % benign, 20 % unknown, 10 % anomalous"
    named = drawn(SCORES, TRUTH, EVT(), title="Epoch 3", subtitle="synthetic records")
    assert [text.get_text() for text in named.texts[:2]] == ["Epoch 3", "synthetic records"]


def test_no_scores_are_said_to_be_none():
    figure = confidence_analysis([], [], Thresholds(0.0, 1.0), EVT().analysis(SCORES))
    assert figure.texts[0].get_text() == "There are no scores to judge"


def test_it_leaves_no_figure_behind():
    drawn(SCORES, TRUTH, EVT())
    assert plt.get_fignums() == []
