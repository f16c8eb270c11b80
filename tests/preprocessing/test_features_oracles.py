"""The feature transform against scikit-learn and pandas in float64, and at the edges of what a number can be."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import ndtri
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from pipeline.base.errors import ArtifactError, DataError
from pipeline.datasets.schema import FEATURE_NAMES
from pipeline.preprocessing.columns import QUANTILES
from pipeline.preprocessing.features import Features
from tests.settings import recipe_with

NOTHING = recipe_with(drop=(), derive=())
numbers = arrays(np.float64, st.integers(2, 60), elements=st.floats(-1e12, 1e12) | st.sampled_from([0.0, 1.0, 1e9]))


def plain(**changed):
    return recipe_with(**{"drop": (), "derive": (), **changed})


def fitted(values, recipe=NOTHING):
    return Features.fit([{"a": values, "other": np.arange(float(len(values)))}], len(values), recipe)


def mapped(features, values):
    return features.map({"a": values, "other": np.zeros(len(values))})["a"]


@given(numbers)
def test_standard_scaling_is_that_of_scikit_learn_on_any_numbers(values):
    oracle = StandardScaler().fit(values[:, None])
    features = fitted(values, plain(drop_constant=False))
    assert features.mean[0] == pytest.approx(oracle.mean_[0], rel=1e-9, abs=1e-9 * np.abs(values).max())
    assert features.scale[0] == pytest.approx(oracle.scale_[0], rel=1e-6)


def test_quantile_scaling_is_that_of_scikit_learn_between_the_outermost_knots():
    random = np.random.default_rng(0)
    train = np.round(random.lognormal(2, 2, 5000), 1)  # with ties
    values = np.concatenate([random.lognormal(2, 2, 500), [-1.0, 1e9]])
    oracle = QuantileTransformer(n_quantiles=QUANTILES, output_distribution="normal", subsample=None).fit(
        train[:, None]
    )
    limit = -ndtri(0.5 / QUANTILES)
    expected = np.clip(oracle.transform(values[:, None])[:, 0], -limit, limit)
    np.testing.assert_allclose(mapped(fitted(train, plain(scaling="quantile")), values), expected, rtol=1e-6, atol=1e-6)


@given(values=arrays(np.float64, st.integers(3, 50), elements=st.floats(-1e6, 1e6) | st.sampled_from([np.inf, np.nan])))
def test_fills_are_those_of_pandas(values):
    frame = pd.Series(values).replace([np.inf, -np.inf], np.nan)
    median = frame.median() if frame.notna().any() else 0.0
    for fill, expected in (("zero", frame.fillna(0.0)), ("median", frame.fillna(median))):
        recipe = plain(fill=fill, scaling="none", drop_constant=False)
        np.testing.assert_allclose(mapped(fitted(values, recipe), values), expected, rtol=1e-6, atol=1e-30)


def test_a_run_of_equal_values_gets_the_middle_of_its_ranks():
    values = np.repeat([0.0, 1.0], [600, 400])  # scikit-learn would put the lowest value at its lower bound
    scaled = mapped(fitted(values, plain(scaling="quantile")), np.array([0.0, 1.0]))
    np.testing.assert_allclose(scaled, [ndtri(0.3), ndtri(0.8)], atol=0.01)


def test_signed_log_is_odd():
    values = np.array([-1e9, -1.0, 0.0, 1.0, 1e9])
    scaled = mapped(fitted(values, plain(scaling="signed_log")), values)
    np.testing.assert_allclose(scaled, -scaled[::-1], atol=1e-6)
    np.testing.assert_allclose(scaled[3] / scaled[4], np.log(2) / np.log1p(1e9), rtol=1e-6)


@pytest.mark.parametrize("scaling", ["none", "standard", "signed_log", "unit", "quantile"])
@pytest.mark.parametrize("fill", ["zero", "median", "indicator"])
def test_no_feature_is_ever_infinite(scaling, fill):
    train = np.array([0.0, 1.0, 1e300, -1e300, np.inf, np.nan, 1.7e308, -1.7e308])
    features = fitted(train, plain(scaling=scaling, fill=fill))
    for name, values in features.map({"a": train, "other": train[::-1]}).items():
        assert np.isfinite(values).all(), name


def test_a_rate_over_no_time_is_filled_like_those_of_the_extractor():
    columns = {name: np.arange(1.0, 5.0) for name in FEATURE_NAMES}
    columns["flow_duration"] = np.array([-1.0, 0.0, 1e6, 2e6])  # -1 us + 1e-6 s is a division by zero
    features = Features.fit([columns], 4, recipe_with(scaling="none"))
    rate = features.map(columns)["packets_per_second"]
    np.testing.assert_allclose(rate, [0.0, 2 / 1e-6, 3 / (1 + 1e-6), 4 / (2 + 1e-6)], rtol=1e-6)
    assert features.map(columns)["bytes_per_packet"][0] == pytest.approx(1 / (1 + 1e-6))


def test_an_indicator_stands_only_beside_columns_that_are_undefined_now_and_then():
    rows = np.arange(6.0)
    columns = {"now": np.where(rows == 2, np.nan, rows), "never": rows, "always": np.full(6, np.inf)}
    features = Features.fit([columns], 6, plain(fill="indicator"))
    assert features.columns == ("now", "never", "now_undefined")
    assert features.dropped == ("always",)


def test_a_constant_column_with_holes_varies_where_zero_stands_for_them():
    columns = {"a": np.array([5.0, 5.0, np.nan]), "b": np.arange(3.0)}
    assert "a" in Features.fit([columns], 3, plain(fill="zero")).columns
    assert Features.fit([columns], 3, plain(fill="median")).dropped == ("a",)
    indicated = Features.fit([{"a": np.array([0.0, 0.0, np.nan]), "b": np.arange(3.0)}], 3, plain(fill="indicator"))
    assert (indicated.dropped, indicated.columns) == (("a",), ("b", "a_undefined"))
    assert indicated.map({"a": np.array([np.inf, 1.0]), "b": np.zeros(2)})["a_undefined"].tolist() == [1.0, 0.0]


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 3000), max_size=5).map(sorted), recipe=st.sampled_from(["quantile", "median"]))
def test_a_sample_of_many_rows_does_not_depend_on_the_batches(cuts, recipe):
    rows = np.random.default_rng(1).normal(size=3000)
    rows[::7] = np.nan
    setting = plain(scaling="quantile") if recipe == "quantile" else plain(fill="median")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.preprocessing.features.SAMPLE_ROWS", 100)
        whole = Features.fit([{"a": rows}], 3000, setting)
        parts = [{"a": part} for part in np.split(rows, cuts)]
        pieces = Features.fit(parts, 3000, setting)
    assert np.array_equal(pieces.knots, whole.knots)
    assert np.array_equal(pieces.fill, whole.fill)
    assert whole.fill[0] == (0 if recipe == "quantile" else pytest.approx(np.nanmedian(rows[::30])))


def test_a_missing_column_is_named_with_its_near_miss():
    features = fitted(np.arange(5.0))
    with pytest.raises(DataError, match=r"column 'other' is missing \(did you mean 'othr'\?\)"):
        features.map({"a": np.zeros(2), "othr": np.zeros(2)})


def test_a_derived_column_without_its_sources_is_refused():
    with pytest.raises(DataError, match=r"'bytes_per_packet' needs the column 'total_.*', which the records lack"):
        Features.fit([{"a": np.arange(3.0)}], 3, recipe_with(drop=(), derive=("bytes_per_packet",)))


@pytest.mark.parametrize("damage", ["columns", "recipe", "mean", "short"])
def test_a_damaged_state_is_refused(damage):
    names, arrays = fitted(np.arange(5.0)).state()
    if damage == "short":
        arrays["mean"] = arrays["mean"][:-1]
    else:
        (arrays if damage == "mean" else names).pop(damage)
    with pytest.raises(ArtifactError, match="stored feature transform"):
        Features.load(names, arrays)
