"""Former names of settings and values. For one version they are still read, with a warning that names the new ones."""

import warnings
from collections.abc import Callable, Mapping
from typing import Any, Final

from pipeline.base.errors import ConfigError

KEYS: Final = {
    "calibrate.evidence": "calibrate.scores",
    "stage2.knn.max_rows": "stage2.knn.references",
    "stage2.ensemble.members.knn.max_rows": "stage2.ensemble.members.knn.references",
}
VALUES: Final = {
    "calibrate.fusion": {"density": "detector"},
    "calibrate.scores": {"density": "detector"},
}
Tell = Callable[[str], None]


def _warn(message: str) -> None:
    warnings.warn(message, FutureWarning, stacklevel=2)


def dotted(settings: Mapping[str, Any], where: str, tell: Tell = _warn) -> dict[str, Any]:
    """Settings by their dotted names, under today's names and with today's values, in the same order.

    Args:
        settings: dotted name -> value, which may be a mapping of further settings.
        where: they come from, for messages.
        tell: is given a message for each former name.

    Raises:
        ConfigError: a setting is given under both names.
    """
    found = {}
    for name, value in settings.items():
        new = KEYS.get(name, name)
        if new != name:
            if new in settings:
                raise ConfigError(f"{where}: {name} is the former name of {new}, and both are given; remove {name}")
            tell(f"{where}: {name} is now called {new}; the former name is read for one more version")
        found[new] = _value(new, value, where, tell)
    return found


def sections(params: Mapping[str, Any], where: str) -> dict[str, Any]:
    """All sections of params.yaml, as ``dotted`` changes their settings."""
    return dotted(params, where)


def _value(name: str, value: Any, where: str, tell: Tell) -> Any:
    if isinstance(value, dict):
        found = dotted({f"{name}.{key}": each for key, each in value.items()}, where, tell)
        return {key.removeprefix(f"{name}."): each for key, each in found.items()}
    if isinstance(value, list):
        return [_value(name, each, where, tell) for each in value]
    known = VALUES.get(name, {})
    if not isinstance(value, str) or value not in known:
        return value
    tell(f"{where}: {value} of {name} is now called {known[value]}; the former name is read for one more version")
    return known[value]
