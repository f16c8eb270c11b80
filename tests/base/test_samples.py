"""Samples keep who a row is; a row hash tells rows apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.base.samples import BLOCK, Samples, row_hash, transposed

EDGES = [0.0, -0.0, 1.0, -1.0, np.nan, np.inf, -np.inf, 5e-324, 1e308, 2.0**52, 2.0**53]


def samples(n=6):
    return Samples(
        np.arange(n, dtype=np.uint64),
        (np.arange(n) % 2).astype(np.int8),
        np.array(["benign", "bot"] * (n // 2), dtype=object),
        np.ones(n, dtype=np.float32),
        np.zeros(n, dtype=bool),
        np.arange(2.0 * n, dtype=np.float32).reshape(n, 2),
        ("a", "b"),
    )


@pytest.mark.parametrize("rows", [slice(1, 3), np.array([4, 0]), np.array([1, 0, 1, 0, 0, 0], dtype=bool)])
def test_selected_rows_stay_who_they_are(rows):
    whole, part = samples(), samples().select(rows)
    for name in ("record_id", "y", "attack", "confidence", "balanced", "x"):
        assert np.array_equal(getattr(part, name), getattr(whole, name)[rows])
    assert len(part) == len(part.record_id)
    assert np.array_equal(part.benign, part.attack == "benign")


def test_only_x_is_mapped():
    mapped = samples().map(lambda x: x.sum(1, keepdims=True), ("sum",))
    assert mapped.columns == ("sum",)
    assert mapped.x[:, 0].tolist() == samples().x.sum(1).tolist()
    assert np.array_equal(mapped.record_id, samples().record_id)


def test_rows_and_names_must_agree():
    with pytest.raises(ValueError, match=r"the arrays differ in their rows: \{.*'x': 6"):
        Samples(**{**vars(samples()), "y": np.zeros(5, dtype=np.int8)})
    with pytest.raises(ValueError, match=r"x has shape \(6, 1\), but there are 2 column names"):
        samples().map(lambda x: x[:, :1], ("a", "b"))


@given(arrays(np.float64, (12, 3), elements=st.sampled_from(EDGES) | st.integers(0, 3).map(float)))
def test_rows_have_equal_hashes_exactly_if_they_are_equal(x):
    hashed = row_hash(x.T)
    keys = [tuple("nan" if np.isnan(value) else value + 0.0 for value in row) for row in x]
    for i in range(len(x)):
        for j in range(i):
            assert (hashed[i] == hashed[j]) == (keys[i] == keys[j])


@given(arrays(np.float64, (20, 3)), st.randoms(use_true_random=False))
def test_a_hash_depends_on_its_row_alone(x, random):
    order = list(range(20))
    random.shuffle(order)
    assert np.array_equal(row_hash(x[order].T), row_hash(x.T)[order])


def test_small_integers_and_swapped_columns_do_not_collide():
    grid = np.stack(np.meshgrid(*[np.arange(40.0)] * 3), axis=-1).reshape(-1, 3)
    assert len(np.unique(row_hash(grid.T))) == len(grid)
    flags = (np.arange(2**16)[:, None] >> np.arange(16) & 1).astype(np.float64)
    assert len(np.unique(row_hash(flags.T))) == len(flags)


def test_every_kind_of_column_can_be_hashed_and_none_is_changed():
    columns = [
        np.array([1, -1]),
        np.array([1, 2**64 - 1], dtype=np.uint64),
        np.array([True, False]),
        np.array([0.5, np.nan]),
    ]
    before = [column.copy() for column in columns]
    assert len(np.unique(row_hash(columns))) == 2
    for column, old in zip(columns, before, strict=True):
        np.testing.assert_array_equal(column, old)
    with pytest.raises(ValueError, match="no columns given"):
        row_hash([])


def test_hashes_are_spread_over_all_bits():
    bits = np.unpackbits(row_hash([np.arange(20_000.0), np.zeros(20_000)]).view(np.uint8).reshape(-1, 8), axis=1)
    assert np.abs(bits.mean(0) - 0.5).max() < 0.02


def test_ids_of_stored_records_stay_as_they_are():
    """A change of this hash changes every record id: whoever makes it must know."""
    assert row_hash([np.array([1.0, np.nan]), np.array([2, 3])])[0] == 0x9737DFF2310EED37


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1), (BLOCK - 1, 5), (5, 2 * BLOCK + 3), (700, 700)])
def test_a_transposed_copy_is_one_in_memory_too(shape):
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    for each in (matrix, matrix.T.copy().T):
        found = transposed(each)
        assert np.array_equal(found, matrix.T) and found.flags.c_contiguous and found.dtype == np.float32
