"""Doubt in records whose like occur at one time only."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.preprocessing.witnesses import unwitnessed

DAYS = 5
N = 600


def traffic(seed: int, hidden: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_]]:
    """Features of N benign records of five days and of a dense cluster of one day, their days, and what is hidden."""
    draw = np.random.default_rng(seed)
    benign = draw.normal(size=(N, 6)) + draw.integers(2, size=(N, 1)) * 4
    cluster = draw.normal(scale=0.01, size=(hidden, 6)) + draw.normal(size=6) + [0, 0, 0, 0, 4, -4]
    day = np.concatenate([draw.integers(DAYS, size=N), np.full(hidden, 3)]).astype(np.float64)
    return np.concatenate([benign, cluster]).astype(np.float32), day, np.arange(N + hidden) >= N


@pytest.mark.parametrize("hidden", [8, 60])
def test_a_cluster_of_one_day_is_doubted_and_others_are_not(hidden: int) -> None:
    x, day, cluster = traffic(0, hidden)
    doubted = unwitnessed(x, day, 0.0, 5, 2.0)
    assert doubted[cluster].all()
    assert doubted[~cluster].mean() < 0.02


def test_the_same_cluster_on_every_day_is_trusted() -> None:
    x, day, cluster = traffic(0, 60)
    day[cluster] = np.arange(60) % DAYS
    assert unwitnessed(x, day, 0.0, 5, 2.0).mean() < 0.02


def test_a_lone_strange_record_is_not_doubted() -> None:
    x, day, lone = traffic(1, 1)
    x[lone] += 50
    assert not unwitnessed(x, day, 0.0, 5, 2.0)[lone].any()


def test_copies_of_one_time_are_not_doubted_for_company_that_is_close() -> None:
    x, day, copies = traffic(2, 20)
    x[copies], day[copies] = 0.0, 1.0  # in the midst of others
    assert unwitnessed(x, day, 0.0, 5, 2.0)[copies].mean() < 0.1


def test_times_count_as_days_do() -> None:
    x, day, cluster = traffic(3, 30)
    seconds = day * 86_400 + np.random.default_rng(0).uniform(0, 30_000, size=len(day))
    doubted = unwitnessed(x, seconds, 40_000.0, 5, 2.0)
    assert doubted[cluster].all() and doubted[~cluster].mean() < 0.02


@pytest.mark.parametrize("n", [0, 1, 5])
def test_too_few_records_are_not_doubted(n: int) -> None:
    x, day, _ = traffic(4)
    assert not unwitnessed(x[:n], day[:n], 0.0, 5, 2.0).any()


def test_records_of_one_time_bear_no_witness_to_each_other_and_are_not_doubted() -> None:
    x, day, _ = traffic(5, 40)
    assert not unwitnessed(x, np.zeros(len(day)), 0.0, 5, 2.0).any()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_neither_order_nor_unit_nor_another_clock_changes_it(seed: int) -> None:
    x, day, _ = traffic(seed, 30)
    doubted = unwitnessed(x, day, 0.0, 5, 2.0)
    order = np.random.default_rng(seed).permutation(len(x))
    assert np.array_equal(unwitnessed(x[order] * 8, day[order] + 100, 0.0, 5, 2.0), doubted[order])


def test_a_sample_of_references_finds_the_same_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.preprocessing.neighbours.REFERENCES", 300)
    monkeypatch.setattr("pipeline.preprocessing.neighbours.ENTRIES", 5_000)
    x, day, cluster = traffic(6, 60)
    doubted = unwitnessed(x, day, 0.0, 5, 2.0)
    assert doubted[cluster].all() and doubted[~cluster].mean() < 0.05
