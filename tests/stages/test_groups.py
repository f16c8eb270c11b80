"""Thresholds by group, from the records to the registered model: whoever tells its group is judged by it everywhere."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_csv, read_json
from pipeline.base.errors import ArtifactError, ConfigError, DataError
from pipeline.calibration import fused
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.prediction import Prediction
from pipeline.calibration.thresholds.conformal import interval
from pipeline.datasets.incoming import incoming
from pipeline.evaluation.recalibration import Recalibration
from pipeline.serving import heldout
from pipeline.serving.bundle import Bundle
from pipeline.serving.tally import Tally
from pipeline.stages.record_groups import groups_of
from tests.stages.test_bundle import raw

TESTS = ("test_seen", "test_unseen")


@pytest.fixture
def by_day(prepared: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A project whose thresholds are set by day; its 44 calibration records would be too few for 1 %."""
    monkeypatch.setattr(fused, "frequent", lambda names: sorted({str(name) for name in names} - {""}))
    prepared.set("calibrate.group", "day")
    prepared.run("calibrate")
    return prepared


def test_evaluate_the_bundle_and_the_gate_judge_a_record_by_its_group(by_day: Any) -> None:
    by_day.run("evaluate")
    bundle = Bundle.of_project()
    assert len(bundle.calibration.groups) >= 2
    told = {row["record_id"]: row for row in read_csv(paths.REPORTS / "evaluate/confidence_epoch_0.csv")}
    differs = 0
    for split in TESTS:
        records = raw(split)
        judged, blind = bundle.predict(records), bundle.predict(records.drop_columns("day"))
        ids = [f"{value:016x}" for value in records.column("record_id").to_pylist()]
        assert [float(told[each]["p_value"]) for each in ids] == pytest.approx(judged.p_value)
        assert [told[each]["verdict"] for each in ids] == judged.verdict.tolist()
        assert judged.group.tolist() == records.column("day").to_pylist() and not any(blind.group)
        np.testing.assert_array_equal(judged.score, blind.score)
        differs += int((judged.p_value != blind.p_value).sum())
        selection = heldout.select([bundle])
        (gated,) = heldout.predict(selection, [bundle], "p95")
        place = {int(value): row for row, value in enumerate(selection.record_id.tolist())}
        mine = [place[int(each, 16)] for each in ids if int(each, 16) in place]
        flagged = [mask for each, mask in zip(ids, judged.flagged["p95"], strict=True) if int(each, 16) in place]
        assert gated.alarm[mine].tolist() == flagged
    assert differs


def test_false_alarms_are_shown_by_group_and_promised_where_thresholds_are_its_own(by_day: Any) -> None:
    by_day.run("evaluate")
    guarantee = read_json(paths.METRICS)["guarantee"]
    assert guarantee["groups"].keys() == {"day"}  # these files do not tell the protocol
    days = guarantee["groups"]["day"]
    assert sum(day["n"] for day in days.values()) == guarantee["n_benign"]
    own = Bundle.of_project().calibration.groups
    for name, day in days.items():
        assert day["n_calibration"] == (own[name].reference.size if name in own else None)
        assert (day["levels"]["p95"]["nominal"] is None) == (name not in own)
    for level, promised in guarantee["levels"].items():
        alarms = sum(round(day["levels"][level]["fpr"] * day["n"]) for day in days.values())
        assert alarms == round(promised["fpr"] * guarantee["n_benign"])
    assert "by day" in paths.PAGE.read_text()


def test_scoring_knows_the_group_of_new_records_in_both_forms(by_day: Any) -> None:
    bundle = Bundle.of_project()
    for path in (by_day.file("Wednesday"), paths.RECORDS):
        (chunk,) = incoming(path, "cicids2017", bundle.columns).read()
        judged, blind = bundle.predict(chunk.records), bundle.predict(chunk.records.drop_columns("day"))
        assert (judged.p_value != blind.p_value).any()
    tally = Tally(bundle.calibration)
    tally.add(judged, chunk.rejected)
    assert tally.alarms == {name: int(mask.sum()) for name, mask in judged.flagged.items()}


def test_the_model_still_judges_after_it_was_stored(by_day: Any) -> None:
    bundle = Bundle.of_project()
    assert bundle.sealed.about["group"] == {"name": "day", "categorical": True}
    bundle.save(paths.DATA / "stored")
    records = raw("test_seen")
    one, other = bundle.predict(records), Bundle.load(paths.DATA / "stored").predict(records)
    assert np.array_equal(one.p_value, other.p_value) and np.array_equal(one.verdict, other.verdict)
    with pytest.raises(DataError, match="column 'day' holds"):
        bundle.predict(records.set_column(records.column_names.index("day"), "day", pa.array([1.0] * len(records))))


def test_without_enough_records_of_any_group_all_are_judged_as_before(prepared: Any, capsys: Any) -> None:
    plain = Bundle.of_project().predict(raw("test_seen"))
    prepared.set("calibrate.group", "day")
    prepared.run("calibrate")
    assert "thresholds for each day with 99 benign calibration records or more: none" in capsys.readouterr().out
    assert np.array_equal(Bundle.of_project().predict(raw("test_seen")).p_value, plain.p_value)


@pytest.mark.parametrize(
    ("stage", "setting", "value", "message"),
    [
        ("calibrate", "calibrate.group", "attack", "calibrate.group: 'attack' is no group of traffic"),
        ("calibrate", "calibrate.group", "protocl", "did you mean 'protocol'?"),
        ("calibrate", "calibrate.group", "destination_port", "is no column that the model reads"),
        ("evaluate", "evaluate.groups", ["flow_durations"], "did you mean 'flow_duration'?"),
    ],
)
def test_what_is_no_group_is_refused(prepared: Any, stage: str, setting: str, value: object, message: str) -> None:
    prepared.set(setting, value)
    assert message in prepared.refusal(stage, ConfigError)


@pytest.mark.parametrize("share", [0.3, 0.7])
def test_more_of_one_group_moves_no_threshold_of_a_group_in_a_recalibration(share: float) -> None:
    random = np.random.default_rng(0)

    def traffic(n: int, loud: float) -> tuple[Any, Any]:
        groups = np.where(random.random(n) < loud, "tcp", "udp").astype(object)
        return random.normal(size=n) + 2 * (groups == "tcp"), groups

    detector, names = traffic(2000, 0.5)
    old = Calibration.fit(np.zeros(2000), detector, "detector", [99, 95], group="protocol", groups=names)
    detector, names = traffic(20_000, share)
    recent = old.score(np.zeros(20_000), detector)
    follows = Recalibration.fit(old.reference, recent, 0.05, 0.25, 2.0)
    moved = old.moved("", follows.new, follows.move)
    assert moved.whole.thresholds != old.whole.thresholds
    judged = Prediction.of(moved, np.zeros(20_000), detector, groups=names)
    for name in ("tcp", "udp"):
        low, high = interval(moved.groups[name].reference.size, 0.05, 0.9999, tested=int((names == name).sum()))
        assert low <= judged.flagged["p95"][names == name].mean() <= high


def test_records_that_are_others_are_refused(prepared: Any) -> None:
    strangers = np.array([1, 2**63], np.uint64)
    with pytest.raises(ArtifactError, match="holds other records than"):
        groups_of("day", strangers)
