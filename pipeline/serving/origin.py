"""Where a version comes from: what is stored beside its model, so that another clone can make it again.

::

    origin/origin.json     the commit, Python, the machine, the libraries, and what stands in the way
    origin/dvc.lock        the hashes of the input, the code and the outputs of each stage
    origin/params.yaml     the settings
    origin/changes.diff    the changes to the commit, where there were any
    origin/sbom.cdx.json   the libraries that the model is loaded with

The signature of the version covers all of it, as it covers the code. Two trainings that make the same model may have
different origins, so none of this is part of the bundle or of its digest.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement

from pipeline.artifacts.files import encode_json, read_bytes
from pipeline.base.errors import ArtifactError
from pipeline.base.extras import EXTRAS, PROJECT

FOLDER: Final = "origin"
FORMAT: Final = 1
ABOUT, LOCK, PARAMS, CHANGES = "origin.json", "dvc.lock", "params.yaml", "changes.diff"


@dataclass(frozen=True)
class Origin:
    """Where a version comes from.

    Attributes:
        commit: that was checked out; "" where there was none.
        gaps: what keeps another clone from making the same model, in sentences; empty where nothing does.
        libraries: name -> version of Python and of each library that the project asks for.
        machine: the kind of its processor, such as x86_64.
        files: ``LOCK``, ``PARAMS`` and ``CHANGES`` -> content, as far as there was any.
    """

    commit: str
    gaps: tuple[str, ...]
    libraries: Mapping[str, str]
    machine: str
    files: Mapping[str, bytes]

    @classmethod
    def of_here(cls, commit: str, gaps: Sequence[str], files: Mapping[str, bytes]) -> "Origin":
        """The origin of a model that was made by this process, or by one like it."""
        return cls(commit, tuple(gaps), libraries(), platform.machine(), files)

    def encoded(self) -> dict[str, bytes]:
        """File name -> content of all that is stored."""
        told = {"format": FORMAT, "commit": self.commit, "gaps": list(self.gaps)}
        told |= {"libraries": dict(self.libraries), "machine": self.machine}
        return {ABOUT: encode_json(told), **{name: content for name, content in self.files.items() if content}}


def libraries() -> dict[str, str]:
    """The versions of Python and of the libraries that the project asks for, as they are installed here."""
    found = {"python": platform.python_version()}
    for name in required(PROJECT, *EXTRAS):
        try:
            found[name] = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            continue
    return found


def required(distribution: str, *extras: str) -> list[str]:
    """The names of what an installed distribution asks for on this machine; none where it is not installed.

    Args:
        distribution: its name.
        extras: of it, whose requirements are given beside its own.
    """
    try:
        lines = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        return []
    asked = map(Requirement, lines)
    environments: list[dict[str, str | frozenset[str]]] = [{"extra": each} for each in ("", *extras)]
    return sorted({each.name.lower() for each in asked if _applies(each, environments)})


def load(folder: Path) -> Origin:
    """Read what is stored of a version.

    Raises:
        ArtifactError: there is nothing, or it is no origin.
    """
    if not (folder / ABOUT).is_file():
        raise ArtifactError("no origin is stored with it: it was registered before versions kept theirs")
    try:
        told: dict[str, Any] = json.loads(read_bytes(folder / ABOUT))
        if told["format"] != FORMAT:
            raise ValueError(f"format {told['format']!r} is not known; this version reads format {FORMAT}")
        files = {name: read_bytes(folder / name) for name in (LOCK, PARAMS, CHANGES) if (folder / name).is_file()}
        gaps, known = tuple(map(str, told["gaps"])), {str(k): str(v) for k, v in told["libraries"].items()}
        return Origin(str(told["commit"]), gaps, known, str(told["machine"]), files)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArtifactError(f"its {FOLDER}/{ABOUT} cannot be read ({error})") from error


def _applies(asked: Requirement, environments: Sequence[Mapping[str, Any]]) -> bool:
    return asked.marker is None or any(asked.marker.evaluate(dict(each)) for each in environments)
