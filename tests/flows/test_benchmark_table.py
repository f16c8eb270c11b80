"""The table of a grid: figures of a cell, means over seeds, paired differences, realised rates."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from flows.grid import settings
from flows.grid.cells import Cell, Grid
from flows.grid.paired import difference
from flows.grid.results import Result, figures
from flows.grid.results import table as tabulate
from flows.reports import pages
from pipeline import config
from pipeline.evaluation import metrics, sections
from pipeline.evaluation.sections import Asked
from pipeline.settings.evaluate import Bootstrap, Figures

ROOT = Path(__file__).parents[2]
VALUES = st.floats(-1, 1, allow_subnormal=False)


def _grid(**design):
    given = config.read(ROOT / "benchmark.yaml") | {
        "designs": {"d": {"records": ".", "unseen": ["bot", "infiltration"]} | design},
        "configurations": {"a": {}, "b": {"stage2.detector": "knn"}},
        "seeds": [0, 1, 2],
    }
    return Grid.of(config.read(ROOT / "params.yaml"), settings.build(given))


def _section(auroc=0.9, recall=0.5, fp=2, bot=8, infiltration=2):
    at = {
        "recall": recall,
        "fpr": fp / 100,
        "fp": fp,
        "tn": 100 - fp,
        "f1": 0.7,
        "precision": 0.6,
        "fpr_within": fp < 4,
    }
    sizes = {"bot": bot, "infiltration": infiltration}
    recalls = {"bot": recall, "infiltration": 1.0}
    by_attack = {name: {"n": n, "recall": recalls[name]} for name, n in sizes.items()}
    return {
        "n_benign": 100,
        "n_attack": bot + infiltration,
        "auroc": auroc,
        "auroc_macro": auroc + 0.05,
        "auroc_by_attack": {"bot": {"n": bot, "auroc": auroc}, "infiltration": {"n": infiltration, "auroc": 1.0}},
        "recall_at_fpr": {"0.01": {"recall": recall, "by_attack": by_attack}},
        "recall_by_attack": {name: {"n": n, "p99": {"recall": recalls[name]}} for name, n in sizes.items()},
        "thresholds": {"p99": at | {"f1_balanced": 2 * recall / (recall + fp / 100 + 1)}},
    }


def _result(configuration="a", seed=0, left_out="", **section):
    cell = Cell("d", configuration, seed, left_out, ("bot", "infiltration"), {}, "0123456789abcdef")
    return Result(cell, "commit", {"seen": _section(), "unseen": _section(**section)})


def _row(table, configuration="a"):
    return next(row for row in table["rows"] if row["configuration"] == configuration)


def test_figures_are_those_of_the_metrics_and_a_key_that_is_absent_is_not_known():
    found = figures(_result().metrics, {}, "p99")
    assert (found["auroc"], found["auroc_macro"], found["recall_at_1pct"]) == (0.9, pytest.approx(0.95), 0.5)
    assert (found["seen_f1"], found["fpr"]) == (0.7, 0.02)
    assert "recall_at_01pct" not in found
    assert figures({"seen": {}, "unseen": {"auroc": None}}, {"bot": 1}, "p99") == {}


def test_a_mix_gives_the_figures_of_records_of_that_composition():
    """Checked against the metrics of records that do have it: each attack repeated as often as the mix says."""
    rng = np.random.default_rng(0)
    benign, scores = rng.normal(size=500), {"bot": rng.normal(1, 1, 20), "infiltration": rng.normal(3, 1, 4)}
    mix = {"bot": 40, "infiltration": 60}  # 2 and 15 times the records

    def report(parts):
        attack = np.concatenate([["benign"] * 500, *([name] * len(part) for name, part in parts.items())])
        score = np.concatenate([benign, *parts.values()])
        y = (attack != "benign").astype(int)
        asked = Asked({"p99": 0.01}, 500, Figures((0.01,), (0.1,), Bootstrap(100, 0)))
        return sections.report(y, attack, score, {"p99": score > 2}, asked)

    once = report(scores)
    mixed = report({name: np.repeat(part, mix[name] // len(part)) for name, part in scores.items()})
    found = figures({"seen": once, "unseen": once}, mix, "p99")
    assert found["auroc"] == pytest.approx(mixed["auroc"])
    assert found["recall"] == pytest.approx(mixed["thresholds"]["p99"]["recall"])
    assert found["f1_balanced"] == pytest.approx(mixed["thresholds"]["p99"]["f1_balanced"])
    assert "f1" not in found


def test_a_row_has_mean_and_deviation_over_seeds_and_the_worst_attack():
    table = tabulate(
        _grid(), [_result(seed=seed, auroc=auroc, bot=8, infiltration=6) for seed, auroc in enumerate((0.8, 0.9, 1.0))]
    )
    row = _row(table)
    assert row["figures"]["auroc"] == {"mean": pytest.approx(0.9), "sd": pytest.approx(0.1), "n": 3}
    assert (row["seeds"], row["cells"], row["done"], row["n_attack"], row["n_benign"]) == (3, 3, 3, 14, 100)
    assert row["worst"] == {"name": "bot", "auroc": pytest.approx(0.9)}
    assert _row(table, "b")["figures"] == {}


def test_realised_rates_are_pooled_over_seeds_and_both_test_splits():
    (rate,) = _row(tabulate(_grid(), [_result(seed=seed, fp=4) for seed in range(3)]))["realised"]
    assert (rate["nominal"], rate["fp"], rate["n"]) == (0.01, 18, 600)
    assert (rate["low"], rate["high"]) == metrics.wilson(18, 600)
    assert (rate["within"], rate["told"]) == (3, 6)  # the seen splits have fewer


def test_families_are_averaged_small_ones_are_told_and_benign_records_count_once():
    grid = _grid(unseen=[], leave_out=["bot", "dos", "web"])
    cells = [("bot", 0.8, 8), ("dos", 1.0, 9), ("web", 0.1, 2)]
    results = [_result(seed=s, left_out=f, auroc=a, bot=n, infiltration=0) for s in range(3) for f, a, n in cells]
    table = tabulate(grid, results)
    row = _row(table)
    assert row["figures"]["auroc_macro"]["mean"] == pytest.approx(0.9)
    assert "auroc" not in row["figures"]
    assert row["worst"] == {"name": "bot", "auroc": pytest.approx(0.8)}
    assert table["not_counted"] == [{"design": "d", "name": "web", "n": 2}]
    assert row["realised"][0]["n"] == 600


def test_a_seed_that_lacks_a_cell_has_no_figure_and_the_failure_is_told():
    grid = _grid(unseen=[], leave_out=["bot", "dos"])
    results = [_result(seed=s, left_out=f) for s in (0, 1) for f in ("bot", "dos")]
    lost = results.pop()
    table = tabulate(grid, [*results, Result(lost.cell, error="the disk is full\nmore")])
    assert (_row(table)["seeds"], _row(table)["done"], _row(table)["cells"]) == (1, 3, 4)
    assert table["failures"] == [{"cell": lost.cell.name, "error": "the disk is full\nmore"}]
    assert "the disk is full / more" in pages.markdown(table, grid)


def test_who_is_ahead_is_decided_on_the_same_seeds():
    gaps = (0.10, 0.11, 0.12)
    results = [_result("a", seed, auroc=0.8 + gap) for seed, gap in enumerate(gaps)]
    results += [_result("b", seed, auroc=0.8) for seed in range(3)]
    table = tabulate(_grid(), results)
    pair = next(each for each in table["pairs"] if each["figure"] == "auroc")
    assert (pair["first"], pair["second"], pair["n"], pair["ahead"]) == ("a", "b", 3, "a")
    recall = next(each for each in table["pairs"] if each["figure"] == "recall_at_1pct")
    assert (recall["mean"], recall["ahead"]) == (0, "nobody")
    single = tabulate(_grid(), [each for each in results if each.cell.seed == 0])
    assert {each["ahead"] for each in single["pairs"]} == {"nobody"}


@given(st.lists(st.tuples(VALUES, VALUES), min_size=2, max_size=9))
def test_the_interval_is_that_of_students_t_where_splits_share_nothing_and_turns_with_the_sides(pairs):
    first, second = map(list, zip(*pairs, strict=True))
    found, turned = difference(first, second, 0, 0.95), difference(second, first, 0, 0.95)
    assert (turned.mean, turned.low, turned.high) == pytest.approx((-found.mean, -found.high, -found.low))
    assert turned.sign == -found.sign
    gaps = np.subtract(first, second)
    if gaps.std() > 1e-6:
        expected = stats.ttest_1samp(gaps, 0).confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_splits_that_share_records_say_less():
    alone, shared = (difference([0.3, 0.2, 0.25], [0.1, 0.1, 0.1], ratio, 0.95) for ratio in (0, 0.5))
    assert (shared.high - shared.low) / (alone.high - alone.low) == pytest.approx(((1 / 3 + 0.5) * 3) ** 0.5)
    with pytest.raises(ValueError, match="one pair at least"):
        difference([], [], 0, 0.95)


def test_false_alarms_on_splits_of_one_pool_keep_to_the_level():
    """Simulated: two configurations that are as good as each other, 5 splits; ahead in at most about 5 %."""
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(2000, 5)) + rng.normal(size=(2000, 1)) * (1 / 6) ** 0.5  # splits that share records
    ahead = np.mean([difference(list(each), [0.0] * 5, 1 / 6, 0.95).sign != 0 for each in draws])
    assert ahead < 0.065


def test_the_page_and_the_flat_rows_hold_every_row():
    grid = _grid()
    table = tabulate(grid, [_result(name, seed) for name in "ab" for seed in range(3)])
    page, rows = pages.markdown(table, grid), pages.flat(table["rows"])
    assert "| a | 3/3 | 100 / 10 | 0.5000 ± 0.0000 | 0.0200 ± 0.0000 |" in page  # recall and FPR of p99, first
    assert "Not counted, as fewer than 5 test records bear the name: infiltration (2)." in page
    assert "| b | 2 | 0.5000 | 0.0200 |" in page  # those of each seed
    assert "| a | bot | 8 | 0.5000 ± 0.0000 | 0.9000 ± 0.0000 |" in page
    assert list(rows[0]) == list(rows[1])
    assert rows[0]["auroc_mean"] == pytest.approx(0.9)
    assert rows[1]["p99_n"] == 600
