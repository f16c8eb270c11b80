"""The published systems, by one name each: ``presets/NAME.yaml`` holds all settings of one, to be set in params.yaml.

``python -m flows.preset NAME`` writes them there, because DVC tracks what stands in params.yaml and nothing else. No
stage reads a preset. The name stays in params.yaml under ``preset``, so that a run can say what it followed.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline import config
from pipeline.base.errors import ConfigError, near_miss
from pipeline.config import PRESET

FOLDER = Path("presets")
NONE = "none"
ABSENT = object()


def names(folder: Path = FOLDER) -> tuple[str, ...]:
    """All presets, in the order of the alphabet."""
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


def read(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """The settings of a preset by their dotted names, such as ``stage2.detector``.

    Raises:
        ConfigError: there is no such preset, or its file is no mapping.
    """
    return flat(config.read(_file(name, folder)))


def about(name: str, folder: Path = FOLDER) -> str:
    """The first line of a preset's head, which names the system.

    Raises:
        ConfigError: there is no such preset.
    """
    first = _file(name, folder).read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("#").strip()


def recorded(params: Mapping[str, Any], folder: Path = FOLDER) -> str:
    """What to call the settings ``params``, all sections of params.yaml, in a record of a run.

    Returns:
        ``none``, the name of a preset, or ``NAME, changed: stage1.fit.epochs`` where settings have moved since.

    Raises:
        ConfigError: params.yaml names a preset that does not exist.
    """
    name = str(params.get(PRESET, NONE))
    if name == NONE:
        return NONE
    moved = [key for key, value in read(name, folder).items() if at(params, key) != value]
    return f"{name}, changed: {', '.join(moved)}" if moved else name


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings by their dotted names."""
    return dict(_leaves(settings, ""))


def at(settings: Mapping[str, Any], key: str) -> Any:
    """The value under a dotted name; an object that equals nothing where there is none."""
    place: Any = settings
    for part in key.split("."):
        place = place.get(part, ABSENT) if isinstance(place, Mapping) else ABSENT
    return place


def _leaves(settings: Mapping[str, Any], before: str) -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _file(name: str, folder: Path) -> Path:
    known = names(folder)
    if name not in known:
        listed = ", ".join(known) or f"none in {folder}"
        raise ConfigError(f"preset: {name!r} is not known{near_miss(name, known)}; known: {listed}")
    return folder / f"{name}.yaml"
