"""The model registry: versions of this project's model, and its aliases ``candidate``, ``champion`` and ``previous``.

A version is an MLflow pyfunc, see ``packaging``. Its tags say where it comes from::

    flowsculpt.digest      of the bundle: equal digests, the same model
    flowsculpt.made_again  the last run that made the same model again
    flowsculpt.signature   flowsculpt.promotion    what was signed of it, see ``trust.statements``
    flowsculpt.dataset     flowsculpt.flow_run     flowsculpt.git_commit     flowsculpt.libraries     what else is given

Aliases change under a lock of this project's folder and in an order in which each names a version at every moment.
"""

import fcntl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.base import durable
from pipeline.base.errors import ArtifactError, ConflictError
from pipeline.base.escaping import printable
from pipeline.serving import champion as champions
from pipeline.serving import creating, manifest, own_model, packaging
from pipeline.serving.creating import DIGEST
from pipeline.serving.manifest import HashedFolder
from pipeline.serving.origin import Origin
from pipeline.serving.trust import chain, signing, verification
from pipeline.serving.trust.statements import PROMOTION
from pipeline.serving.version import Version
from pipeline.tracking import operations, outbox, store
from pipeline.tracking.retention import MADE_AGAIN

CANDIDATE, CHAMPION, PREVIOUS = "candidate", "champion", "previous"
VERSION = "flowsculpt.version"
LOCK = "mlflow.db.registry.lock"


def register(
    folder: Path, run_id: str, tags: Mapping[str, str], about: str = "", origin: Origin | None = None
) -> Version:
    """Give a saved bundle a version of the model, under the alias ``candidate``.

    The same bundle a second time gets the version that is there, if what is stored of it is sound: a run that changed
    nothing made the same model. Run and version then name each other. What else that version is stays as it is: the
    champion is ``candidate`` and ``champion``, and one that was rolled back keeps its tag. A new version is signed.

    Args:
        folder: a saved ``Bundle``.
        run_id: the pipeline run that made it.
        tags: what else is to be written on it.
        about: what its page says of it to people.
        origin: where it comes from, which is stored beside a new version.

    Raises:
        ArtifactError: the folder is no sound bundle.
        TrustError: there is no key to sign it with.
    """
    sealed, client = manifest.load(folder), store.client()
    outbox.deliver()  # the run may have been opened while the store was away
    run_id = operations.resolve(run_id)
    with _locked():
        found = _registered(sealed.digest)
        number = found.number if found else creating.create(client, sealed, run_id, tags, about, origin)
        if found and found.run_id != run_id:
            _link(client, found, run_id)
        client.set_registered_model_alias(own_model.name(), CANDIDATE, str(number))
    return _require(number)


def versions(model: str = "") -> list[Version]:
    """All versions of a model, the newest first; "": of this project's."""
    name = model or own_model.name()
    listed = store.client().search_model_versions(f"name = '{name}'", order_by=["version_number DESC"])
    aliases = _aliases(name)
    return [_version(each, aliases) for each in listed]


def find_version(which: str | int, model: str = "") -> Version | None:
    """The version of a model that has an alias or a number, None where there is none; "": of this project's model."""
    name = model or own_model.name()
    number = _aliases(name).get(str(which), str(which))
    return next((each for each in versions(name) if str(each.number) == number), None)


def fetch(version: Version) -> Path:
    """The bundle of a version, as a local folder that ``Bundle.load`` reads.

    It is downloaded each time, and compared with the digest that was signed, before anything of it is parsed.

    Raises:
        TrustError: the signature of the version does not count, or the store holds another bundle.
        ArtifactError: the store does not hold it, or holds something else.
    """
    target = champions.folder_of(version.number, version.digest)
    verification.model_of(version)
    sealed = stored(version)
    with _locked():  # another process may fetch the same version
        if not manifest.holds(target, sealed):
            sealed.save(target)
    return target


def promote(candidate: Version, champion: Version | None) -> Version:
    """Let ``candidate`` take the place of ``champion``, which becomes ``previous``. Returns what serves now.

    It is signed before an alias moves, so that the champion counts at every moment.

    Args:
        candidate: what is to serve.
        champion: what served when that was decided, None for nothing.

    Raises:
        TrustError: the candidate's signature does not count, or there is no key to sign with.
        ConflictError: something else serves by now, or the candidate is gone or serves already.
    """
    client, model = store.client(), candidate.model
    with _locked():
        aliases, expected = _aliases(model), str(champion.number) if champion else None
        if aliases.get(CHAMPION) != expected:
            raise ConflictError(
                f"{_numbered(aliases.get(CHAMPION))} is {CHAMPION} by now, no longer {_numbered(expected)}, against "
                f"which version {candidate.number} was tested; test it again"
            )
        if expected == str(candidate.number):
            raise ConflictError(f"version {candidate.number} is {CHAMPION} already")
        sign_decision(_require(candidate.number, model))
        if expected:
            client.set_registered_model_alias(model, PREVIOUS, expected)
            champions.keep(_require(int(expected), model), PREVIOUS)
        client.set_registered_model_alias(model, CHAMPION, str(candidate.number))
        promoted = _require(candidate.number, model)
        champions.keep(promoted, CHAMPION)
    return promoted


