"""The search for the nearest references: exact, for each row on its own, at any distance."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.models.arrays.neighbours import Search
from pipeline.models.detectors.cells import STRATA, cells, distinct, draw_evenly, number_of_cells
from pipeline.models.detectors.knn import KNN, among_all
from tests.models.detectors.real import benign_features

F = 6


def clusters(n: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Rows in clusters of unlike sizes, some of them near copies of each other."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(20, F)) * 5
    which = rng.choice(20, n, p=np.arange(1, 21) / 210)
    return torch.from_numpy(centres[which] + rng.normal(size=(n, F)) * 10.0 ** -(which[:, None] % 4)).to(dtype)


def search(reference: Tensor) -> tuple[Tensor, Search]:
    cell = cells(reference, number_of_cells(len(reference)))
    ordered, sizes = reference[cell.argsort(stable=True)], torch.bincount(cell)
    return ordered, Search(ordered.numpy(), sizes[sizes > 0].numpy())


def nearest(found: Search, z: Tensor, k: int) -> Tensor:
    return torch.from_numpy(found.nearest(z.numpy(), k))


def distances(z: Tensor, reference: Tensor, nearest: Tensor) -> Tensor:
    return (z.double()[:, None] - reference.double()[nearest]).square().sum(2).sqrt()


def exact(z: Tensor, reference: Tensor, k: int) -> Tensor:
    """(n, k) distances in float64 by their definition, without a product."""
    apart = (z.double()[:, None] - reference.double()).square().sum(2).sqrt()
    return apart.sort(dim=1).values[:, :k]


@pytest.mark.parametrize("k", [1, 2, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_nearest_are_found_as_by_definition(k: int, dtype: torch.dtype) -> None:
    z = torch.cat([clusters(300, 1, dtype), clusters(30, 2, dtype) * 1e3, clusters(5, 3, dtype) * 1e9])
    reference, found = search(clusters(2_000, 0, dtype))
    places = nearest(found, z, k)
    apart = distances(z, reference, places)
    expected = exact(z, reference, k)
    tolerance = {"rtol": 1e-6, "atol": 0.0} if dtype == torch.float32 else {"rtol": 1e-12, "atol": 0.0}
    torch.testing.assert_close(apart, expected, **tolerance)  # type: ignore[arg-type]
    assert all(len(row.unique()) == k for row in places)


@given(
    st.integers(1, 60), st.integers(1, 40), st.integers(1, 30), st.integers(0, 2**32 - 1), st.sampled_from(["f4", "f8"])
)
@settings(max_examples=150, deadline=None)
def test_they_are_those_of_the_definition_and_of_equal_ones_the_first(
    rows: int, features: int, cells: int, seed: int, kind: str
) -> None:
    rng = np.random.default_rng(seed)
    scale = 2.0 ** rng.integers(-8, 8, size=features)  # squares and their sums are exact
    reference, z = ((rng.integers(-3, 4, (n, features)) * scale).astype(kind) for n in (rows, 20))
    z[:5] = reference[rng.integers(rows, size=5)]
    k = int(rng.integers(1, min(rows, 8) + 1))
    sizes = np.diff(
        np.sort(rng.choice(np.arange(1, rows), min(cells, rows) - 1, replace=False)), prepend=0, append=rows
    )
    squares = np.square(z.astype(float)[:, None] - reference).sum(2)
    expected = np.argsort(squares, axis=1, kind="stable")[:, :k]
    assert np.array_equal(Search(reference, sizes).nearest(z, k), expected)


@pytest.mark.real
def test_a_row_of_real_records_is_at_its_exact_distance() -> None:
    known, new = benign_features()
    reference, found = search(known)
    torch.testing.assert_close(
        distances(new, reference, nearest(found, new, 3)), exact(new, reference, 3), rtol=1e-5, atol=1e-9
    )


def test_the_neighbours_of_a_row_do_not_depend_on_the_rows_beside_it() -> None:
    _, found = search(clusters(3_000, 0))
    z = clusters(500, 1)
    whole = nearest(found, z, 3)
    assert torch.equal(torch.cat([nearest(found, row[None], 3) for row in z]), whole)
    assert torch.equal(nearest(found, z.flip(0), 3).flip(0), whole)


def test_one_product_over_all_references_finds_the_same() -> None:
    reference, found = search(clusters(1_500, 0, torch.float64))
    z = clusters(200, 1, torch.float64)
    assert torch.equal(among_all(reference, z, 4), nearest(found, z, 4))


def test_a_row_that_is_no_number_or_endless_has_some_neighbour() -> None:
    _, found = search(clusters(100, 0))
    z = torch.full((3, F), torch.nan)
    z[1], z[2] = torch.inf, 3e38
    assert nearest(found, z, 2).shape == (3, 2)
    assert nearest(found, z[:0], 2).shape == (0, 2)


@pytest.mark.parametrize("k", [1, 3])
def test_copies_beyond_k_change_no_distance(k: int) -> None:
    x = clusters(200, 0, torch.float64)
    many = torch.cat([x, *[x[:50]] * 5, x[:1].expand(1_000, -1)])
    kept = distinct(many, k)
    assert torch.equal(kept, kept.sort().values)
    assert torch.equal(kept[:200], torch.arange(200))
    assert len(kept) == 200 + 50 * (k - 1)
    z = clusters(50, 1, torch.float64)
    torch.testing.assert_close(exact(z, many[kept], k), exact(z, many, k))


def unscaled(x: Tensor) -> Tensor:
    return x


def test_a_drawn_sample_keeps_the_share_of_each_cell() -> None:
    x = clusters(2_000, 0)
    order = torch.randperm(2_000, generator=torch.Generator().manual_seed(3))
    cell = torch.empty_like(order)
    cell[order] = cells(x[order], STRATA, 3)
    drawn = draw_evenly(x, 500, 3, unscaled)
    assert len(drawn.unique()) == 500
    share = torch.bincount(cell[drawn], minlength=STRATA) - torch.bincount(cell, minlength=STRATA) / 4
    assert share.abs().max() <= 1
    assert torch.equal(drawn, draw_evenly(x, 500, 3, unscaled))
    assert not torch.equal(drawn, draw_evenly(x, 500, 4, unscaled))
    assert torch.equal(draw_evenly(x, 2_000, 3, unscaled).sort().values, torch.arange(2_000))


def test_clusters_are_sought_in_a_bounded_number_of_rows() -> None:
    seen = []
    draw_evenly(clusters(5_000, 0), 100, 0, lambda x: seen.append(len(x)) or x)  # type: ignore[func-returns-value]
    assert seen == [16 * 100]


def test_no_cluster_is_lost_from_a_sample_of_the_references() -> None:
    x = torch.cat([clusters(5_000, 0), torch.full((40, F), 60.0) + torch.randn(40, F)])
    detector = KNN(F, neighbours=1, references=500)
    detector.fit(x)
    assert len(detector.reference) == 500
    assert (detector.rows >= 5_000).sum() >= 3


def test_a_model_that_was_stored_without_cells_finds_the_same() -> None:
    x, z = clusters(800, 0), clusters(100, 1)
    detector, older = KNN(F, neighbours=3), KNN(F, neighbours=3)
    detector.fit(x)
    shuffled = torch.randperm(len(detector.rows), generator=torch.Generator().manual_seed(0))
    state = {name: value for name, value in detector.state_dict().items() if name != "sizes"}
    state |= {"reference": detector.reference[shuffled], "rows": detector.rows[shuffled]}
    older.load_state_dict(state)
    assert torch.equal(older.score(z), detector.score(z))
    assert torch.equal(older.nearest(z), detector.nearest(z))


def test_a_model_searches_in_what_it_was_fitted_on_or_given_last() -> None:
    x, other = clusters(100, 0), clusters(100, 5)
    detector, second = KNN(F, neighbours=1), KNN(F, neighbours=1)
    detector.fit(x)
    assert not detector.score(x).any()
    detector.fit(other)
    second.fit(x)
    assert not detector.score(other).any()
    detector.load_state_dict(second.state_dict())
    assert not detector.score(x).any()
    assert not detector.double().score(x.double()).gt(1e-5).any()


def test_references_are_between_the_neighbours_and_ten_million() -> None:
    for wrong in (2, 10_000_001):
        with pytest.raises(ValueError, match="references between neighbours and 10,000,000, not 3 and"):
            KNN(F, neighbours=3, references=wrong)
