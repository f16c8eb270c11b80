"""Scaling by quantiles: each value as by its definition, to the last bit, whatever the values beside it."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from pipeline.preprocessing.columns import TOGETHER, normal_scores


def plain(values, knots):
    ranks = np.linspace(0, 1, len(knots))
    upper = np.interp(values, knots, ranks)
    lower = -np.interp(-values, -knots[::-1], -ranks[::-1])
    return ndtri(np.clip((upper + lower) / 2, 0.5 / len(knots), 1 - 0.5 / len(knots)))


numbers = st.one_of(st.integers(-3, 3).map(float), st.floats(allow_nan=False, allow_infinity=False))


@given(st.lists(numbers, max_size=60), st.lists(numbers, min_size=2, max_size=20).map(sorted))
@settings(max_examples=200, deadline=None)
def test_each_value_is_scaled_as_by_its_definition(values, knots):
    with np.errstate(all="ignore"):  # slopes between knots that lie very far apart
        given, expected = (each(np.array(values), np.array(knots)) for each in (normal_scores, plain))
    assert np.array_equal(given.view(np.int64), expected.view(np.int64))


def test_many_values_are_scaled_as_few():
    rng = np.random.default_rng(0)
    values = np.where(rng.random(3 * TOGETHER + 7) < 0.5, rng.integers(0, 9, 3 * TOGETHER + 7), rng.normal(size=1)[0])
    values[::3] = rng.normal(size=len(values[::3]))
    knots = np.quantile(values[::5], np.linspace(0, 1, 101))
    assert np.array_equal(normal_scores(values, knots), plain(values, knots))
    assert np.array_equal(normal_scores(values[::2], knots), plain(values, knots)[::2])