def sign_decision(version: Version) -> None:
    """Sign that a version is made to serve.

    Raises:
        TrustError: its own signature does not count, there is no key to sign with, or the log was changed.
    """
    verification.model_of(version)
    signed = signing.promotion(version, versions(version.model))
    store.client().set_model_version_tag(version.model, str(version.number), PROMOTION, signed)


def rollback() -> Version:
    """Let ``previous`` serve again; what served becomes ``previous``. Returns what serves now.

    Raises:
        ConflictError: there is nothing to go back to.
        TrustError: what has the alias did not serve before, or there is no key to sign with.
    """
    client, model = store.client(), own_model.name()
    with _locked():
        champion, previous = map(_aliases(model).get, (CHAMPION, PREVIOUS))  # the same where this was interrupted
        if champion and previous == champion and (replaced := chain.require().before(model, int(champion))):
            client.set_registered_model_alias(model, PREVIOUS, str(replaced))
            champions.keep(_require(replaced), PREVIOUS)
            return _require(int(champion))
        if previous is None or previous == champion:
            raise ConflictError(f"there is no version to go back to: {PREVIOUS} is {_numbered(previous)}")
        back = _require(int(previous))
        verification.require_previous(back, find_version(champion) if champion else None)
        sign_decision(back)
        client.set_registered_model_alias(model, CHAMPION, previous)
        if champion:
            client.set_registered_model_alias(model, PREVIOUS, champion)
        restored = _require(int(previous))
        champions.keep(restored, CHAMPION)
        if champion and (left := find_version(champion)):
            champions.keep(left, PREVIOUS)
    return restored


def note(
    version: Version, tags: Mapping[str, str], files: Mapping[str, str], metrics: Mapping[str, float] | None = None
) -> None:
    """Write tags on a version, and texts and metrics beside the run that made it, under ``versions/<number>/``."""
    client = store.client()
    for name, text in files.items():
        client.log_text(version.run_id, text, f"versions/{version.number}/{name}")
    for name, figure in (metrics or {}).items():
        client.log_metric(version.run_id, f"versions/{version.number}/{name}", figure)
    for name, value in tags.items():
        client.set_model_version_tag(version.model, str(version.number), name, printable(value))


# What a version is made of.


def _registered(digest: str) -> Version | None:
    """The version of a bundle that is there: the one that serves or did, else the newest; None where none is sound."""
    same = sorted((each for each in versions() if each.digest == digest), key=_rank)
    return next((each for each in same if _is_sound(each)), None)


def _rank(version: Version) -> tuple[bool, bool, int]:
    return CHAMPION not in version.aliases, PREVIOUS not in version.aliases, -version.number


def _is_sound(version: Version) -> bool:
    try:
        verification.model_of(version)
        return stored(version).digest == version.digest
    except ArtifactError:
        return False


def _link(client: Any, version: Version, run_id: str) -> None:
    """Let a run and the version that it made again name each other."""
    source = client.get_model_version(version.model, str(version.number)).source
    outputs = client.get_run(version.run_id).outputs.model_outputs
    same = [each for each in outputs if client.get_logged_model(each.model_id).artifact_location == source]
    client.log_outputs(run_id, same)
    client.set_tag(run_id, VERSION, str(version.number))
    client.set_model_version_tag(version.model, str(version.number), MADE_AGAIN, run_id)


# What the registry says.


def _aliases(model: str) -> dict[str, str]:
    """Alias -> number, of all those of a model at one moment."""
    found = store.client().search_registered_models(f"name = '{model}'")
    return {alias: str(number) for alias, number in found[0].aliases.items()} if found else {}


def _version(found: Any, aliases: Mapping[str, str]) -> Version:
    tags, number = dict(found.tags), str(found.version)
    known = tuple(sorted(alias for alias, named in aliases.items() if named == number))
    return Version(int(number), found.run_id or "", tags.get(DIGEST, ""), tags, known, found.name)


def _require(number: int, model: str = "") -> Version:
    found = find_version(number, model)
    if found is None:
        raise ConflictError(f"version {number} of {model or own_model.name()} is gone from the registry")
    return found


def _numbered(number: str | None) -> str:
    return f"version {number}" if number else "no version"


@contextmanager
def _locked() -> Iterator[None]:
    """One process of this machine at a time changes the registry from this project."""
    with durable.lock_file(store.project_root() / LOCK) as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # let go with the file, whatever ends the process
        yield


def stored(version: Version) -> HashedFolder:
    """What the store holds of a version.

    Raises:
        ArtifactError: it does not hold it, or holds something else.
    """
    with tempfile.TemporaryDirectory() as folder:
        downloaded = packaging.download(version.model, version.number, Path(folder))
        try:
            return manifest.load(downloaded, version.digest)
        except ArtifactError as error:
            told = str(error).replace(f"{downloaded}/", "")
            raise type(error)(f"version {version.number} of {version.model}: {told}") from error
