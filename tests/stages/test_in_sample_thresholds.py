"""Thresholds from the scores of training records, as Latent Sculpting published them: they promise nothing."""

from typing import Any

import numpy as np
import pytest

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.artifacts.samples import read_samples
from pipeline.base.errors import ConfigError, SplitError
from pipeline.stages import calibration_scores


@pytest.fixture
def cascade(prepared: Any) -> Any:
    """The decision of the paper, which needs the margin of an encoder."""
    prepared.set("calibrate.fusion", "cascade")
    prepared.set("calibrate.scores", ["margin", "detector"])
    prepared.set("calibrate.percentiles", [99, 97, 95])
    return prepared


def named() -> dict[str, float]:
    return dict(read_json(paths.REPORTS / "calibrate" / "thresholds.json")["named"])


@pytest.mark.parametrize("split", ["train", "calibration"])
def test_the_percentiles_are_those_of_the_split_that_is_named(cascade: Any, split: str) -> None:
    cascade.set("calibrate.drawn_from", split)
    cascade.run("calibrate")
    scores = read_samples(paths.SCORES, split)
    detector = scores.x[scores.benign, 1].astype(np.float64)
    for name, threshold in named().items():
        assert (detector > threshold).mean() == pytest.approx(1 - float(name[1:]) / 100, abs=2 / len(detector))


def test_in_sample_thresholds_are_refused_where_levels_are_promised(cascade: Any) -> None:
    cascade.set("calibrate.drawn_from", "train")
    cascade.set("calibrate.fusion", "fisher")
    said = cascade.refusal("calibrate", ConfigError)
    assert "calibrate.drawn_from: 'train'" in said and "choose fusion cascade" in said


def test_a_split_without_benign_records_is_refused(cascade: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read = read_samples
    monkeypatch.setattr(
        calibration_scores, "read_samples", lambda folder, split: (s := read(folder, split)).select(~s.benign)
    )
    assert "no benign calibration records" in cascade.refusal("calibrate", SplitError)
