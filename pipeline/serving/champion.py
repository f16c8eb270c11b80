"""The versions that were served last, kept on the disk, so that records are judged though the registry is away.

::

    data/registered/NUMBER-DIGEST/    a bundle, as it was fetched and checked; see ``registry.fetch``
    data/registered/serving.json      model -> alias -> number, digest, tags and the run of the version that has it

Whoever moves an alias in this project notes that here, and so does whoever learnt from the registry which version has
one. The digest of the bundle is compared each time that it is loaded. Nothing of MLflow is needed for that.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, write_json
from pipeline.base import escaping
from pipeline.base.errors import ArtifactError
from pipeline.serving.version import Version
from pipeline.tracking import store

LOG: Final = escaping.log("flowsculpt")
POINTER: Final = "serving.json"
GATE_TIME: Final = "flowsculpt.gate.time"  # the tag of a version that says when the gate decided on it


def folder_of(number: int, digest: str) -> Path:
    """Where the bundle of a version is kept, if it is."""
    return _room() / f"{number}-{digest[:16]}"


def known(model: str, which: str) -> Mapping[str, Any] | None:
    """What was noted last of the version that has an alias or a number; None where nothing was."""
    aliases = _aliases(model)
    by_number = (about for about in aliases.values() if str(about["number"]) == which)
    return aliases.get(which) or next(by_number, None)


def keep(version: Version, alias: str) -> bool:
    """Note which version has an alias now; returns whether that is news.

    A disk that takes no notes keeps nobody from his work.
    """
    about = {name: getattr(version, name) for name in ("number", "digest", "run_id")} | {"tags": dict(version.tags)}
    model, aliases = version.model, _aliases(version.model)
    if aliases.get(alias) == about:
        return False
    try:
        write_json(_room() / POINTER, {**_pointer(), model: {**aliases, alias: about}})
    except ArtifactError as error:
        LOG.warning("%s", error)
        return False
    return True


def _room() -> Path:
    return store.project_root() / paths.REGISTERED


def _aliases(model: str) -> dict[str, dict[str, Any]]:
    """Alias -> what was noted of the version that has it; a note that is not whole is none."""
    found = _pointer().get(model)
    return {alias: about for alias, about in found.items() if _is_whole(about)} if isinstance(found, dict) else {}


def _is_whole(about: Any) -> bool:
    if not isinstance(about, dict):
        return False
    kinds = {"number": int, "digest": str, "run_id": str, "tags": dict}
    return all(isinstance(about.get(name), kind) for name, kind in kinds.items())


def _pointer() -> dict[str, Any]:
    with suppress(ArtifactError):  # absent, or not whole: the registry says it anew
        found = read_json(_room() / POINTER)
        return found if isinstance(found, dict) else {}
    return {}
