"""Every figure is drawn on extremes without a warning, to the same bytes each time, and small."""

import inspect
import math
import re
from functools import cache, partial
from types import SimpleNamespace

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.figure import Figure

from pipeline.calibration.thresholds.base import Thresholds
from pipeline.calibration.thresholds.evt import EVT
from pipeline.evaluation import metrics
from pipeline.reporting.figures import confidence, drift, evaluation, latent, models, records, shortcuts, style
from pipeline.stages.reports import training

FIGURES = {
    name: function
    for module in (confidence, drift, evaluation, latent, models, records, shortcuts)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if inspect.signature(function).return_annotation is Figure and not name.startswith("_")
}
figures = SimpleNamespace(**FIGURES, svg=style.svg)
random = np.random.default_rng(0)
LONG = [f"an_attack_whose_name_does_not_end_before_the_axis_begins_{i}" for i in range(20)]
FEATURES = [f"packet_length_of_{i}_packets" for i in range(30)]
COUNTS = {f"{name}.csv": {"benign": 10**i, name: 3 * i} for i, name in enumerate(LONG[:8])}
BY_ATTACK = {
    name: {"n": 10 ** (i % 7), "p99": {"recall": i / 20, "low": i / 25, "high": (i + 5) / 25}}
    for i, name in enumerate(LONG)
}
NO_RECALL = {"bot": {"n": 0, "p99": {"recall": None, "low": None, "high": None}}}
TAIL = np.concatenate([random.normal(-180, 4, 500), -180 + 10 ** random.uniform(0, 6, 100), [math.inf, -math.inf]])
GROUPS = np.repeat(["benign", "seen", "unseen"], [500, 60, 42])
CURVE = metrics.Curve.of(np.arange(400) % 3 == 0, random.standard_normal(400) + (np.arange(400) % 3 == 0))
HISTORY = [{"epoch": i, "train_loss": 5.0 - i, "val_loss": 5.5 - i / 2} for i in range(6)]
VERDICTS = {"benign": {"benign": 900, "unknown": 90, "anomalous": 10}, "seen attacks": {"anomalous": 7}, "none": {}}
DRAWN = {
    "class_counts": partial(figures.class_counts, COUNTS),
    "class_counts_of_one_class": partial(figures.class_counts, {"a.csv": {"benign": 1}}),
    "class_counts_of_nothing": partial(figures.class_counts, {}),
    "expectations": partial(
        figures.expectations, LONG * 2 + FEATURES[:5], np.logspace(-7, 0, 45), np.full(45, 0.01), [True] * 45
    ),
    "expectations_without_breach": partial(figures.expectations, ["a", "b"], [0, 0], [0, 0], [True, False]),
    "expectations_of_nothing": partial(figures.expectations, [], [], [], []),
    "splits": partial(figures.splits, COUNTS, unseen=LONG[:3]),
    "splits_of_one_class": partial(figures.splits, {"train": {"benign": 0}}),
    "splits_of_nothing": partial(figures.splits, {}),
    "feature_spread": partial(figures.feature_spread, FEATURES, np.sort(random.standard_normal((30, 7)) ** 9, axis=1)),
    "feature_spread_of_constants": partial(figures.feature_spread, ["a", "b"], np.zeros((2, 7))),
    "feature_spread_of_nothing": partial(figures.feature_spread, [], np.zeros((0, 7))),
    "loss_curves": partial(figures.loss_curves, HISTORY, 3),
    "loss_curves_of_one_epoch": partial(figures.loss_curves, HISTORY[:1], 0),
    "loss_curves_without_val": partial(figures.loss_curves, [{"epoch": 1, "train_loss": 2.0, "val_loss": math.nan}], 1),
    "loss_curves_of_nothing": partial(figures.loss_curves, []),
    "no_loss": partial(figures.no_loss, "ADetectorWithANameThatIsLongerThanThatOfAnyOther"),
    "latent_map": partial(
        figures.latent_map, 10 ** random.uniform(-3, 5, (602, 32)), GROUPS, GROUPS != "benign", ["unseen"]
    ),
    "latent_map_of_one_point": partial(figures.latent_map, np.ones((3, 1)), ["benign"] * 3, [0] * 3),
    "latent_map_by_name": partial(
        figures.latent_map,
        random.standard_normal((900, 3)),
        np.array([*LONG, *LONG, "benign"] * 30)[:900],
        np.array([*LONG, *LONG, "benign"] * 30)[:900] != "benign",
        LONG[:15],
        500,
    ),
    "latent_map_laid_out": partial(
        figures.latent_map, np.eye(4), ["benign", "a", "b", "b"], [0, 1, 1, 1], ["b"], 3, lambda z: z[:, :2], "UMAP"
    ),
    "latent_map_of_nothing": partial(figures.latent_map, np.zeros((0, 4)), [], []),
    "score_histogram": partial(figures.score_histogram, TAIL, GROUPS, Thresholds(-170.0, -150.0)),
    "score_histogram_of_labels": partial(figures.score_histogram, np.abs(TAIL), GROUPS != "benign", None),
    "score_histogram_all_unknown": partial(figures.score_histogram, TAIL, GROUPS, Thresholds(-math.inf, math.inf)),
    "score_histogram_all_benign": partial(figures.score_histogram, TAIL, GROUPS, Thresholds(math.inf, math.inf)),
    "score_histogram_of_a_constant": partial(figures.score_histogram, [1.0] * 9, [0] * 9, Thresholds(1.0, 1.0)),
    "score_histogram_of_infinities": partial(figures.score_histogram, [math.inf], [1], Thresholds(0.0, 1.0)),
    "score_histogram_of_nothing": partial(figures.score_histogram, [], []),
    "confidence_analysis": partial(
        figures.confidence_analysis, TAIL, GROUPS, Thresholds(-170.0, -150.0), EVT().analysis(TAIL)
    ),
    "drift": partial(
        figures.drift,
        {"score": 0.07, **{name: i / 30 for i, name in enumerate(FEATURES)}},
        {"score": True, **{name: i > 3 for i, name in enumerate(FEATURES)}},
        np.cumsum(random.normal(0.01, 0.1, 3000)),
    ),
    "drift_beyond_measure": partial(
        figures.drift, dict.fromkeys(LONG, 1.0), dict.fromkeys(LONG, True), np.linspace(0, 1e4, 99)
    ),
    "drift_of_one_record": partial(figures.drift, {"score": 0.0}, {"score": False}, [0.0]),
    "drift_of_nothing": partial(figures.drift, {}, {}, []),
    "shortcuts": partial(
        figures.shortcuts,
        {name: (FEATURES[i], 1 - i / 40) for i, name in enumerate(LONG)},
        {name: (FEATURES[i], 1 - i / 20 * 0.5) for i, name in enumerate(LONG)},
        0.99,
    ),
    "shortcuts_where_all_are_known": partial(figures.shortcuts, {"bot": ("a", 1.0)}, {"bot": ("", 0.5)}, 0.99),
    "shortcuts_of_nothing": partial(figures.shortcuts, {}, {}, 0.99),
    "roc_pr": partial(figures.roc_pr, {"seen": CURVE, "unseen": CURVE, "other": CURVE}),
    "roc_pr_of_one_tie": partial(figures.roc_pr, {"seen": metrics.Curve.of([0, 1], [1.0, 1.0])}),
    "roc_pr_of_one_class": partial(figures.roc_pr, {"seen": metrics.Curve.of([0, 0], [1.0, 2.0])}),
    "recall_per_attack": partial(figures.recall_per_attack, {"seen": BY_ATTACK, "unseen": BY_ATTACK}, "p99"),
    "recall_per_attack_of_nothing": partial(figures.recall_per_attack, {"seen": NO_RECALL, "unseen": {}}, "p99"),
    "confusion": partial(figures.confusion, VERDICTS),
    "confusion_of_attacks": partial(figures.confusion, {name: {"anomalous": 10**9} for name in LONG}),
    "confusion_of_nothing": partial(figures.confusion, {}),
    "calibration_curve": partial(
        figures.calibration_curve, np.geomspace(1e-6, 0.5, 40), np.geomspace(1e-9, 1, 40), np.ones((40, 2)) / 2, 10**6
    ),
    "calibration_curve_of_one_point": partial(figures.calibration_curve, [0.01], [0.0], [[0.0, 0.3]]),
    "calibration_curve_of_nothing": partial(figures.calibration_curve, [], [], []),
}


