"""Kills of real processes lose no alert; the count of what is lost and doubled is one that finds both."""

import random
from collections import Counter

import pytest

from benchmarks import kills, victims


def test_a_deliverer_that_is_killed_loses_nothing_and_doubles_nothing_in_files(tmp_path):
    sides = kills.run(victims.Deliverer(tmp_path, random.Random(7)), 4)
    assert {side.name: side.lost for side in sides} == dict.fromkeys((side.name for side in sides), 0)
    assert [side.is_kept for side in sides] == [True] * 5
    assert [side.doubled for side in sides if side.is_once] == [0, 0, 0]
    assert all(len(side.expected) == 6 * victims.PART for side in sides)


def test_a_scorer_that_is_killed_judges_each_record_once_and_alerts_once(tmp_path):
    sides = kills.run(victims.Scorer(tmp_path, random.Random(7)), 2)
    assert [(side.name, side.lost, side.doubled, side.is_kept) for side in sides] == [
        ("records", 0, 0, True),
        ("EVE log", 0, 0, True),
    ]
    assert all(len(side.expected) > 20 for side in sides)


def test_two_deliverers_at_once_double_nothing_in_files(tmp_path):
    """As scoring and the watch of a folder are."""
    victim = victims.Deliverer(tmp_path, random.Random(0))
    with victim.surrounded():
        for round_ in range(3):
            victim.prepare(round_)
        with kills.started(victim) as first, kills.started(victim) as second:
            assert (first.wait(), second.wait()) == (0, 0)
        sides = victim.sides()
    assert [side.is_kept for side in sides] == [True] * 5
    assert [side.doubled for side in sides] == [0] * 5  # nobody died


@pytest.mark.parametrize(
    ("arrived", "lost", "doubled", "once", "often"),
    [("ab", 0, 0, True, True), ("a", 1, 0, False, False), ("abb", 0, 1, False, True), ("abc", 0, 0, False, False)],
)
def test_what_is_lost_doubled_or_foreign_breaks_the_promise(arrived, lost, doubled, once, often):
    for is_once, is_kept in ((True, once), (False, often)):
        side = victims.Side("log", frozenset("ab"), Counter(arrived), is_once)
        assert (side.lost, side.doubled, side.is_kept) == (lost, doubled, is_kept)
    assert f"| log | 2 | {lost} | {doubled} |" in kills.table("deliverer", 3, [side])
