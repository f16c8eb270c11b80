"""The model at hand: the version of the registry that has an alias or a number, checked and ready to score.

Which version that is, in this order:

1. The registry is asked each time, without MLflow: a SQLite store and a server both answer in milliseconds; see
   ``tracking.direct``. So a promotion or a rollback counts from the next call on, whoever made it, here or elsewhere.
2. Where the store can only be asked by MLflow, MLflow is asked.
3. Where nobody answers, the version serves that had the alias when the registry last answered, or when this project
   last moved it. A warning says so.

Neither the registry nor the note is believed: ``trust.verification`` says what must be signed of a version before it is
served. The bundle comes from ``data/registered``, where it was put when it was first fetched, and is fetched by MLflow
where it is not there or not whole. Its digest is compared with the signed one each time, before anything is parsed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.base import escaping
from pipeline.base.errors import ArtifactError, TrustError, near_miss
from pipeline.serving import champion, manifest, own_model, registry
from pipeline.serving.bundle import Bundle
from pipeline.serving.creating import DIGEST
from pipeline.serving.registry import CANDIDATE, CHAMPION, PREVIOUS
from pipeline.serving.trust import verification
from pipeline.serving.version import Version
from pipeline.tracking import direct
from pipeline.tracking.direct import Registered

LOG: Final = escaping.log("flowsculpt")
WITHIN: Final = ("", "artifacts/bundle")  # where a bundle lies: the folder itself, or a model as MLflow stores it
ALIASES: Final = (CANDIDATE, CHAMPION, PREVIOUS)


def load(alias: str = CHAMPION, device: str = "cpu", model: str = "") -> tuple[Version, Bundle]:
    """The version that has an alias or a number now, and its model on a device.

    Args:
        alias: of the version, or its number.
        device: where it is to score: ``cpu``, ``cuda`` or ``cuda:1``.
        model: its name in the registry; "": that of this project.

    Raises:
        TrustError: its signature, or the decision that made it serve, does not count.
        ArtifactError: there is none, or its files are not those that were registered.
    """
    version = find(alias, model)
    if version is None:
        raise ArtifactError(_absent(alias, model))
    return version, bundle_of(version, device)


def anywhere(where: str | Path = CHAMPION, device: str = "cpu", model: str = "") -> Bundle:
    """A model of a folder, or of the registry.

    Args:
        where: a folder with a bundle, or with a model as MLflow stores it; else an alias or the number of a version.
        device: where it is to score: ``cpu``, ``cuda`` or ``cuda:1``.
        model: its name in the registry; "": that of this project.

    Raises:
        TrustError: its signature, or the decision that made it serve, does not count.
        ArtifactError: there is none, or a byte of it has changed.
    """
    for folder in (Path(where) / place for place in WITHIN):
        if (folder / manifest.MANIFEST).is_file():
            return Bundle.load(folder, device)
    if isinstance(where, Path) or Path(where).is_dir():
        raise ArtifactError(f"{where}: holds no model; a folder that holds {manifest.MANIFEST} is expected")
    return load(where, device, model)[1]


def find(alias: str = CHAMPION, model: str = "") -> Version | None:
    """The version that has an alias or a number now; None where there is none. See the head of this module.

    Raises:
        TrustError: its signature, or the decision that made it serve, does not count.
        ArtifactError: nobody answers, and nothing is noted of it.
    """
    name = model or own_model.name()
    found = direct.ask(name, alias)
    if isinstance(found, Registered):
        version = Version(found.number, found.run_id, found.tags.get(DIGEST, ""), found.tags, found.aliases, name)
        try:
            verification.require(version, alias)
        except TrustError:
            if direct.ask(name, alias) == found:
                raise
            return find(alias, model)  # an alias was moved meanwhile, and the answer was older than the note of that
        is_news = alias in ALIASES and champion.keep(version, alias)
        return find(alias, model) if is_news else version  # a rollback meanwhile may have been noted before this was
    if found is None or (asked := _elsewhere(model, alias, found == "away")) is None:
        return None
    verification.require(asked, alias)
    return asked


def _elsewhere(model: str, alias: str, is_away: bool) -> Version | None:
    """What is noted, where nobody answers; what MLflow says, where the store is asked by MLflow alone."""
    name = model or own_model.name()
    if is_away and (about := champion.known(name, alias)) is not None:
        LOG.warning(
            "the registry is away: version %d serves, which was %s when it last answered", about["number"], alias
        )
        return _noted(name, alias, about)
    named = {"model": model} if model else {}
    return registry.find_version(int(alias) if alias.isdecimal() else alias, **named)


def bundle_of(version: Version, device: str = "cpu") -> Bundle:
    """The model of a version: from the disk where it is kept there whole, else from the registry.

    Raises:
        TrustError: its signature does not count, or its files are not those that were signed.
        ArtifactError: its files are nowhere.
    """
    digest = verification.model_of(version).digest
    return _kept(version, device) or Bundle.load(registry.fetch(version), device, digest)


def _kept(version: Version, device: str) -> Bundle | None:
    folder = champion.folder_of(version.number, version.digest)
    if not folder.is_dir():
        return None
    try:
        return Bundle.load(folder, device, version.digest)
    except ArtifactError as error:
        LOG.warning("%s; it is fetched again", error)
        return None


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
