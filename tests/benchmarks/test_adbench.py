"""The benchmark on tables: a detector that learns from labels has them, and one that ranks nothing has no AUROC."""

import numpy as np
import pytest
import torch

from benchmarks import adbench
from pipeline.models.detectors.registry import DETECTORS
from tests.settings import fit_with

TRAINING = fit_with(epochs=2, min_steps=10, batch_size=32, learning_rate=1e-3, seed=0, device="cpu")


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    y = (np.arange(300) % 5 == 0).astype(np.int64)
    return adbench.split(random.standard_normal((300, 4)) + 2.0 * y[:, None], y, seed=0, rows=1000)


def test_each_detector_is_measured_with_labels_if_and_only_if_it_learns_from_attacks():
    learns = {name for name, detector in DETECTORS.items() if detector.trains_on == "all"}
    assert {"boosting", "mlp"} <= learns
    assert set(adbench.names_of("supervised", list(DETECTORS))) == learns
    for setting in ("unsupervised", "one_class"):
        assert set(adbench.names_of(setting, list(DETECTORS))) == {*DETECTORS} - learns


@pytest.mark.parametrize("name", [name for name, detector in DETECTORS.items() if detector.trains_on == "all"])
def test_a_detector_that_learns_from_labels_learns(data, name):
    result = adbench.measure(name, "supervised", data, 0, TRAINING, updated=False)
    assert result.auroc > 0.8
    for setting in ("unsupervised", "one_class"):
        with pytest.raises(ValueError, match=f"{name} trains on all rows, and is not measured {setting}"):
            adbench.measure(name, setting, data, 0, TRAINING, updated=False)


def test_a_detector_that_gives_one_score_has_no_auroc(data, monkeypatch):
    for name in ("score", "scores"):
        monkeypatch.setattr(DETECTORS["pca"], name, lambda _self, x: torch.full((len(x),), 3.0))
    result = adbench.measure("pca", "one_class", data, 0, TRAINING, updated=False)
    assert result.auroc is None
    assert result.collapse
    sound = adbench.Result(0.75, None, 1.0)
    table = {"a": {"pca": [sound, result], "knn": [sound, sound]}, "b": {"pca": [sound, sound], "knn": [sound, sound]}}
    rows = [line.split(" | ") for line in adbench.markdown("one_class", table, ["pca", "knn"]) if line.startswith("|")]
    assert [row[1] for row in rows[2:5]] == ["one score", "75.0 ± 0.0", "one score"]
    assert [row[2].rstrip(" |") for row in rows[2:5]] == ["75.0 ± 0.0"] * 3