@cache
def drawn(name):
    """The texts around a figure, and its file."""
    figure = DRAWN[name](subtitle="synthetic data")
    return [text.get_text() for text in figure.texts], figures.svg(figure)


@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_is_a_small_svg_that_says_what_is_to_be_seen(name):
    texts, svg = drawn(name)
    assert texts[0] and texts[1] == "synthetic data"
    assert not re.search(r"nan|None|\binf\b", " ".join(texts))
    assert b"<svg" in svg and len(svg) < 300_000


def test_a_model_that_is_not_trained_says_why_in_place_of_its_loss():
    """DVC shows what stands under the name of the loss curves: axes without a line say nothing."""
    kept = {}
    report = SimpleNamespace(subtitle="synthetic data", figure=kept.__setitem__)
    training.nothing_to_train("KNN", report)
    texts = " ".join(text.get_text() for text in kept["loss_curves"].texts)
    assert "KNN has no loss curve" in texts and "without epochs, so there is no loss" in texts.replace("\n", " ")
    assert not any(ax.axison for ax in kept["loss_curves"].axes)


@pytest.mark.parametrize("name", sorted(set(DRAWN) & set(FIGURES)))
def test_the_same_data_give_the_same_bytes(name):
    figure = DRAWN[name](subtitle="synthetic data")
    assert figures.svg(figure) == drawn(name)[1]


