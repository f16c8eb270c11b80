"""The model at hand: the version of the registry that has an alias or a number, checked and ready to score.

Which version that is, in this order:

1. The registry is asked each time, without MLflow: a SQLite store and a server both answer in milliseconds; see
   ``tracking.direct``. So a promotion or a rollback counts from the next call on, whoever made it, here or elsewhere.
2. Where the store can only be asked by MLflow, MLflow is asked.
3. Where nobody answers, the version serves that had the alias when the registry last answered, or when this project
   last moved it. A warning says so.

The bundle comes from ``data/registered``, where it was put when it was first fetched, and is fetched by MLflow where it
is not there or not whole. Its digest is compared with that of the registry, or of the note, each time.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

from pipeline.base.errors import ArtifactError, near_miss
from pipeline.serving import champion, own_model, registry
from pipeline.serving.bundle import Bundle
from pipeline.serving.registry import CANDIDATE, CHAMPION, DIGEST, PREVIOUS
from pipeline.serving.version import Version
from pipeline.tracking import direct
from pipeline.tracking.direct import Registered

LOG: Final = logging.getLogger("flowsculpt")
ALIASES: Final = (CANDIDATE, CHAMPION, PREVIOUS)


def load(alias: str = CHAMPION, device: str = "cpu", model: str = "") -> tuple[Version, Bundle]:
    """The version that has an alias or a number now, and its model on a device.

    Args:
        alias: of the version, or its number.
        device: where it is to score: ``cpu``, ``cuda`` or ``cuda:1``.
        model: its name in the registry; "": that of this project.

    Raises:
        ArtifactError: there is none, or its files are not those that were registered.
    """
    version = find(alias, model)
    if version is None:
        raise ArtifactError(_absent(alias, model))
    return version, bundle_of(version, device)


def find(alias: str = CHAMPION, model: str = "") -> Version | None:
    """The version that has an alias or a number now; None where there is none. See the head of this module.

    Raises:
        ArtifactError: nobody answers, and nothing is noted of it.
    """
    name = model or own_model.name()
    found = direct.ask(name, alias)
    if isinstance(found, Registered):
        version = Version(found.number, found.run_id, found.tags.get(DIGEST, ""), found.tags, found.aliases, name)
        is_news = alias in ALIASES and champion.keep(version, alias)
        return find(alias, model) if is_news else version  # a rollback meanwhile may have been noted before this was
    if found == "away" and (about := champion.known(name, alias)) is not None:
        LOG.warning(
            "the registry is away: version %d serves, which was %s when it last answered", about["number"], alias
        )
        return _noted(name, alias, about)
    if found is None:
        return None
    named = {"model": model} if model else {}
    return registry.find_version(int(alias) if alias.isdecimal() else alias, **named)


def bundle_of(version: Version, device: str = "cpu") -> Bundle:
    """The model of a version: from the disk where it is kept there whole, else from the registry.

    Raises:
        ArtifactError: its files are not those that were registered, or they are nowhere.
    """
    bundle = _kept(version, device) or Bundle.load(registry.fetch(version), device)
    if bundle.digest != version.digest:
        raise ArtifactError(f"{version}: its files are not those that were registered; roll back")
    return bundle


def _kept(version: Version, device: str) -> Bundle | None:
    folder = champion.folder_of(version.number, version.digest)
    if not folder.is_dir():
        return None
    try:
        bundle = Bundle.load(folder, device)
    except ArtifactError as error:
        LOG.warning("%s; it is fetched again", error)
        return None
    return bundle if bundle.digest == version.digest else None


def _noted(model: str, alias: str, about: Mapping[str, Any]) -> Version:
    aliases = () if alias.isdecimal() else (alias,)
    return Version(int(about["number"]), about["run_id"], about["digest"], about["tags"], aliases, model)


def _absent(alias: str, model: str) -> str:
    """What is missing, and the next step towards it."""
    name = model or own_model.name()
    miss = "" if alias in ALIASES else near_miss(alias, ALIASES)
    missing = f"no version {alias!r} of the model {name!r}{miss}"
    if name != own_model.name():
        return missing
    candidate = registry.find_version(CANDIDATE) if alias == CHAMPION else None
    if candidate is None:
        return f"{missing}; train one and promote it first: flowsculpt train --promote"
    return (
        f"{missing}; version {candidate.number} is the {CANDIDATE}: promote it with `flowsculpt promote`, or name it "
        f"with --alias {CANDIDATE}"
    )
