"""Draws of rows by their ids."""

import numpy as np
import pytest

from pipeline.base.samples import drawn, level

IDS = np.random.default_rng(0).integers(2**63, size=20_000).astype(np.uint64)


def test_no_row_is_left_out_where_there_are_few() -> None:
    assert drawn(IDS, len(IDS)).all()
    assert drawn(IDS[:0], 5).shape == (0,)


def test_as_many_rows_as_are_asked_for_are_drawn_at_random() -> None:
    mask = drawn(IDS, 4_000)
    assert mask.sum() == 4_000
    parts = mask.reshape(10, -1).mean(axis=1)
    np.testing.assert_allclose(parts, 0.2, atol=0.04)
    assert np.corrcoef(mask, IDS.astype(float))[0, 1] == pytest.approx(0, abs=0.03)


def test_the_same_rows_are_drawn_in_any_order() -> None:
    order = np.random.default_rng(1).permutation(len(IDS))
    np.testing.assert_array_equal(drawn(IDS[order], 500), drawn(IDS, 500)[order])


def test_small_groups_stay_whole() -> None:
    group = np.repeat([0, 1, 2], [30, 400, 19_570])
    mask = drawn(IDS, 1_000, group)
    assert np.bincount(group[mask]).tolist() == [30, 400, 570]
    assert np.bincount(group[drawn(IDS, 700, group)]).tolist() == [30, 335, 335]


@pytest.mark.parametrize(("sizes", "total", "limit"), [([5, 5], 20, 5), ([1, 9, 9], 11, 5), ([4], 0, 0), ([], 3, 0)])
def test_the_level_fills_the_total(sizes: list[int], total: int, limit: int) -> None:
    assert level(sizes, total) == limit
    assert sum(min(size, limit) for size in sizes) <= total