def test_a_figure_can_be_written_twice():
    figure = DRAWN["roc_pr"]()
    assert figures.svg(figure) == figures.svg(figure)


def test_every_public_figure_is_drawn_here():
    assert {part.func.__name__ for part in DRAWN.values()} == set(FIGURES)


def test_no_global_setting_is_changed():
    before = dict(mpl.rcParams)
    figures.svg(DRAWN["score_histogram"]())
    assert dict(mpl.rcParams) == before


def test_an_svg_bears_no_date():
    assert not re.search(rb"20\d\d-\d\d-\d\d", figures.svg(DRAWN["loss_curves"]()))


def test_a_large_latent_stays_a_small_file():
    z = random.standard_normal((30_000, 32))
    y = (np.arange(30_000) % 2).astype(int)
    assert len(figures.svg(figures.latent_map(z, np.where(y, "ddos", "benign"), y))) < 300_000


def test_a_long_curve_stays_a_small_file():
    y = np.arange(40_000) % 2
    curve = metrics.Curve.of(y, random.standard_normal(40_000) + y)
    assert len(figures.svg(figures.roc_pr({"seen": curve}))) < 200_000


def test_a_long_martingale_stays_a_small_file_and_keeps_its_peak():
    """Each drift check puts it on a page in Prefect's database."""
    path = np.cumsum(random.standard_normal(20_000))
    path[12_345] = 900.0
    figure = figures.drift({"score": 0.1}, {"score": True}, path)
    (line,) = (each for each in figure.axes[1].lines if len(each.get_xdata()) > 2)
    assert 12_346 in line.get_xdata() and {1, 20_000} <= set(line.get_xdata())
    assert len(figures.svg(figure)) < 100_000


@settings(max_examples=8, deadline=None)
@given(
    scores=arrays(np.float64, st.integers(1, 30), elements=st.floats(-1e9, 1e9)),
    cuts=st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=2).map(sorted),
)
def test_any_scores_and_thresholds_can_be_drawn(scores, cuts):
    figures.svg(figures.score_histogram(scores, np.arange(len(scores)) % 2, Thresholds(*cuts)))


@pytest.mark.parametrize(
    ("n", "text"), [(0, "0"), (842, "842"), (9_999, "9,999"), (12_345, "12.3k"), (999_999, "1M"), (2_830_743, "2.83M")]
)
def test_counts_are_written_as_people_read_them(n, text):
    assert style.count(n) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (1e-7, "<0.001 %"), (0.0123, "1.23 %"), (0.9999, "99.99 %"), (1, "100 %")]
)
def test_shares_are_never_rounded_to_all_or_nothing(share, text):
    assert style.percent(share) == text


def _legend(figure):
    return [text.get_text() for text in figure.axes[1].get_legend().get_texts()]


def test_the_latent_map_names_seen_and_unseen_attacks_and_draws_no_more_than_it_may():
    names = np.array(["benign"] * 5000 + ["ddos"] * 900 + ["web_xss"] * 3 + ["bot"] * 40)
    drawn = figures.latent_map(random.standard_normal((len(names), 5)), names, names != "benign", ["bot"], 300)
    assert _legend(drawn) == [
        "benign (5,000)", "seen attacks (903)", "ddos (900)", "web_xss (3)", "unseen attacks (40)", "bot (40)",
    ]  # fmt: skip
    points = [len(each.get_offsets()) for each in drawn.axes[0].collections]
    assert sum(points) == 300
    assert points[2:] == [3, 40]  # all of what is rare
