"""Trees as tables: the leaves of the walk, also where one entry of a row is another."""

import pytest
import torch
from torch import Tensor

from pipeline.models.detectors.forest import Forest
from pipeline.models.detectors.small_trees import MOST, SmallTrees

F = 5


def forest(leaves: int, trees: int = 30, seed: int = 0) -> Forest:
    """Trees of up to so many leaves, which grow at leaves that are drawn; some consist of a single leaf."""
    generator = torch.Generator().manual_seed(seed)
    root, children, deepest = [], [], 0  # a leaf is its own child
    for tree in range(trees):
        root.append(len(children))
        depth = {len(children): 0}  # of each leaf
        children.append((root[-1], root[-1]))
        for _ in range(tree % leaves if tree else leaves - 1):
            parent = [*depth][int(torch.randint(len(depth), (1,), generator=generator))]
            left = len(children)
            children[parent] = (left, left + 1)
            children += [(left, left), (left + 1, left + 1)]
            depth |= dict.fromkeys((left, left + 1), depth.pop(parent) + 1)
        deepest = max(deepest, *depth.values())
    left, right = torch.tensor(children).unbind(1)
    inner = left != torch.arange(len(left))
    feature = torch.randint(F, (len(left),), generator=generator) * inner
    return Forest(
        torch.tensor(root), feature, torch.randn(len(left), generator=generator) * inner, left, right, deepest
    )


def rows(seed: int, n: int = 200) -> Tensor:
    x = torch.randn(n, F, generator=torch.Generator().manual_seed(seed))
    x[:3, 0] = torch.tensor([torch.nan, torch.inf, -torch.inf])
    return x


@pytest.mark.parametrize("leaves", [1, 2, 5, MOST])
@pytest.mark.parametrize("seed", range(3))
def test_they_find_the_leaves_of_the_walk(leaves, seed):
    walked = forest(leaves, seed=seed)
    small = SmallTrees.of(walked)
    assert small is not None
    assert torch.equal(small.leaves(rows(seed)), walked.leaves(rows(seed)))


@pytest.mark.parametrize("leaves", [1, 2, 5, MOST])
@pytest.mark.parametrize("seed", range(3))
def test_they_find_the_detours_of_the_walk(leaves, seed):
    walked, x, reference = forest(leaves, seed=seed), rows(seed), rows(seed + 10)
    reference[:, 1] = x[:, 1]
    small = SmallTrees.of(walked)
    assert small is not None
    (expected, usual), (found, leaf) = walked.detours(x, reference), small.detours(x, reference)
    assert torch.equal(leaf, usual)
    ways, others = (torch.stack([*each]).unique(dim=1) for each in (expected, found))
    assert torch.equal(others, ways) and others.shape[1] == len(found.row)
    assert bool(len(found.row)) == (leaves > 1) and not (found.entry == 1).any()
    trees = torch.stack([found.row, found.tree])
    assert torch.equal(trees, trees[:, (found.row * 1000 + found.tree).argsort(stable=True)])  # as sums are taken


def test_trees_of_many_leaves_walk():
    assert SmallTrees.of(forest(MOST + 1)) is None
