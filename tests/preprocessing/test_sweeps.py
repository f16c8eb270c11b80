"""Doubt in records whose like go to a port each."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.preprocessing.sweeps import EPHEMERAL, sweeping

N = 600
SERVICES = np.array([53.0, 80.0, 443.0, 22.0])


def traffic(seed: int, hidden: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.bool_]]:
    """Features of N benign records of four services and of a scan of low ports, their ports, and what is the scan."""
    draw = np.random.default_rng(seed)
    service = draw.integers(4, size=N)
    benign = draw.normal(size=(N, 6)) + service[:, None] * 3
    scan = draw.normal(scale=0.05, size=(hidden, 6)) + np.array([0, 3, 0, 3, 0, 3])
    port = np.concatenate([SERVICES[service], draw.permutation(np.arange(1, 1001))[:hidden]])
    return np.concatenate([benign, scan]).astype(np.float32), port, np.arange(N + hidden) >= N


def doubted(x: NDArray[np.float32], port: NDArray[np.float64]) -> NDArray[np.bool_]:
    return sweeping(x, port, 10, 0.8)


@pytest.mark.parametrize("hidden", [15, 60, 200])
def test_a_scan_is_doubted_and_services_are_not(hidden: int) -> None:
    x, port, scan = traffic(0, hidden)
    assert doubted(x, port)[scan].mean() > 0.9
    assert doubted(x, port)[~scan].mean() < 0.02


def test_the_same_records_to_one_port_are_trusted() -> None:
    x, port, scan = traffic(1, 60)
    port[scan] = 8053
    assert not doubted(x, port).any()


@pytest.mark.parametrize("kind", ["drawn by clients", "unknown"])
def test_ports_that_name_no_service_count_as_one(kind: str) -> None:
    x, port, scan = traffic(2, 60)
    port[scan] = np.nan if kind == "unknown" else EPHEMERAL + np.arange(60)
    assert not doubted(x, port).any()


def test_a_neighbour_without_a_port_of_its_own_is_doubted_with_the_others() -> None:
    x, port, _ = traffic(3, 60)
    port[-1] = np.nan
    assert doubted(x, port)[-1]


@pytest.mark.parametrize("n", [0, 1, 10])
def test_too_few_records_are_not_doubted(n: int) -> None:
    x = traffic(4)[0]
    assert not doubted(x[:n], np.arange(n, dtype=np.float64)).any()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000))
def test_neither_order_nor_unit_changes_it(seed: int) -> None:
    x, port, _ = traffic(seed, 30)
    order = np.random.default_rng(seed).permutation(len(x))
    assert np.array_equal(doubted(x[order] * 8, port[order]), doubted(x, port)[order])


def test_a_sample_of_references_finds_the_same_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.preprocessing.neighbours.REFERENCES", 300)
    monkeypatch.setattr("pipeline.preprocessing.neighbours.ENTRIES", 5_000)
    x, port, scan = traffic(6, 120)
    assert doubted(x, port)[scan].mean() > 0.9
    assert doubted(x, port)[~scan].mean() < 0.02
