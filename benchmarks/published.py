"""The settings that a benchmark measures: those that ``flows.preset`` writes, or those that params.yaml ships."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from flows.grid.cells import overridden
from flows.runtime import presets
from pipeline import config
from pipeline.base.registry import build
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.registry import DETECTORS
from pipeline.models.training import FitSettings, Updates
from pipeline.models.training.plan import updates_of
from pipeline.settings.stage2 import Stage2

ROOT = Path(__file__).resolve().parent.parent


def stage2(name: str, changes: Mapping[str, Any] | None = None) -> Stage2:
    """The section ``stage2`` under a preset, with changes by dotted names, as ``dvc exp run -S`` takes them."""
    held = {key: value for key, value in presets.read(name, ROOT / "presets").items() if key.startswith("stage2.")}
    params = overridden(config.read(ROOT / config.PARAMS), held | dict(changes or {}), "--set")
    return config.build(Stage2, params, f"preset {name}")


def shipped(name: str, changes: Mapping[str, Any] | None = None) -> Stage2:
    """The section ``stage2`` of params.yaml as it stands, but for the detector, with changes by dotted names."""
    params = overridden(config.read(ROOT / config.PARAMS), {"stage2.detector": name} | dict(changes or {}), "--set")
    return config.build(Stage2, params, config.PARAMS.name)


def parsed(given: list[str]) -> dict[str, Any]:
    """``stage2.fit.epochs=5`` ... as a mapping."""
    pairs = [each.partition("=") for each in given]
    return {key: yaml.safe_load(value) for key, _, value in pairs}


def detector(settings: Stage2, width: int) -> Detector:
    """The detector of these settings for ``width`` features."""
    return build(DETECTORS, settings.detector, features=width, **settings.settings(settings.detector, DETECTORS))


def updates(settings: Stage2, model: Detector) -> Updates | None:
    """The confidence updates of these settings."""
    return updates_of(model, settings.confidence, "stage2")


def fit_settings(settings: Stage2, **more: Any) -> FitSettings:
    """How these settings train, with ``more`` that no preset holds, such as the seed."""
    return replace(settings.fit, **more)
