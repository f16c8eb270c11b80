"""A cap on labelled rows keeps what is rare."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import ConfigError
from pipeline.base.registry import build
from pipeline.models.detectors.base import draw_with_attacks
from pipeline.models.detectors.registry import DETECTORS
from pipeline.models.encoders.base import STARTING_ROWS, spread_with_classes


def labels(*sizes: int) -> torch.Tensor:
    """Shuffled rows: so many of each family, the benign ones first."""
    y = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return y[torch.randperm(len(y), generator=torch.Generator().manual_seed(7))]


def kept(y: torch.Tensor, rows: int, share: float = 0.5) -> list[int]:
    drawn = draw_with_attacks(y, rows, share, seed=0)
    assert len(drawn.unique()) == len(drawn)
    return torch.bincount(y[drawn], minlength=int(y.max()) + 1).tolist()


def test_benign_rows_are_thinned_and_every_attack_stays() -> None:
    assert kept(labels(90_000, 400, 15, 3), 1000) == [582, 400, 15, 3]


def test_attacks_beyond_their_share_are_cut_evenly_and_rare_families_stay_whole() -> None:
    assert kept(labels(90_000, 5000, 2000, 15, 3), 1000) == [500, 241, 241, 15, 3]


def test_where_benign_rows_are_few_attacks_fill_the_rest() -> None:
    assert kept(labels(100, 5000, 15), 1000) == [100, 885, 15]


def test_what_fits_is_kept_whole_in_the_order_that_a_seed_gives() -> None:
    y = labels(90, 10)
    same = torch.randperm(100, generator=torch.Generator().manual_seed(3))
    assert torch.equal(draw_with_attacks(y, 100, 0.5, 3), same)


@given(
    sizes=st.lists(st.integers(1, 60), min_size=2, max_size=6),
    rows=st.integers(2, 200),
    share=st.floats(0.05, 0.95),
)
def test_no_family_is_cut_below_a_larger_one(sizes: list[int], rows: int, share: float) -> None:
    y = labels(*sizes)
    benign, *attacks = kept(y, rows, share)
    assert benign + sum(attacks) <= min(rows, len(y))
    cut = [left for left, size in zip(attacks, sizes[1:], strict=True) if left < size]
    assert all(left == max(attacks) for left in cut)
    assert len(y) <= rows or sum(attacks) <= max(int(share * rows), rows - sizes[0])


def test_the_trees_learn_a_family_of_which_a_uniform_draw_would_keep_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    y = labels(30_000, 3000, 25)
    x = torch.randn(len(y), 4, generator=generator)
    x[y == 1, 0] += 6
    x[y == 2, 1] += 6
    model = build(DETECTORS, "boosting", features=4, max_rows=1000, trees=30)
    model.fit(x, y)
    with torch.no_grad():
        score = model.score(x)
    benign = score[y == 0].quantile(0.99)
    assert (score[y == 2] > benign).float().mean() > 0.9


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_share_without_room_for_both_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=r"attack_share must lie in \(0, 1\)"):
        build(DETECTORS, "boosting", features=4, attack_share=share)


def test_a_class_that_is_rare_takes_part_in_the_start_of_an_encoder() -> None:
    y = torch.zeros(1_000_000, dtype=torch.int64)
    y[torch.tensor([5, 77_777, 999_998])] = 1
    rows = spread_with_classes(y)
    assert int(y[rows].sum()) == 3
    even = labels(500_000, 500_000)
    assert len(spread_with_classes(even)) == STARTING_ROWS
