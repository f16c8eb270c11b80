"""Each preset runs from raw files to the report, on a small simulated week and for a few epochs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flows.runtime import presets
from pipeline import config
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.artifacts.models import read_model
from pipeline.artifacts.samples import read_samples
from pipeline.settings.calibrate import Calibrate
from pipeline.settings.stage2 import Stage2

FOLDER = Path(__file__).parents[2] / "presets"
QUICK = {
    "latent_sculpting": {"stage1.fit.epochs": 4, "stage1.fit.min_steps": 0, "stage1.fit.batch_size": 32}
    | {"stage2.fit.epochs": 2, "stage2.maf.layers": 2, "stage2.maf.hidden": 16},
    "radon": {"stage2.fit.epochs": 6, "stage2.radon.hidden": [32, 8]},
    "grand": {"stage2.fit.epochs": 4},
}
CHAIN = ("ingest", "validate", "preprocess", "stage1", "stage2", "calibrate", "evaluate")


@pytest.mark.parametrize("name", QUICK)
def test_a_preset_runs_to_the_report(project: Any, name: str) -> None:
    for key, value in (presets.read(name, FOLDER) | QUICK[name] | {"stage2.fit.batch_size": 32}).items():
        project.set(key, value)
    project.set("ingest.dataset", "cicids2017")
    project.run(*CHAIN)
    assert (paths.REPORTS / "report.html").is_file()
    scores = read_samples(paths.SCORES, "test_seen").x
    assert np.isfinite(scores).all() and len(np.unique(scores[:, 1])) > 10
    intervals = {path.stem.rpartition("_")[2] for path in (paths.REPORTS / "stage2").glob("*intervals_epoch_*")}
    assert intervals >= {"latent_sculpting": set(), "radon": {"3"}, "grand": {"0", "1", "2"}}[name]
    assert not intervals & {"latent_sculpting": {"0"}, "radon": {"0", "1", "2"}, "grand": set()}[name]
    drawn = read_samples(paths.SCORES, config.load(Calibrate).drawn_from)
    assert read_json(paths.REPORTS / "calibrate" / "thresholds.json")["n"] == drawn.benign.sum()
    assert read_model(paths.DETECTOR)[0]["detector"] == config.load(Stage2).detector
