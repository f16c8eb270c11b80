"""A call of a model is read as a file is: its units, its words and numbers, and the contract of the model."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline import AlarmModel
from pipeline.base.errors import ConfigError, ContractWarning, DataError, SchemaError
from pipeline.datasets.names import canonical_names
from pipeline.datasets.units import TIMED
from pipeline.serving import calls, frames, time_units
from pipeline.serving.bundle import Bundle
from pipeline.serving.contract_check import rules_of
from pipeline.serving.manifest import HashedFolder

PER_MICROSECOND = {"us": 1.0, "ms": 1e-3, "s": 1e-6, "ns": 1e3}


@pytest.fixture
def bundle(prepared: Any) -> Bundle:
    return Bundle.of_project()


@pytest.fixture
def model(bundle: Bundle) -> AlarmModel:
    model = AlarmModel()
    model.bundle_ = bundle
    return model


@pytest.fixture
def frame(week: Any) -> pd.DataFrame:
    """Benign records, in microseconds."""
    return pd.read_csv(next(week.glob("Monday*"))).drop(columns=" Label")


def in_unit(frame: pd.DataFrame, unit: str) -> pd.DataFrame:
    """The same records with their times in another unit; rates stay per second."""
    timed = {column: frame[column] * PER_MICROSECOND[unit] for column in canonical_names(frame, TIMED).values()}
    return frame.assign(**timed)


@pytest.mark.parametrize("unit", ["ms", "s", "ns"])
def test_records_in_another_unit_get_the_same_scores_and_that_is_said(
    model: AlarmModel, frame: pd.DataFrame, unit: str
) -> None:
    expected = model.predict(frame)
    with pytest.warns(ContractWarning, match="Durations are in .* They are converted to microseconds"):
        found = model.predict(in_unit(frame, unit))
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-6)
    assert found["verdict"].tolist() == expected["verdict"].tolist()


def test_a_unit_that_is_stated_holds_for_a_single_record(model: AlarmModel, frame: pd.DataFrame) -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        expected, found = model.predict(frame.iloc[:1]), model.predict(in_unit(frame, "s").iloc[:1], time_unit="s")
    assert not heard
    np.testing.assert_allclose(found["score"], expected["score"], rtol=1e-6)
    explained = model.explain(in_unit(frame, "s").iloc[:1], threshold=None, time_unit="s")
    assert explained["score"].iloc[0] == found["score"].iloc[0]


def test_too_few_records_to_tell_the_unit_say_so(model: AlarmModel, frame: pd.DataFrame) -> None:
    said = "flow_duration of 2 of 2 records is not in microseconds .* 3 records are needed"
    with pytest.warns(ContractWarning, match=f"{said} .* State their unit by time_unit"):
        model.predict(in_unit(frame, "s").iloc[:2])
    call = calls.read(frame.iloc[:9].assign(**{" Flow Packets/s": np.nan}), model.bundle_)
    assert call.state == "undecided" and "Too few records show the unit of their times" in call.sentences[0]


def test_a_unit_that_the_records_contradict_breaks_the_contract(bundle: Bundle, frame: pd.DataFrame) -> None:
    call = calls.read(frame, bundle, "s")
    assert call.state == "broken"
    assert "stated in seconds, but flow_packets_per_s and the numbers of packets show microseconds" in call.sentences[0]


def test_times_in_two_units_are_refused_with_the_record(bundle: Bundle, frame: pd.DataFrame) -> None:
    both = pd.concat([frame.iloc[:30], in_unit(frame, "ms").iloc[30:60]])
    with pytest.raises(SchemaError, match=r"record 30 of this call: flow_duration is in ms"):
        calls.read(both, bundle)


def test_a_unit_that_is_none_is_refused_with_the_near_miss(model: AlarmModel, frame: pd.DataFrame) -> None:
    with pytest.raises(ConfigError, match=r"time_unit is 'sec', allowed are auto, us, ms, s, ns"):
        model.predict(frame, time_unit="sec")
    with pytest.raises(ConfigError, match=r"contract is 'refused', allowed are warn, refuse \(did you mean 'refuse'"):
        rules_of("refused")


def test_records_unlike_those_of_the_fit_are_named_or_refused(model: AlarmModel, frame: pd.DataFrame) -> None:
    odd = frame.assign(**{" Idle Max": 1e15})
    with pytest.warns(ContractWarning, match=r"outside the range that the model has seen, most often in idle_max"):
        model.predict(odd)
    model.set_params(contract="refuse")
    with pytest.raises(SchemaError, match=r"most often in idle_max .* refused"):
        model.predict(odd)
    model.predict(frame)


def test_the_state_of_a_call_is_said(bundle: Bundle, frame: pd.DataFrame) -> None:
    assert calls.read(frame, bundle) == calls.Call(calls.read(frame, bundle).records, "kept")
    assert calls.read(frame.iloc[:5], bundle).state == "undecided"
    assert calls.read(frame.iloc[:0], bundle).state == "undecided"
    about = {name: value for name, value in bundle.sealed.about.items() if name != "contract"}
    older = Bundle.of_sealed(HashedFolder(about, bundle.sealed.files), Path())
    assert calls.read(frame, older).state == "none"


def test_numbers_that_are_spelt_as_text_are_read_as_a_file_is(bundle: Bundle, frame: pd.DataFrame) -> None:
    usual = calls.read(frame, bundle).records["flow_bytes_per_s"]
    texts = frame["Flow Bytes/s"].map(str).astype(object)
    texts.iloc[:3] = ["Infinity", "#DIV/0!", ""]
    found = calls.read(frame.assign(**{"Flow Bytes/s": texts}), bundle).records["flow_bytes_per_s"]
    np.testing.assert_array_equal(found.to_numpy()[:3], [np.inf, np.nan, np.nan])
    assert found.to_pylist()[3:] == usual.to_pylist()[3:]
    mixed = frame["Flow Bytes/s"].astype(object)
    mixed.iloc[0] = "inf"
    assert calls.read(frame.assign(**{"Flow Bytes/s": mixed}), bundle).records["flow_bytes_per_s"][0].as_py() == np.inf
    with pytest.raises(DataError, match=r"column 'flow_bytes_per_s' holds 'fast', allowed are numbers"):
        calls.read(frame.assign(**{"Flow Bytes/s": "fast"}), bundle)


def test_every_unit_of_a_file_may_be_stated() -> None:
    assert {*time_units.TIME_UNITS} == {"auto", *PER_MICROSECOND}


def test_a_column_that_the_model_does_not_read_may_hold_anything(bundle: Bundle, frame: pd.DataFrame) -> None:
    beside, header = "packet_length_max", " Max Packet Length"
    narrow = replace(bundle, columns=tuple(column for column in bundle.columns if column.name != beside))
    assert beside in calls.BESIDE and header in frame.columns
    expected = frames.records(frame, narrow, calls.BESIDE)
    assert beside in expected
    strange = {"text": "long", "mixed": [{}, *["x"] * (len(frame) - 1)]}
    given = {name: frame.assign(**{header: values}) for name, values in strange.items()}
    for each in (*given.values(), frame.assign(**{"Packet Length Max": 80})):
        found = frames.records(each, narrow, calls.BESIDE)
        assert beside not in found
        assert all(found[column.name].equals(expected[column.name]) for column in narrow.columns)
        calls.read(each, narrow)
        with pytest.raises(DataError):
            frames.records(each, bundle, calls.BESIDE)
