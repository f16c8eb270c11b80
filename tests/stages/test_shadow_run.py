"""A shadow run on files in the published format: samples are enough for both models, and training files are unused."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.serving import arrivals, batch, shadow
from pipeline.serving.bundle import Bundle
from pipeline.settings.promotion import Shadow
from tests.settings import rules_with

RULES = rules_with(shadow=Shadow(records=20_000, min_records=100, margin=0.0075))


@pytest.fixture
def bundle(prepared):
    return Bundle.of_project()


def lowered(bundle, share):
    """The same model with a threshold p99 that a share of its calibration records exceed."""
    calibration = bundle.calibration
    edge = float(np.quantile(calibration.reference, 1 - share))
    whole = replace(calibration.whole, thresholds={**calibration.thresholds, "p99": edge})
    return bundle.with_calibration(replace(calibration, whole=whole))


def arrive(folder, bundle, renamed):
    for path in sorted(folder.iterdir()):
        if renamed:
            path.rename(path.with_name(f"live-{path.name}"))
    for file in arrivals.find(folder):
        batch.score(file, bundle, 3)


def test_a_threshold_that_is_too_low_is_found_on_the_samples(bundle, folder):
    arrive(folder, bundle, renamed=True)
    found = shadow.run({4: lowered(bundle, 0.24), 3: bundle}, RULES, 3.0)
    assert found.records > 100 and found.files == 8 and not found.left_out
    assert found.alarms.champion_only == 0 and found.refusal
    assert {*found.differences.counts} >= {"file", "day"}
    shown = found.differences.first[0]
    assert shown.by_candidate and shown.champion == shown.candidate > 0.01  # one score, and two thresholds
    assert not shadow.run({4: lowered(bundle, 0.01), 3: bundle}, RULES, 3.0).refusal


def test_the_files_of_training_are_no_evidence(bundle, folder):
    arrive(folder, bundle, renamed=False)
    found = shadow.run({4: lowered(bundle, 0.24), 3: bundle}, RULES, 3.0)
    assert found.records == 0 and {*found.left_out} == {shadow.USED}
    assert "can judge, needed are 100" in found.sentence and not found.refusal
