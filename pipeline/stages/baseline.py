"""The trivial baseline beside each section of metrics.json: the best single feature, chosen on val."""

from typing import Any

from pipeline.artifacts import paths
from pipeline.artifacts.samples import read_samples
from pipeline.evaluation import single_feature
from pipeline.evaluation.deployed import SECTIONS


def with_baseline(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each section with ``one_feature``: what the feature finds there that is best on val."""
    val = read_samples(paths.PROCESSED, "val")
    feature = single_feature.best_feature(val.y, val.x, val.columns)
    tests = {name: read_samples(paths.PROCESSED, SECTIONS[name]) for name in found}
    return {
        name: {**section, "one_feature": single_feature.one_feature(feature, tests[name].y, tests[name].x)}
        for name, section in found.items()
    }
