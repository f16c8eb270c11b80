"""Trees as tables: the leaves of the walk, also where one entry of a row is another, and what they add up to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.models.arrays.small_trees import MOST
from pipeline.models.arrays.trees import ROWS_AT_ONCE, Trees

F = 5


def trees(leaves, number=30, sets=3, seed=0):
    """Trees of up to so many leaves, which grow at leaves that are drawn; some consist of a single leaf."""
    rng = np.random.default_rng(seed)
    root, children, deepest = [], [], 0  # a leaf is its own child
    for tree in range(number):
        root.append(len(children))
        depth = {len(children): 0}  # of each leaf
        children.append((root[-1], root[-1]))
        for _ in range(tree % leaves if tree else leaves - 1):
            parent = [*depth][rng.integers(len(depth))]
            left = len(children)
            children[parent] = (left, left + 1)
            children += [(left, left), (left + 1, left + 1)]
            depth |= dict.fromkeys((left, left + 1), depth.pop(parent) + 1)
        deepest = max(deepest, *depth.values())
    left, right = np.array(children).T
    inner = left != np.arange(len(left))
    threshold = rng.normal(size=len(left)).round(1).astype(np.float32) * inner  # several trees have one
    value, start = rng.normal(size=len(left)).astype(np.float32) * ~inner, rng.normal(size=sets)
    return Trees(np.array(root), rng.integers(F, size=len(left)) * inner, threshold, left, right, value, start, deepest)


def rows(seed, n=200):
    x = np.random.default_rng(seed).normal(size=(n, F)).round(1).astype(np.float32)
    x[: min(n, 3), 0] = [np.nan, np.inf, -np.inf][:n]
    return x


def walk(made, row, other=None, entry=None):
    """(T,) leaf of a row in each tree, one step after the other; one entry may be that of another row."""
    nodes, found = made.nodes, []
    for root in nodes.root:
        node = root
        while nodes.left[node] != node:
            looked = nodes.feature[node]
            value = other[looked] if looked == entry else row[looked]
            node = nodes.right[node] if value > nodes.threshold[node] else nodes.left[node]
        found.append(node)
    return np.array(found)


made_by = st.tuples(st.integers(1, MOST + 2), st.integers(0, 20), st.integers(1, 4), st.integers(0, 2**32 - 1)).map(
    lambda drawn: trees(drawn[0], drawn[1] * drawn[2], drawn[2], drawn[3]) if drawn[1] else trees(drawn[0])
)


@given(made_by, st.integers(0, 2**32 - 1), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_leaves_and_odds_are_those_of_walking_each_tree(made, seed, n):
    x = rows(seed, n)
    leaves = np.stack([walk(made, row) for row in x])
    assert np.array_equal(made.leaves(x), leaves)
    odds = made.start + made.value[leaves].reshape(n, len(made.start), -1).sum(2)
    np.testing.assert_allclose(made.odds(x), odds, rtol=0, atol=1e-12)


@given(made_by, st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_detours_are_those_of_walking_with_one_other_entry(made, seed):
    x, reference = rows(seed, 12), rows(seed + 1, 12)
    reference[:, 1] = x[:, 1]
    found, leaves = made.detours(x, reference)
    assert np.array_equal(leaves, made.leaves(x))
    expected = {
        (row, tree, entry, leaf)
        for row in range(len(x))
        for entry in range(F)
        for tree, leaf in enumerate(walk(made, x[row], reference[row], entry))
    }
    known = {(row, tree, entry, leaf) for row, tree, entry, leaf in zip(*found, strict=True)}
    assert len(known) == len(found.row) and known <= expected
    usual = {(row, tree): leaf for row, each in enumerate(leaves) for tree, leaf in enumerate(each)}
    assert {each for each in expected if each[3] != usual[each[:2]]} <= known  # a detour may come to the same leaf
    along = found.row * 1000 + found.tree
    assert np.array_equal(along, np.sort(along))  # as sums are taken


def test_odds_with_one_other_entry_are_those_of_the_changed_row():
    made, x, reference = trees(MOST), rows(0, 20), rows(9, 20)
    found = made.replaced(x, reference)
    for entry in range(F):
        changed = x.copy()
        changed[:, entry] = reference[:, entry]
        np.testing.assert_allclose(found[:, entry], made.odds(changed), rtol=0, atol=1e-12)


@pytest.mark.parametrize("leaves", [MOST, MOST + 1])
def test_the_odds_of_a_row_do_not_depend_on_the_rows_beside_it(leaves):
    made, x = trees(leaves, 300), rows(0, 3 * ROWS_AT_ONCE + 5)
    whole = made.odds(x)
    assert np.array_equal(np.concatenate([made.odds(row[None]) for row in x[:300]]), whole[:300])
    assert np.array_equal(made.odds(x[::-1])[::-1], whole)
    assert made.odds(x[:0]).shape == (0, 3)
    assert made.leaves(x[:0]).shape == (0, 300)


def test_trees_of_many_leaves_walk():
    assert trees(MOST).small is not None
    assert trees(MOST + 1).small is None
