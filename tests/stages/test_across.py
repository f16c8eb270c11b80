"""Thresholds from all benign records: no model scores what it has seen, and no test record moves a number."""

from typing import Any

import numpy as np
import pytest

from pipeline import config
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_bytes
from pipeline.artifacts.latents import latent_groups, read_margins
from pipeline.artifacts.models import read_model
from pipeline.artifacts.samples import read_samples, write_samples
from pipeline.artifacts.tables import read_table
from pipeline.base.errors import ConfigError, SplitError
from pipeline.base.samples import joined
from pipeline.calibration import named_thresholds
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.cross_conformal import OUT_OF_FOLD, route, worst_factor
from pipeline.calibration.prediction import Prediction
from pipeline.models.arrays.folds import FoldsForm
from pipeline.serving.bundle import Bundle
from pipeline.settings.stage2 import Stage2
from pipeline.stages.dealt import DEALT

TESTS = ("test_seen", "test_unseen")


@pytest.fixture
def crossed(prepared: Any) -> Any:
    prepared.set("stage2.calibration.kind", "cross")
    prepared.set("calibrate.fusion", "fisher")
    prepared.set("calibrate.scores", ["detector"])
    prepared.run("stage2", "calibrate")
    return prepared


def models() -> dict[str, bytes]:
    return {
        f"{stem.name}{kind}": read_bytes(stem.with_suffix(kind))
        for stem in (paths.DETECTOR, paths.HEAD, paths.THRESHOLDS)
        for kind in (".json", ".safetensors")
    }


def change(split: str, rows: Any) -> None:
    samples = joined([*latent_groups(split)])
    x = samples.x.copy()
    x[rows] = 7 - 3 * x[rows]
    write_samples(paths.LATENT, split, samples.map(lambda _: x, samples.columns))


def benign(split: str) -> Any:
    samples = joined([*latent_groups(split)])
    return samples.select(samples.benign)


def test_every_benign_record_outside_the_tests_sets_the_thresholds(crossed: Any) -> None:
    calibration = Calibration.load(*read_model(paths.THRESHOLDS))
    ids = np.concatenate([benign(split).record_id for split in DEALT])
    apart = read_samples(paths.SCORES, OUT_OF_FOLD)
    np.testing.assert_array_equal(apart.record_id, ids)
    assert calibration.reference.size == len(ids)
    scores = [read_samples(paths.SCORES, split) for split in DEALT]
    np.testing.assert_array_equal(apart.x[:, :-1], np.concatenate([each.x[each.benign] for each in scores]))
    fold = read_model(paths.DETECTOR)[1]["fold"]
    np.testing.assert_array_equal(apart.x[:, -1], fold)
    assert calibration.worst == worst_factor(fold) > 5


def test_the_bundle_judges_as_the_stages_score(crossed: Any) -> None:
    bundle, records = Bundle.of_project(), read_table(paths.RECORDS)
    assert isinstance(bundle.model.detector, FoldsForm)
    order = {each: row for row, each in enumerate(records.column("record_id").to_pylist())}
    for split in (*DEALT, *TESTS):
        samples = read_samples(paths.SCORES, split)
        judged = bundle.predict(records.take([order[each] for each in samples.record_id.tolist()]))
        np.testing.assert_array_equal(judged.detector.astype(np.float32), samples.x[:, 1])


def test_no_test_record_moves_a_fitted_number(crossed: Any) -> None:
    before = models()
    for split in TESTS:
        change(split, slice(None))
    crossed.run("stage2", "calibrate")
    assert models() == before


def test_a_record_moves_no_model_that_scores_it(crossed: Any) -> None:
    _, before = read_model(paths.DETECTOR)
    samples = benign("calibration")
    own = int(route(samples.x[:1, :-1], 5)[0])
    x = samples.x.copy()
    while route(x[:1, :-1], 5)[0] != own or (x[0] == samples.x[0]).all():
        x[0, 0] += 0.5
    write_samples(paths.LATENT, "calibration", samples.map(lambda _: x, samples.columns))
    crossed.run("stage2")
    _, after = read_model(paths.DETECTOR)
    moved = {name.split(".")[1] for name in before if not np.array_equal(before[name], after[name])}
    assert moved == {str(k) for k in range(5)} - {str(own)}


