"""How rare a value is: against counting by hand, whatever the batches, and never by what a row says of itself."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.base.errors import ConfigError
from pipeline.preprocessing.features import Features
from pipeline.preprocessing.frequency import Frequency, FrequencyFit
from tests.settings import recipe_with

PORTS = st.lists(st.integers(0, 6).map(float) | st.just(math.nan), min_size=1, max_size=60)
RECIPE = recipe_with(drop=("destination_port",), derive=(), scaling="none", rarity=("destination_port",))


def fitted(ports):
    fit = FrequencyFit(np.array(ports))
    return Frequency.of(fit.counts, fit.rows)


def by_hand(ports, asked):
    """The same by its definition."""
    counts = [sum(port == other for other in ports) for port in asked]
    every = [math.log((len(ports) + 1) / max(sum(port == other for other in ports), 1)) for port in ports]
    return (np.log((len(ports) + 1) / np.maximum(counts, 1)) - np.mean(every)) / (np.std(every) or 1.0)


@settings(max_examples=80)
@given(ports=PORTS, asked=PORTS)
def test_it_is_what_counting_gives(ports, asked):
    if len({max(sum(port == other for other in ports), 1) for port in ports}) > 1:  # else all are equally rare
        assert fitted(ports).encode(np.array(asked)) == pytest.approx(by_hand(ports, asked), abs=1e-9)


@settings(max_examples=40)
@given(ports=PORTS, cut=st.integers(0, 60))
def test_batches_do_not_matter(ports, cut):
    first, second = FrequencyFit(np.array(ports[:cut])), FrequencyFit(np.array(ports[cut:]))
    first.add(second)
    probes = np.array([*range(8), math.nan])
    assert np.array_equal(Frequency.of(first.counts, first.rows).encode(probes), fitted(ports).encode(probes))


def test_what_one_row_alone_has_is_as_rare_as_what_none_has_and_the_frequent_is_common():
    rarity = fitted([80.0] * 50 + [443.0] * 5 + [8080.0])
    own, never, none, some, often = rarity.encode(np.array([8080.0, 31337.0, math.nan, 443.0, 80.0]))
    assert own == never == none > some > often


def columns(n=200, seed=0):
    random = np.random.default_rng(seed)
    return {"flow_duration": random.normal(size=n), "destination_port": random.choice([53.0, 80.0, 443.0, 8080.0], n)}


def test_a_dropped_column_may_tell_its_rarity_and_nothing_else():
    raw = columns()
    features = Features.fit([raw], 200, RECIPE)
    assert features.columns == ("flow_duration", "destination_port_rarity")
    assert set(features.reads) == {"flow_duration", "destination_port"}
    mapped = features.map(raw)["destination_port_rarity"]
    assert mapped == pytest.approx(
        by_hand(raw["destination_port"].tolist(), raw["destination_port"].tolist()), abs=1e-5
    )
    renamed = raw | {"destination_port": raw["destination_port"] + 1000}  # other names, equally frequent
    assert np.array_equal(Features.fit([renamed], 200, RECIPE).map(renamed)["destination_port_rarity"], mapped)


def test_the_rows_that_scales_come_from_decide_what_is_rare():
    every, benign = columns(300, 1), columns(100, 2)
    features = Features.fit([every], 300, RECIPE)
    scaled = features.scaled_as(Features.fit([benign], 100, replace(RECIPE, drop_constant=False)))
    expected = by_hand(benign["destination_port"].tolist(), every["destination_port"].tolist())
    assert scaled.map(every)["destination_port_rarity"] == pytest.approx(expected, abs=1e-5)


def test_it_survives_its_own_state_and_an_older_state_has_none():
    raw = columns()
    features = Features.fit([raw], 200, RECIPE)
    names, arrays = features.state()
    again = Features.load(json.loads(json.dumps(names)), arrays)
    for name, values in features.map(raw).items():
        assert np.array_equal(again.map(raw)[name], values)
    plain = Features.fit([raw], 200, replace(RECIPE, rarity=()))
    names, arrays = plain.state()
    del names["rarities"], names["recipe"]["rarity"]
    assert Features.load(names, arrays).columns == plain.columns


def test_names_that_are_none_are_refused_and_those_of_other_data_passed_over():
    with pytest.raises(ConfigError, match=r"rarity: 'destination_prt' .*did you mean 'destination_port'"):
        replace(RECIPE, rarity=("destination_prt",)).within(["flow_duration", "destination_port"], ["destination_port"])
    recipe, over = RECIPE.within(["flow_duration"], ["destination_port"])
    assert recipe.rarity == () and over == ("destination_port", "destination_port_rarity")
    words = {"flow_duration": np.zeros(3), "destination_port": np.array(["a", "b", "a"], object)}
    with pytest.raises(ConfigError, match="rarity: column 'destination_port' holds words"):
        Features.fit([words], 3, RECIPE)
