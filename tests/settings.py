"""Settings for tests, each with what a test changes: the shipped ones, or those that benchmarks start from."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks.settings import FIT, RECIPE
from pipeline import config
from pipeline.evaluation.sections import Asked
from pipeline.preprocessing.recipe import Recipe
from pipeline.settings.alerts import Alerts
from pipeline.settings.evaluate import Bootstrap, Figures
from pipeline.settings.promotion import Rules
from pipeline.settings.training import FitSettings
from pipeline.settings.validate import Limits, ShortcutLimits

ROOT = Path(__file__).parents[1]
LIMITS = config.load(Limits, ROOT / config.PARAMS)
RULES = config.load(Rules, ROOT / config.PARAMS)
ALERTS = config.load(Alerts, ROOT / config.PARAMS)


def recipe_with(**changes: object) -> Recipe:
    """The published recipe."""
    return replace(RECIPE, **changes)  # type: ignore[arg-type]


def fit_with(**changes: object) -> FitSettings:
    """A plain fit."""
    return replace(FIT, **changes)  # type: ignore[arg-type]


def limits_with(**changes: object) -> Limits:
    """The shipped limits of the audit."""
    return replace(LIMITS, **changes)  # type: ignore[arg-type]


def shortcuts_with(**changes: object) -> ShortcutLimits:
    """The shipped limits of the shortcut audit."""
    return replace(LIMITS.shortcuts, **changes)  # type: ignore[arg-type]


def rules_with(**changes: object) -> Rules:
    """The shipped rules of the promotion gate."""
    return replace(RULES, **changes)  # type: ignore[arg-type]


def alerts_with(**changes: object) -> Alerts:
    """The shipped rules of alerts."""
    return replace(ALERTS, **changes)  # type: ignore[arg-type]


def asked_with(nominal: Mapping[str, float], n_calibration: int, rounds: int = 100) -> Asked:
    """What sections of metrics.json state, on few rounds of the bootstrap."""
    return Asked(nominal, n_calibration, Figures((0.01, 0.001), (0.1, 0.01, 0.001), Bootstrap(rounds, 0)))
