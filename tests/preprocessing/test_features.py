"""The feature transform: against oracles, streaming, fitted on what it was given and nothing else."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from pipeline.base.errors import ArtifactError, ConfigError, DataError
from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.schema import FEATURE_NAMES
from pipeline.preprocessing.features import Features
from pipeline.preprocessing.recipe import content_hash
from tests.settings import recipe_with

REAL = Path(__file__).parents[3] / "shared" / "data" / "cicids2017"
PLAIN = recipe_with(drop=(), derive=())


def table(rows=400, seed=0):
    random = np.random.default_rng(seed)
    return {
        "a": random.normal(5, 3, rows),
        "b": random.lognormal(3, 2, rows),
        "c": random.integers(0, 4, rows).astype(float),
        "undefined": np.where(random.random(rows) < 0.1, np.inf, random.normal(size=rows)),
        "constant": np.full(rows, 7.0),
    }


def cut(columns, sizes):
    start, parts = 0, []
    for size in [*sizes, len(columns["a"])]:
        parts.append({name: values[start : start + size] for name, values in columns.items()})
        start += size
    return parts


def matrix(features, columns):
    mapped = features.map(columns)
    return np.stack([mapped[name] for name in features.columns], axis=1)


def test_standard_scaling_equals_its_oracle():
    columns = table()
    features = Features.fit([columns], 400, PLAIN)
    filled = {**columns, "undefined": np.where(np.isfinite(columns["undefined"]), columns["undefined"], 0.0)}
    kept = np.stack([filled[name] for name in ("a", "b", "c", "undefined")], axis=1)
    assert features.columns == ("a", "b", "c", "undefined")
    assert features.dropped == ("constant",)
    np.testing.assert_allclose(matrix(features, columns), StandardScaler().fit_transform(kept), rtol=1e-5, atol=1e-5)


def test_signed_log_is_odd_and_standardised():
    columns = table()
    recipe = recipe_with(drop=(), derive=(), scaling="signed_log")
    mapped = matrix(Features.fit([columns], 400, recipe), columns)
    np.testing.assert_allclose(mapped.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(mapped.std(0), 1, atol=1e-5)


def test_unit_scaling_spans_the_train_rows_and_goes_on_outside():
    columns = table()
    features = Features.fit([columns], 400, recipe_with(drop=(), derive=(), scaling="unit"))
    mapped = matrix(features, columns)
    np.testing.assert_allclose(mapped.min(0), 0, atol=1e-6)
    np.testing.assert_allclose(mapped.max(0), 1, atol=1e-6)
    assert (matrix(features, {name: values * 1e3 for name, values in columns.items()}).max(0) > 1).any()


def test_quantile_scaling_keeps_the_order_and_makes_a_normal_sample():
    columns = table(4000)
    features = Features.fit([columns], 4000, recipe_with(drop=(), derive=(), scaling="quantile"))
    mapped = features.map(columns)
    assert (np.diff(mapped["b"][np.argsort(columns["b"])]) >= 0).all()
    assert abs(float(np.median(mapped["b"]))) < 0.02
    assert float(mapped["b"].std()) == pytest.approx(1, abs=0.05)


def test_an_indicator_says_where_a_value_is_undefined():
    columns = table()
    features = Features.fit([columns], 400, recipe_with(drop=(), derive=(), fill="indicator"))
    undefined = features.map(columns)["undefined_undefined"]
    assert np.array_equal(undefined == 1, ~np.isfinite(columns["undefined"]))


@settings(max_examples=20, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 120), max_size=4),
    scaling=st.sampled_from(["standard", "signed_log", "unit", "quantile", "none"]),
    fill=st.sampled_from(["zero", "median", "indicator"]),
)
def test_how_the_rows_are_cut_does_not_matter(sizes, scaling, fill):
    columns, recipe = table(), recipe_with(drop=(), derive=(), scaling=scaling, fill=fill)
    whole = Features.fit([columns], 400, recipe)
    parts = Features.fit(cut(columns, sizes), 400, recipe)
    np.testing.assert_allclose(matrix(parts, columns), matrix(whole, columns), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scaling", ["standard", "signed_log", "unit", "quantile"])
def test_state_round_trips_exactly(scaling):
    columns = table()
    features = Features.fit([columns], 400, recipe_with(drop=(), derive=(), scaling=scaling, clip=3.0))
    loaded = Features.load(*features.state())
    assert np.array_equal(matrix(loaded, columns), matrix(features, columns))
    assert loaded.columns == features.columns
    assert np.abs(matrix(loaded, columns)).max() <= 3


def test_other_rows_change_nothing_that_was_fitted():
    columns = table()
    features = Features.fit([columns], 400, PLAIN)
    before = matrix(features, columns)
    features.map({name: values * 1e6 for name, values in columns.items()})
    assert np.array_equal(matrix(features, columns), before)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (recipe_with(drop=("destination_prot",), derive=()), "did you mean 'destination_port'"),
        (recipe_with(drop=(), derive=("bytes_per_paket",)), "did you mean 'bytes_per_packet'"),
    ],
)
def test_a_misspelt_column_is_refused(recipe, message):
    with pytest.raises(ConfigError, match=message):
        recipe.raw(FEATURE_NAMES)


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(DataError, match="no train rows"):
        Features.fit([], 0, PLAIN)
    with pytest.raises(DataError, match="constant"):
        Features.fit([{"constant": np.ones(5)}], 5, PLAIN)


def test_a_hash_tells_records_apart_by_what_a_model_sees():
    columns = {"destination_port": np.array([80.0, 443.0, 80.0]), "a": np.array([1.0, 1.0, 2.0])}
    hashed = content_hash(columns, recipe_with(derive=()))
    assert hashed[0] == hashed[1] != hashed[2]


def words(rows=400, seed=0):
    random = np.random.default_rng(seed)
    colour = random.choice(["red", "blue", "green", ""], rows, p=[0.5, 0.3, 0.1, 0.1]).astype(object)
    return {"a": random.normal(5, 3, rows), "colour": colour, "one": np.full(rows, "same", dtype=object)}


def test_one_hot_columns_say_which_word_a_record_has():
    columns = words()
    features = Features.fit([columns], 400, PLAIN)
    assert features.columns == ("a", "colour=blue", "colour=green", "colour=red")
    assert features.dropped == ("one",)
    mapped = features.map(columns)
    for word in ("blue", "green", "red"):
        assert np.array_equal(mapped[f"colour={word}"], (columns["colour"] == word).astype(np.float32))
    assert np.array_equal(mapped["a"], Features.fit([{"a": columns["a"]}], 400, PLAIN).map(columns)["a"])


def test_counts_stand_for_words_and_are_standardised_over_the_train_rows():
    columns = words()
    named, number = np.unique(columns["colour"].astype(str), return_counts=True)
    count = dict(zip(named.tolist(), number.tolist(), strict=True)) | {"": 0}
    expected = np.log1p([count[word] for word in columns["colour"]])
    raw = Features.fit([columns], 400, recipe_with(drop=(), derive=(), categorical="count", scaling="none"))
    assert raw.columns == ("a", "colour_count")
    np.testing.assert_allclose(raw.map(columns)["colour_count"], expected, rtol=1e-6)
    for scaling in ("standard", "signed_log", "unit", "quantile"):
        features = Features.fit([columns], 400, recipe_with(drop=(), derive=(), categorical="count", scaling=scaling))
        scaled = StandardScaler().fit_transform(expected[:, None])[:, 0]
        np.testing.assert_allclose(features.map(columns)["colour_count"], scaled, atol=1e-5)


def test_a_word_that_no_train_row_has_is_no_column_and_counts_zero():
    columns = words()
    new = {**words(3), "colour": np.array(["violet", "", "red"], dtype=object)}
    hot = matrix(Features.fit([columns], 400, PLAIN), new)[:, 1:]
    assert hot.tolist() == [[0, 0, 0], [0, 0, 0], [0, 0, 1]]
    counted = Features.fit([columns], 400, recipe_with(drop=(), derive=(), categorical="count", scaling="none")).map(
        new
    )
    assert counted["colour_count"].tolist()[:2] == [0, 0]


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(0, 120), max_size=4), categorical=st.sampled_from(["one_hot", "count"]))
def test_words_do_not_care_how_the_rows_are_cut_and_survive_storing(sizes, categorical):
    columns, recipe = words(), recipe_with(drop=(), derive=(), categorical=categorical)
    whole, parts = Features.fit([columns], 400, recipe), Features.fit(cut(columns, sizes), 400, recipe)
    assert whole.words == parts.words
    names, arrays = parts.state()
    loaded = Features.load(json.loads(json.dumps(names)), arrays)
    assert loaded.columns == whole.columns
    assert loaded.reads == ("a", "colour")
    assert np.array_equal(matrix(loaded, columns)[:, 1:], matrix(whole, columns)[:, 1:])


def test_words_alone_are_features():
    features = Features.fit([{"colour": words()["colour"]}], 400, PLAIN)
    loaded = Features.load(*features.state())
    assert matrix(loaded, words()).sum() == (words()["colour"] != "").sum()


def test_words_of_one_count_are_no_feature_as_counts_and_one_as_columns():
    columns = {"colour": np.array(["red", "blue"] * 4, dtype=object), "a": np.arange(8.0)}
    counted = Features.fit([columns], 8, recipe_with(drop=(), derive=(), categorical="count"))
    assert (counted.columns, counted.dropped) == (("a",), ("colour",))
    assert Features.fit([columns], 8, PLAIN).columns == ("a", "colour=blue", "colour=red")


def test_words_that_do_not_fit_their_columns_are_refused():
    names, arrays = Features.fit([words()], 400, PLAIN).state()
    names["words"]["colour"]["words"][0] = "violet"
    with pytest.raises(ArtifactError, match="words that do not fit its columns"):
        Features.load(names, arrays)


def test_too_many_words_are_refused_as_columns_and_not_as_counts():
    columns = {"host": np.array([f"h{row}" for row in range(400)], dtype=object), "a": np.arange(400.0)}
    with pytest.raises(
        DataError, match=r"400 columns, 256 are allowed; 'host' alone .* preprocess\.features\.categorical"
    ):
        Features.fit([columns], 400, PLAIN)
    columns["host"][0] = "h1"
    assert Features.fit([columns], 400, recipe_with(drop=(), derive=(), categorical="count")).columns == (
        "a",
        "host_count",
    )


def test_a_hash_tells_words_apart():
    columns = {"colour": np.array(["red", "blue", "red", ""], dtype=object), "a": np.ones(4)}
    hashed = content_hash(columns, PLAIN).tolist()
    assert hashed[0] == hashed[2]
    assert len(set(hashed)) == 3
    assert content_hash({name: values[1:] for name, values in columns.items()}, PLAIN).tolist() == hashed[1:]


def test_a_group_of_which_records_have_nothing_is_named_once():
    grouped = recipe_with(drop=(), derive=("ratios", "bytes_per_packet"))
    assert grouped.within(["a"], FEATURE_NAMES)[1] == ("ratios", "bytes_per_packet")
    _, over = grouped.within(["flow_iat_std", "flow_iat_mean"], FEATURE_NAMES)
    assert "ratios" not in over and "flow_iat_std_over_flow_iat_mean" not in over and len(over) == 27


def test_what_these_records_lack_is_passed_over_and_a_misspelt_name_is_not():
    recipe, over = recipe_with().within(["a", "flow_duration"], FEATURE_NAMES)
    assert over == ("destination_port", "bytes_per_packet", "packets_per_second")
    assert recipe == recipe_with(drop=(), derive=())
    assert recipe_with().within(FEATURE_NAMES, FEATURE_NAMES) == (recipe_with(), ())
    with pytest.raises(ConfigError, match="did you mean 'destination_port'"):
        recipe_with(drop=("destination_prot",)).within(["a"], FEATURE_NAMES)
    misspelt, _ = recipe_with(derive=("bytes_per_paket",)).within(["a"], FEATURE_NAMES)
    with pytest.raises(ConfigError, match="did you mean 'bytes_per_packet'"):
        misspelt.raw(["a"])


def test_a_column_with_the_name_of_a_derived_one_is_refused():
    with pytest.raises(DataError, match="'bytes_per_packet' of the records bears the name of a derived feature"):
        PLAIN.raw(["a", "bytes_per_packet"])


def test_the_published_setting_on_real_records():
    """78 columns less the port, plus 2 derived, less 8 without variance: the published 71."""
    if not REAL.is_dir():
        pytest.skip(f"the real records are absent: {REAL}")
    batches = [{name: chunk.records[name].to_numpy() for name in FEATURE_NAMES} for chunk in CICIDS2017(REAL).read()]
    features = Features.fit(batches, 70_569, recipe_with())
    always = {"bwd_psh_flags", "bwd_urg_flags", *(name for name in FEATURE_NAMES if "_bulk_" in name)}
    assert set(features.dropped) == always
    assert len(features.columns) == 71


def test_scales_of_benign_rows_leave_what_varies_under_attack():
    """A column that is constant in the benign rows, and a word that they lack, are what a head learns from."""
    rng = np.random.default_rng(0)
    flag, size = np.repeat([0.0, 1.0], 50), rng.normal(size=100) + np.repeat([0.0, 9.0], 50)
    service = np.repeat(np.array(["web", "mail"], dtype=object), 50)
    columns = {"flag": flag, "size": size, "service": service}
    benign = {name: values[:50] for name, values in columns.items()}
    recipe = recipe_with(drop=(), derive=(), scaling="standard")
    whole = Features.fit([columns], 100, recipe)
    made = whole.scaled_as(Features.fit([benign], 50, replace(recipe, drop_constant=False)))
    mapped = made.map(columns)
    assert made.columns == whole.columns and {"flag", "size"} < set(made.columns)
    assert mapped["flag"][0] != mapped["flag"][-1]
    assert mapped["size"][:50].mean() == pytest.approx(0, abs=1e-6)
    assert mapped["size"][:50].std() == pytest.approx(1, abs=1e-6)
    assert len([name for name in made.columns if "service" in name]) == 2