def test_a_p_value_does_not_depend_on_the_other_records(crossed: Any) -> None:
    bundle, records = Bundle.of_project(), read_table(paths.RECORDS)
    whole = bundle.predict(records)
    draw = np.random.default_rng(0)
    for n in (1, 2, 7, 40, 65, 300):
        some = draw.permutation(records.num_rows)[:n]
        judged = bundle.predict(records.take(some))
        np.testing.assert_allclose(judged.score, whole.score[some], rtol=1e-3)
        low, high = (bundle.calibration.p_value(whole.score[some] * (1 + by)) for by in (1e-3, -1e-3))
        assert ((low <= judged.p_value) & (judged.p_value <= high)).all()  # which may tie, but for rounding


def test_an_anomalous_verdict_and_an_alarm_at_p99_are_one_decision(crossed: Any) -> None:
    calibration = Calibration.load(*read_model(paths.THRESHOLDS))
    for split in TESTS:
        judged = Prediction.of(calibration, *read_samples(paths.SCORES, split).x.T)
        np.testing.assert_array_equal(judged.verdict == "anomalous", judged.flagged["p99"])
        np.testing.assert_array_equal(judged.verdict != "benign", judged.flagged["p95"])


def test_a_trained_model_holds_records_out_instead_and_says_how_many(
    prepared: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared.set("stage2.detector", "maf")
    prepared.set("stage2.calibration.kind", "cross")
    assert "cross needs models in closed form, but stage2.detector: maf is trained" in prepared.refusal(
        "stage2", ConfigError
    )
    prepared.set("stage2.calibration.kind", "auto")
    prepared.set("stage2.fit", prepared.params["stage2"]["fit"] | {"epochs": 1})
    prepared.run("stage2")
    held = len(read_margins("calibration"))
    assert (
        f"{held} benign calibration records, on which no model is fitted, will set the thresholds: stage2.detector: maf"
        in capsys.readouterr().out
    )
    assert not (paths.SCORES / f"{OUT_OF_FOLD}.parquet").exists()


def test_the_spread_of_each_level_is_said_before_the_fit(crossed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    crossed.set("calibrate.percentiles", [99.99, 90])
    crossed.run("calibrate")
    said = capsys.readouterr().out
    n = len(read_samples(paths.SCORES, OUT_OF_FOLD))
    assert f"p99.99: {n:,} benign records support no level below {100 / (n + 1):.3g} %; it needs 9,999" in said
    assert f"p90: asked for 10 %, {n:,} benign records may give" in said
    assert f"{4 * n:,} would give" in said


def test_one_fold_is_refused_with_the_settings(prepared: Any) -> None:
    prepared.set("stage2.calibration.folds", 1)
    with pytest.raises(ConfigError, match=r"stage2\.calibration\.folds: .*greater than or equal to 2, given 1"):
        config.load(Stage2)


def test_more_folds_than_records_are_refused_where_asked_and_else_held_out(
    prepared: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    prepared.set("stage2.calibration.folds", 5000)
    prepared.set("stage2.calibration.kind", "cross")
    assert "folds empty" in prepared.refusal("stage2", SplitError)
    prepared.set("stage2.calibration.kind", "auto")
    prepared.run("stage2", "calibrate")
    assert "on which no model is fitted, will set the thresholds: calibration: " in capsys.readouterr().out


def test_records_of_one_day_share_a_fold_where_asked(prepared: Any) -> None:
    prepared.set("stage2.calibration.kind", "cross")
    prepared.set("stage2.calibration.together", ["dya"])
    assert "'dya' is no column of the records (did you mean 'day'?)" in prepared.refusal("stage2", ConfigError)
    prepared.set("stage2.calibration.together", ["day"])
    prepared.set("stage2.calibration.folds", 2)
    prepared.run("stage2")
    fold = read_model(paths.DETECTOR)[1]["fold"]
    ids = read_samples(paths.SCORES, OUT_OF_FOLD).record_id
    records = read_table(paths.RECORDS, ["record_id", "day"]).to_pandas().set_index("record_id")
    days = records.loc[ids, "day"].to_numpy()
    assert all(len(set(fold[days == day])) == 1 for day in set(days))


def test_groups_have_thresholds_from_all_their_benign_records(crossed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(named_thresholds, "LEAST_OF_A_GROUP", 20)
    crossed.set("calibrate.group", "day")
    crossed.run("calibrate")
    calibration = Calibration.load(*read_model(paths.THRESHOLDS))
    ids = read_samples(paths.SCORES, OUT_OF_FOLD).record_id
    records = read_table(paths.RECORDS, ["record_id", "day"]).to_pandas().set_index("record_id")
    counts = records.loc[ids, "day"].value_counts()
    assert calibration.groups
    for name, own in calibration.groups.items():
        assert own.reference.size == counts[name]
