"""The graph of ``dvc.yaml``: its stages in order, and the paths that they read.

A mistake in the file is refused here, with the line of the remedy, before the ``dvc`` command is called.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.base.errors import ConfigError, near_miss

PIPELINE_FILE = "dvc.yaml"

_LISTS = ("deps", "outs", "metrics", "plots")
_KEYS = (
    *_LISTS,
    "cmd",
    "params",
    "wdir",
    "desc",
    "meta",
    "frozen",
    "always_changed",
    "foreach",
    "do",
    "matrix",
    "vars",
)


@dataclass(frozen=True)
class Stage:
    """A stage of ``dvc.yaml``.

    Attributes:
        name: what ``dvc repro`` calls it.
        command: what it runs.
        device: whether it asks for a GPU (``meta: {device: true}``).
    """

    name: str
    command: str
    device: bool = False


def stages(root: Path) -> tuple[Stage, ...]:
    """The stages of ``dvc.yaml``, each after those whose outputs it reads, else in the order of the file.

    Raises:
        ConfigError: there is no such file, or it is not a graph of stages.
    """
    entries = _entries(root / PIPELINE_FILE)
    outputs = {name: _paths(entry, "outs", "metrics", "plots") for name, entry in entries.items()}
    graph = {
        name: [other for other in entries if other != name and _overlap(_paths(entry, "deps"), outputs[other])]
        for name, entry in entries.items()
    }
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise ConfigError(f"{root / PIPELINE_FILE}: stages feed each other: {' <- '.join(error.args[1])}") from None
    return tuple(Stage(name, _command(entries[name]), _wants_device(entries[name])) for name in order)


def dependencies(root: Path) -> tuple[str, ...]:
    """The paths that the stages depend on and none of them writes, as ``dvc.yaml`` spells them."""
    entries = _entries(root / PIPELINE_FILE).values()
    made = [path for entry in entries for path in _paths(entry, "outs", "metrics", "plots")]
    read = {path for entry in entries for path in _paths(entry, "deps")}
    return tuple(sorted(str(path) for path in read if not _overlap([path], made)))


def _entries(path: Path) -> dict[str, dict[str, Any]]:
    import yaml

    try:
        whole = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; run this in the project's folder") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: this is not YAML: {error}") from None
    found = whole.get("stages") if isinstance(whole, dict) else None
    if not isinstance(found, dict) or not found:
        hint = near_miss("stages", map(str, whole)) if isinstance(whole, dict) else ""
        raise ConfigError(f"{path}: needs a section 'stages' that names at least one stage{hint}")
    for name, entry in found.items():
        _check(f"{path}: stage {name!r}", entry)
    return {str(name): entry for name, entry in found.items()}


def _check(where: str, entry: object) -> None:
    if not isinstance(entry, dict):
        raise ConfigError(f"{where}: needs the keys of a stage, such as cmd, deps and outs, not {entry!r}")
    for key in entry:
        if key not in _KEYS:
            raise ConfigError(f"{where}: unknown key {key!r}{near_miss(str(key), _KEYS)}; known: {', '.join(_KEYS)}")
    if not {"cmd", "do"} & set(entry):
        raise ConfigError(f"{where}: has no 'cmd'")
    for key in _LISTS:
        if not isinstance(entry.get(key, []), list):
            raise ConfigError(f"{where}: {key!r} is a list of paths, not {entry[key]!r}")


def _command(entry: Mapping[str, Any]) -> str:
    command = entry.get("cmd") or entry["do"].get("cmd", "")
    return command if isinstance(command, str) else " && ".join(command)


def _wants_device(entry: Mapping[str, Any]) -> bool:
    meta = entry.get("do", entry).get("meta")
    return bool(isinstance(meta, dict) and meta.get("device") is True)


def _paths(entry: Mapping[str, Any], *keys: str) -> list[PurePosixPath]:
    """The paths under these keys; one with options is a mapping of one key."""
    body = entry.get("do", entry)
    listed = [item for key in keys for item in body.get(key, [])]
    folder = PurePosixPath(body.get("wdir", "."))
    return [folder / (next(iter(item)) if isinstance(item, dict) else item) for item in listed]


def _overlap(some: list[PurePosixPath], others: list[PurePosixPath]) -> bool:
    """Whether a path of one list is, holds or lies in a path of the other."""
    return any(a.is_relative_to(b) or b.is_relative_to(a) for a in some for b in others)
