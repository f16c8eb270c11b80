"""Apply a published system: write all of its settings into params.yaml, before DVC runs.

::

    python -m flows.preset                      # which there are, and which one stands in params.yaml
    python -m flows.preset latent_sculpting     # then: dvc repro, dvc exp run or make run
    python -m flows.preset shipped              # back to the settings of the last commit

A preset starts from what the last commit has: settings that another preset has moved go back first. All other settings,
such as ``ingest.path``, stay as they are.
"""

from flows import arguments

if __name__ == "__main__":
    arguments.parse("preset")  # help, and what is misspelt, before the imports below, which take seconds

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.grid.experiments import ExperimentError, git
from flows.runtime import dvc, presets, program
from flows.runtime.presets import FOLDER, NONE
from pipeline import config
from pipeline.artifacts.files import write_bytes
from pipeline.base.errors import ConfigError, near_miss
from pipeline.config import PARAMS, PRESET
from pipeline.settings.sections import SECTIONS

SHIPPED = "shipped"


def settings_of(name: str, committed: Mapping[str, Any], folder: Path = FOLDER) -> dict[str, Any]:
    """All settings that a preset decides on, its name among them, by their dotted names.

    Args:
        name: of a preset, or ``shipped``.
        committed: all sections of params.yaml in the last commit.
        folder: of the presets.

    Raises:
        ConfigError: there is no such preset.
    """
    known = presets.names(folder)
    if name not in (*known, SHIPPED):
        miss = near_miss(name, [*known, SHIPPED])
        raise ConfigError(f"{name!r} is not known{miss}; known: {', '.join([*known, SHIPPED])}")
    held = dict.fromkeys(key for each in known for key in presets.read(each, folder))
    chosen = {key: value for key in held if (value := presets.at(committed, key)) is not presets.ABSENT}
    if name == SHIPPED:
        return {PRESET: committed.get(PRESET, NONE), **chosen}
    return {PRESET: name, **chosen, **presets.read(name, folder)}


def apply(name: str, root: Path) -> dict[str, tuple[Any, Any]]:
    """Write a preset into params.yaml, as DVC writes it.

    Args:
        name: of the preset, or ``shipped``.
        root: the project's folder.

    Returns:
        Dotted name -> value before and after, of each setting that changed.

    Raises:
        ConfigError: there is no such preset, it holds a setting that params.yaml lacks, or a stage would refuse it.
    """
    path = root / PARAMS
    now, before = config.read(path), path.read_bytes()
    wanted = settings_of(name, _committed(root), root / FOLDER)
    changed = {key: (presets.at(now, key), value) for key, value in wanted.items() if presets.at(now, key) != value}
    if absent := [key for key in wanted if presets.at(now, key) is presets.ABSENT]:
        raise ConfigError(f"{path}: preset {name} sets {', '.join(absent)}, which the file lacks")
    if changed:
        dvc.write_settings(path, {key: value for key, (_, value) in changed.items()})
    try:
        for section in SECTIONS.values():
            config.load(section, path)
    except ConfigError:
        write_bytes(path, before)
        raise
    return changed


def _committed(root: Path) -> dict[str, Any]:
    """All sections of params.yaml in the last commit."""
    try:
        text = git(root, "show", f"HEAD:./{PARAMS}")
    except ExperimentError as error:
        raise ConfigError(f"{root}: the settings that are shipped come from the last commit: {error}") from None
    return config.parse(text.encode(), f"{PARAMS} of the last commit")


# The program.


def main(options: Sequence[str] | None = None) -> int:
    """Apply or list presets from the command line; returns the exit code."""
    given = arguments.parse("preset", options)
    return program.run("preset", lambda: _applied(given.name) if given.name else _listed())


def _applied(name: str) -> str:
    changed = apply(name, Path.cwd())
    lines = [f"  {key}: {_shown(old)} -> {_shown(new)}" for key, (old, new) in changed.items()]
    return "\n".join([f"{name}: {len(changed)} settings changed in {PARAMS}", *lines])


def _listed() -> str:
    known = presets.names()
    wide = max(map(len, known), default=0)
    lines = [f"  {name:{wide}}  {presets.about(name)}" for name in known]
    return "\n".join([f"{PARAMS} follows: {presets.recorded(config.read())}", *lines])


def _shown(value: object) -> str:
    return "null" if value is None else f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)


if __name__ == "__main__":
    sys.exit(main())
