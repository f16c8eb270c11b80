"""Former names of settings and values. For one version they are still read, with a warning that names the new ones."""

import warnings
from collections.abc import Mapping
from typing import Any, Final

from pipeline.base.errors import ConfigError

KEYS: Final = {"calibrate.evidence": "calibrate.scores"}
VALUES: Final = {
    "calibrate.fusion": {"density": "detector"},
    "calibrate.scores": {"density": "detector"},
}


def dotted(settings: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Settings by their dotted names, under today's names and with today's values, in the same order.

    Args:
        settings: dotted name -> value.
        where: they come from, for messages.

    Raises:
        ConfigError: a setting is given under both names.
    """
    found = {}
    for name, value in settings.items():
        new = KEYS.get(name, name)
        if new != name:
            if new in settings:
                raise ConfigError(f"{where}: {name} is the former name of {new}, and both are given; remove {name}")
            _warn(f"{where}: {name} is now called {new}; the former name is read for one more version")
        found[new] = _value(new, value, where)
    return found


def sections(params: Mapping[str, Any], where: str) -> dict[str, Any]:
    """All sections of params.yaml, as ``dotted`` changes their settings."""
    return {name: _section(name, part, where) for name, part in params.items()}


def _section(section: str, settings: Any, where: str) -> Any:
    if not isinstance(settings, dict):
        return settings
    before = f"{section}."
    found = dotted({f"{before}{key}": value for key, value in settings.items()}, where)
    return {name.removeprefix(before): value for name, value in found.items()}


def _value(name: str, value: Any, where: str) -> Any:
    if isinstance(value, list):
        return [_value(name, each, where) for each in value]
    known = VALUES.get(name, {})
    if not isinstance(value, str) or value not in known:
        return value
    _warn(f"{where}: {value} of {name} is now called {known[value]}; the former name is read for one more version")
    return known[value]


def _warn(message: str) -> None:
    warnings.warn(message, FutureWarning, stacklevel=2)
