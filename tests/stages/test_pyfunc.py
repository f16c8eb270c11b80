"""A model that MLflow loads reads a CSV as pandas does: whole numbers, and the published headers."""

import json
import math
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from pipeline.datasets.families.known import families
from pipeline.datasets.header import COPIED
from pipeline.datasets.names import canonical_names
from pipeline.datasets.schema import FEATURES
from pipeline.datasets.units import TIMED
from pipeline.serving import packaging
from pipeline.serving.alerts.schema import REASON
from pipeline.serving.bundle import Bundle

WHY = ("driver", "kind", "family", "reasons")


@pytest.fixture
def pyfunc(prepared, tmp_path):
    """The loaded model, and its bundle."""
    import mlflow
    from mlflow.exceptions import MlflowException

    bundle = Bundle.of_project()
    with warnings.catch_warnings(), packaging.hushed():
        packaging.save(tmp_path, bundle.sealed, SimpleNamespace(artifact_location=str(tmp_path), model_id=None), None)
        return mlflow.pyfunc.load_model(str(tmp_path / "model")), bundle, MlflowException


def test_a_published_file_is_scored_as_pandas_reads_it(pyfunc, week):
    model, bundle, _ = pyfunc
    file = next(path for path in sorted(week.iterdir()) if "Wednesday" in path.name)
    frame = pd.read_csv(file)
    assert " Flow Duration" in frame.columns and (frame.dtypes == "int64").sum() > 20
    judged = model.predict(frame)
    names = canonical_names(frame.columns, [column.name for column in bundle.columns])
    expected = bundle.predict({name: frame[column].to_numpy(np.float64) for name, column in names.items()})
    for name in ("score", "p_value", "confidence", "verdict"):
        np.testing.assert_array_equal(judged[name], getattr(expected, name))
    np.testing.assert_array_equal(model.predict(frame.iloc[::-1])["score"], expected.score[::-1])


def test_a_column_that_is_missing_is_named(pyfunc, week):
    model, _, refused = pyfunc
    frame = pd.read_csv(sorted(week.iterdir())[0])
    with pytest.raises(refused, match=r"lack 1 of the \d+ columns read: 'idle_max'"):
        model.predict(frame.drop(columns=[" Idle Max"]))


def test_what_comes_out_is_declared(pyfunc):
    model, _, _ = pyfunc
    schema = model.metadata.get_output_schema()
    assert schema.input_names() == [*packaging.PREDICTION]
    assert model.metadata.get_input_schema() is None
    assert {each.name: each.default for each in model.metadata.get_params_schema().params} == packaging.ASKED


def test_a_call_is_read_as_a_file_is_and_its_answer_says_what_differs(pyfunc, week, caplog):
    model, _, refused = pyfunc
    frame = pd.read_csv(next(week.glob("Monday*"))).drop(columns=" Label")
    expected = model.predict(frame)
    assert {*expected["contract"]} == {"kept"} and {*expected["notice"]} == {""}
    slow = frame.assign(**{name: frame[name] * 1e-6 for name in canonical_names(frame, TIMED).values()})
    found = model.predict(slow)
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-6)
    assert "Durations are in seconds" in found["notice"].iloc[0] and {*found["notice"].iloc[1:]} == {""}
    assert "Durations are in seconds" in caplog.text
    one = model.predict(slow.iloc[:1], params={"time_unit": "s"})
    assert one["score"].iloc[0] == pytest.approx(expected["score"].iloc[0]) and one["contract"].iloc[0] == "undecided"
    assert model.predict(slow.iloc[:1])["contract"].iloc[0] == "broken"
    for params, said in (({"time_unit": "sec"}, "time_unit is 'sec'"), ({"contract": "refuse"}, "flow_duration of 1")):
        with pytest.raises(refused, match=said):
            model.predict(slow.iloc[:1], params=params)


def named_by(family, canonical):
    """A frame of canonical columns under the names that a family of files gives them, each column once."""
    names = {}
    for header, name in family.headers.items():
        if name in canonical.columns and name not in names.values():
            names[header] = name
    return canonical[[*names.values()]].set_axis([*names], axis=1)


@pytest.mark.parametrize("family", [each.name for each in families()])
def test_the_header_of_every_known_family_is_read_and_whole_numbers_are_numbers(pyfunc, week, family):
    model, bundle, refused = pyfunc
    frame = pd.read_csv(next(week.glob("Monday*"))).drop(columns=" Label")
    names = canonical_names(frame, [column.name for column in FEATURES])
    canonical = frame[[*names.values()]].set_axis([*names], axis=1).drop(columns=[*COPIED])
    given = named_by(next(each for each in families() if each.name == family), canonical)
    lacks = {column.name for column in bundle.columns} - {*canonical_names(given, [*canonical.columns, *COPIED])}
    whole = given.astype({name: "int64" for name in given.columns if (given[name] % 1 == 0).all()})
    if lacks:
        with pytest.raises(refused, match=rf"lack {len(lacks)} of the \d+ columns read"):
            model.predict(whole)
        return
    np.testing.assert_array_equal(model.predict(whole)["score"], model.predict(frame)["score"])


def test_an_answer_says_by_what_it_was_decided_and_why_where_that_is_asked_for(pyfunc, week):
    model, bundle, refused = pyfunc
    frame = pd.read_csv(next(path for path in week.iterdir() if "DDos" in path.name))
    plain, full = model.predict(frame), model.predict(frame, params={"reasons": 3})
    assert [*full.columns] == [*plain.columns] and {*plain["reasons"]} == {""}
    pd.testing.assert_frame_equal(full.drop(columns=[*WHY]), plain.drop(columns=[*WHY]))
    assert {*full["model_digest"]} == {bundle.digest}
    edges = json.loads(full["thresholds"].iloc[0])
    assert edges == dict(bundle.calibration.thresholds)
    strictest = [next((name for name, edge in edges.items() if score > edge), "") for score in full["score"]]
    assert full["level"].tolist() == strictest and {"p99", ""} & {*strictest}
    alerts = full[full["level"] != ""]
    assert len(alerts) and (full.loc[full["level"] == "", [*WHY]] == "").all(axis=None)
    for text in alerts["reasons"]:
        found = json.loads(text)
        assert 2 <= len(found) <= 3
        assert all({*each} == {field.name for field in REASON} and each["text"] for each in found)
    assert {*alerts["driver"]} <= {"margin", "detector", "head"} and "" not in {*alerts["kind"]}
    with pytest.raises(refused, match="reasons is -1, allowed are whole numbers from 0 on"):
        model.predict(frame, params={"reasons": -1})


def test_thresholds_are_json_for_everybody_also_where_one_is_infinite(pyfunc):
    model, _, _ = pyfunc
    served = model.unwrap_python_model()
    decision = SimpleNamespace(thresholds={"p99": math.inf, "p95": 2.0})
    served.bundle = SimpleNamespace(calibration=SimpleNamespace(decisions={"": decision}))
    (text,) = served._thresholds(SimpleNamespace(group=np.array([""])))
    assert json.loads(text, parse_constant=pytest.fail) == {"p99": None, "p95": 2.0}
