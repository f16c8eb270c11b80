"""Leaves that are found without a walk: the same ones."""

import numpy as np
import pytest
import torch

from pipeline.models.detectors.boosting import Boosting
from pipeline.models.detectors.forest import Forest
from pipeline.models.detectors.masks import FEWEST_ROWS, Masks


def head(leaves: int = 8, rows: int = 600) -> Boosting:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(rows, 5)).astype(np.float32)
    x[:, 3] = np.round(x[:, 3])
    family = (x[:, 0] > 1) + 2 * (x[:, 3] * x[:, 1] > 1.5) % 3
    found = Boosting(5, trees=12, leaves=leaves, least=5)
    found.fit(torch.from_numpy(x), torch.from_numpy(family.astype(np.int64)))
    return found


def others(rows: int = FEWEST_ROWS) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(size=(rows, 5)).astype(np.float32))


@pytest.mark.parametrize("leaves", [2, 5, 8])
def test_the_leaves_are_those_of_the_walk(leaves: int) -> None:
    model, x = head(leaves), others()
    forest = model._forest()
    x[::7, 3] = x[::7, 3].round()
    x[1, :], x[2, 3], x[3, 0] = torch.inf, -torch.inf, torch.nan
    x[4:40] = forest.threshold[(forest.left != torch.arange(len(forest.left))).nonzero()[:36]]  # at and beside a split
    x[40:76] = torch.nextafter(x[4:40], torch.tensor(torch.inf))
    assert torch.equal(Masks(forest).leaves(x), forest.leaves(x))


def test_a_tree_may_be_a_single_leaf() -> None:
    nodes = torch.tensor([0, 1, 2, 3])
    forest = Forest(nodes[:2], torch.tensor([0, 1, 0, 0]), torch.zeros(4), nodes * 0 + torch.tensor([0, 2, 2, 3]),
                    torch.tensor([0, 3, 2, 3]), 1)  # fmt: skip
    x = torch.tensor([[0.0, -1.0], [0.0, 1.0]])
    assert Masks.fits(forest)
    assert Masks(forest).leaves(x).tolist() == forest.leaves(x).tolist() == [[0, 2], [0, 3]]


def test_many_rows_score_as_few_do_to_the_last_bit() -> None:
    model, x = head(), others(3 * FEWEST_ROWS)
    few = torch.cat([model.score(part) for part in x.split(FEWEST_ROWS - 1)])
    assert model._masks is None
    assert torch.equal(model.score(x), few)
    assert model._masks is not None
    raw = model.raw(x[:10])
    model.fit_units(model.raw(x))
    assert torch.equal(model.raw(x[:10]), raw)


def test_other_trees_get_other_tables() -> None:
    model, x = head(), others()
    model.score(x)
    other = head(3)
    model.load_state_dict(other.state_dict())
    assert torch.equal(model.score(x), other.score(x))


def test_larger_trees_are_walked() -> None:
    model = head(9)
    assert not Masks.fits(model._forest())
    model.score(others())
    assert model._masks is None
