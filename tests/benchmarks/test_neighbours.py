"""What the measurements of neighbours compute."""

import numpy as np
import pytest
import torch

from benchmarks import encoders, neighbours
from pipeline.models.detectors.knn import KNN


def rows(n, seed):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, 4)).astype(np.float32))


@pytest.mark.parametrize("way", [neighbours.before, neighbours.product, neighbours.by_cells])
def test_each_way_finds_the_nearest(way):
    reference, z = rows(500, 0), rows(40, 1)
    nearest = torch.cdist(z.double(), reference.double()).argmin(1)
    assert torch.equal(way(reference)(z), nearest)


def test_the_ways_of_faiss_find_the_nearest_where_it_is_installed():
    pytest.importorskip("faiss", reason="needs the extra faiss")
    reference, z = rows(2_000, 0), rows(40, 1)
    exact = torch.cdist(z.double(), reference.double()).min(1).values.numpy()
    for way in neighbours.faiss_ways():
        found = neighbours.distance(z, reference, way.build(reference)(z))
        assert (found <= exact * 1.001).mean() > (0.99 if way.slow else 0.2)  # noise has no clusters to search in


def test_distances_are_those_of_the_neighbours_in_their_order():
    x = rows(300, 0)
    detector = KNN(4, neighbours=3, references=100)
    detector.fit(x)
    z, kept = detector.standardise(rows(20, 1)), detector.standardise(x[detector.rows])
    expected = torch.cdist(z.double(), kept.double()).sort(1).values[:, :3]
    np.testing.assert_allclose(neighbours.distances(detector, rows(20, 1)), expected, rtol=1e-4)


def test_figures_hold_the_level_on_val_and_recall_by_attack():
    benign = np.linspace(0, 1, 1_001, dtype=np.float32)
    attacks, names = np.array([0.5, 2.0, 2.0, 2.0], np.float32), np.array(["a", "a", "b", "b"])
    area, macro, recall, fpr, *_ = neighbours.figures({"calibration": benign, "val": benign, "attacks": attacks}, names)
    assert (macro, recall, fpr) == (pytest.approx(0.75), pytest.approx(0.75), pytest.approx(0.01, abs=1e-3))
    assert area == pytest.approx(0.875, abs=1e-3)


def test_the_neighbours_in_the_features_are_measured():
    found = encoders.neighbours(rows(100, 0).numpy(), rows(10, 1).numpy())
    assert found.shape == (10,)
    assert (found > 0).all()
