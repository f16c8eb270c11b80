"""Which score and which features drive a score."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.artifacts.files import write_csv
from pipeline.base.errors import DataError, SplitError
from pipeline.base.samples import Samples
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.fusion import FUSIONS
from pipeline.calibration.surprisal import Surprisal
from pipeline.evaluation import attribution, replacement
from pipeline.evaluation.attribution import Native, explain, rows
from pipeline.evaluation.replacement import Scoring, falls, nearest
from pipeline.models.detectors.knn import KNN
from pipeline.models.detectors.mahalanobis import Mahalanobis

COLUMNS = ("rate", "length", "port")
F = len(COLUMNS)


def samples(x: np.ndarray, first_id: int = 0) -> Samples:
    n = len(x)
    ids = np.arange(first_id, first_id + n, dtype=np.uint64)
    ones, names = np.ones(n, np.float32), np.full(n, "benign", dtype=object)
    return Samples(ids, np.zeros(n, np.int8), names, ones, ones.astype(bool), x.astype(np.float32), COLUMNS)


def drawn(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, F)).astype(np.float32)


def squares(x: np.ndarray, rows: object = None) -> np.ndarray:
    return (x.astype(np.float64) ** 2 * [1, 2, 3]).sum(1)


def scores(x: np.ndarray) -> dict[str, np.ndarray]:
    """Each feature is a score that is its own surprise."""
    return dict(zip(("margin", "detector", "head"), x.T.astype(np.float64).clip(0), strict=True))


def surprises(given: dict[str, np.ndarray]) -> np.ndarray:
    return np.array([np.clip(each, 0, None) for each in given.values()])


SUM = Scoring(scores, lambda given: surprises(given).sum(0))
HIGHEST = Scoring(scores, lambda given: surprises(given).max(0) + surprises(given).sum(0) / 1000)
CASCADE = Scoring(scores, lambda given: np.where(given["margin"] > 0, np.inf, given["detector"]))
PLAIN = Scoring(lambda x: {"detector": squares(x)}, lambda given: given["detector"])


def test_of_a_sum_over_features_a_fall_is_the_difference_of_their_parts() -> None:
    x, reference = drawn(20), drawn(20, 1)
    expected = (x.astype(float) ** 2 - reference.astype(float) ** 2) * [1, 2, 3]
    np.testing.assert_allclose(falls(squares, x, reference), expected, rtol=1e-9, atol=1e-12)


def test_a_feature_that_has_its_reference_value_is_not_scored_again() -> None:
    x, seen = drawn(4), []
    reference = x.copy()
    reference[2, 1] = 9

    def score(rows: np.ndarray, which: np.ndarray) -> np.ndarray:
        seen.append(len(rows))
        return squares(rows)

    found = falls(score, x, reference)
    assert seen == [4, 1]
    assert np.argwhere(found).tolist() == [[2, 1]]
    np.testing.assert_array_equal(falls(squares, x, x), np.zeros((4, F)))


def test_falls_do_not_depend_on_how_many_rows_are_scored_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, reference = drawn(20), drawn(20, 1)
    whole = falls(squares, x, reference)
    monkeypatch.setattr(replacement, "ROWS_AT_ONCE", 7)
    np.testing.assert_array_equal(falls(squares, x, reference), whole)


def test_one_feature_that_is_far_off_does_not_change_which_records_are_alike() -> None:
    web, mail = drawn(50) * 0.1, drawn(50, 1) * 0.1 + np.array([6, 6, 6], np.float32)
    record = np.array([[0, 0, 30]], np.float32)  # a web record but for its last feature, which mail is closer to
    found = nearest(np.concatenate((web, mail)), record, 7)
    assert (found < 50).all()
    by_square = np.square(np.concatenate((web, mail)) - record).sum(1).argmin()
    assert by_square >= 50


def test_the_nearest_come_first_and_a_copy_is_the_nearest() -> None:
    known, x = drawn(30), drawn(30)[[4, 9]]
    found = nearest(known, x, 30)
    assert found[:, 0].tolist() == [4, 9]
    for order, record in zip(found, x, strict=True):
        assert sorted(order.tolist()) == list(range(30))
        assert (np.diff(np.sqrt(np.abs(known[order] - record)).sum(1)) >= 0).all()


def shares(scoring: Scoring, *records: tuple[float, float, float]) -> np.ndarray:
    return np.stack(list(scoring.shares(np.array(records, np.float32)).values()), 1)


def test_of_a_sum_a_score_has_its_part_in_it() -> None:
    found = shares(SUM, (1, 3, 0), (0, 2, 2), (5, 0, 5), (0, 0, 7))
    np.testing.assert_allclose(found, [[0.25, 0.75, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0, 0, 1]])


def test_of_the_highest_one_the_highest_has_nearly_all() -> None:
    found = shares(HIGHEST, (9, 3, 1), (2, 8, 2), (4, 4, 0))
    assert found[0, 0] > 0.99
    assert found[1, 1] > 0.99
    np.testing.assert_allclose(found[2], [0.5, 0.5, 0])
    np.testing.assert_allclose(found.sum(1), 1)


def test_an_infinite_score_is_that_of_the_stage_that_made_it_so() -> None:
    np.testing.assert_array_equal(shares(CASCADE, (1, 3, 0), (0, 2, 0)), [[1, 0, 0], [0, 1, 0]])
    found = explain(samples(drawn(2) + 1, 100), samples(drawn(9) - 5), CASCADE)
    assert all(np.isfinite(part.contribution) for each in found for part in each.features)


def test_a_score_of_minus_infinity_has_no_surprise() -> None:
    tail = Surprisal.fit(drawn(200)[:, 0])
    scoring = Scoring(
        lambda x: dict(zip("abc", x.T, strict=True)), lambda given: sum(map(tail.surprise, given.values()))
    )
    each = tail.surprise(drawn(5))
    np.testing.assert_allclose(shares(scoring, *drawn(5)), each / each.sum(1, keepdims=True), rtol=1e-6)


def test_where_no_score_raises_the_fused_one_none_has_a_share() -> None:
    np.testing.assert_array_equal(shares(SUM, (0, 0, 0)), [[0, 0, 0]])


def test_an_explanation_names_what_stands_out() -> None:
    known = samples(drawn(500))
    alert = samples(known.x[:1] + np.array([0, 0, 9], np.float32), 900)
    (found,) = explain(alert, known, PLAIN, top=2)
    assert found.record_id == 900
    assert found.score == pytest.approx(squares(alert.x)[0])
    assert found.features[0].feature == "port"
    assert len(found.features) == 2
    assert found.features[0].value == pytest.approx(alert.x[0, 2])
    assert abs(found.features[0].reference) < 4
    assert found.features[0].contribution > 0.9 * (found.score - squares(known.x[:1])[0])
    assert found.shares == {"detector": 1.0}
    assert found.terms == found.neighbours == ()
    assert len(found.references) == replacement.NEIGHBOURS


def test_a_detector_gives_its_terms_and_the_ids_of_its_neighbours() -> None:
    known = samples(drawn(60), 1000)
    detector = KNN(2, neighbours=3, references=20)
    detector.fit(torch.from_numpy(2 * known.x[:, :2]))
    native = Native(detector.form, lambda x: 2 * x[:, :2], ("z0", "z1"))
    alert = samples(np.array([[0, 8, 0]]))
    (found,) = explain(alert, known, PLAIN, native, top=9)
    assert [part.feature for part in found.terms] == ["z1", "z0"]
    assert (found.terms[0].value, len(found.features)) == (16, F)
    chosen = known.x[[each - 1000 for each in found.references]]
    assert found.terms[0].reference == pytest.approx(2 * np.median(chosen, axis=0)[1])
    kept = known.select(detector.rows.numpy())
    distance = np.square((kept.x - alert.x)[:, :2]).sum(1) ** 0.5
    assert list(found.neighbours) == kept.record_id[distance.argsort()[:3]].tolist()


def test_of_many_benign_records_evenly_spaced_ones_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attribution, "MOST_BENIGN", 10)
    (found,) = explain(samples(drawn(1, 1)), samples(drawn(25)), PLAIN)
    assert all(each % 3 == 0 for each in found.references)


def test_few_benign_records_and_no_alerts_are_no_error() -> None:
    (found,) = explain(samples(drawn(1, 1)), samples(drawn(2)), PLAIN)
    assert sorted(found.references) == [0, 1]
    assert explain(samples(drawn(0)), samples(drawn(2)), PLAIN) == []


def test_rows_are_a_table_with_a_row_for_each_named_feature(tmp_path) -> None:
    known = samples(drawn(60))
    detector = Mahalanobis(F)
    detector.fit(torch.from_numpy(known.x))
    alerts = samples(np.array([[1, 3, 0], [9, 0, 0]]), 255)
    found = explain(alerts, known, SUM, Native(detector.form, lambda x: x, COLUMNS), top=2)
    table = rows(found)
    assert [(row["record_id"], row["account"], row["rank"]) for row in table] == [
        (f"{record:016x}", account, rank)
        for record in (255, 256)
        for account in ("replacement", "terms")
        for rank in (1, 2)
    ]
    assert (table[0]["share_margin"], table[0]["share_detector"]) == (0.25, 0.75)
    assert table[2]["feature"] == found[0].terms[0].feature
    assert table[0]["references"].split() == [f"{each:016x}" for each in found[0].references]
    write_csv(tmp_path / "explanations.csv", table)
    assert len((tmp_path / "explanations.csv").read_text().splitlines()) == 1 + len(table)
    assert rows([]) == []


def test_what_cannot_be_compared_is_refused() -> None:
    alerts, known = samples(drawn(1)), samples(drawn(9))
    with pytest.raises(SplitError, match="no benign records"):
        explain(alerts, samples(drawn(0)), PLAIN)
    with pytest.raises(DataError, match=r"differ in their columns: \['port', 'size'\]"):
        explain(alerts, replace(known, columns=("rate", "length", "size")), PLAIN)
    with pytest.raises(DataError, match="their order"):
        explain(alerts, replace(known, columns=COLUMNS[::-1]), PLAIN)
    with pytest.raises(ValueError, match="top must be at least 1, not 0"):
        explain(alerts, known, PLAIN, top=0)
    detector = KNN(F, neighbours=1)
    detector.fit(torch.from_numpy(drawn(9)))
    with pytest.raises(DataError, match="3 columns, but 2 names"):
        explain(alerts, known, PLAIN, Native(detector.form, lambda x: x, COLUMNS[:2]))
    with pytest.raises(DataError, match=r"9 records or more, given are 5"):
        explain(samples(drawn(9)[8:]), known.select(slice(5)), PLAIN, Native(detector.form, lambda x: x, COLUMNS))


@pytest.mark.parametrize("fusion", sorted({*FUSIONS} - {"cascade", "detector"}))
def test_a_context_that_a_record_does_not_have_has_no_share(fusion: str) -> None:
    rng = np.random.default_rng(0)
    margin, detector, head, context = rng.normal(size=(4, 800))
    context[rng.random(800) < 0.3] = np.nan
    used = ("detector", "head", "context")
    calibration = Calibration.fit(margin, detector, fusion, head=head, context=context, used=used)
    scoring = Scoring(lambda x: {}, lambda given: calibration.score(*given.values()))
    given = {"margin": np.zeros(2), "detector": np.full(2, 4.0), "head": np.zeros(2), "context": np.array([np.nan, 3])}
    shares = scoring.shares_of(given)
    assert shares["context"][0] == 0
    assert sum(each[0] for each in shares.values()) == pytest.approx(1)
    assert shares["context"][1] > 0
