"""Makes the registry again where its database is lost: from the log of promotions, and the bundles that are kept here.

What can be made again are the versions that served and whose bundle lies in ``data/registered``, under the numbers that
they had. The log of promotions, which is signed, says which bundle each of them was. Runs, their metrics and versions
that never served are lost with the database; a backup has them.
"""

from typing import Any, Final

from pipeline.base.errors import ArtifactError, ConflictError
from pipeline.serving import champion, creating, manifest, own_model, registry
from pipeline.serving.manifest import HashedFolder
from pipeline.serving.registry import CANDIDATE, PREVIOUS
from pipeline.serving.trust import chain, keys
from pipeline.serving.trust.adopting import adopt
from pipeline.serving.version import Version
from pipeline.tracking import store

RUN: Final = "rebuilt"  # the name of the run that the versions belong to
GONE: Final = "flowsculpt.gone"  # the tag of a version that only takes up a number


def rebuild() -> list[str]:
    """Make the registry of this project's model again; returns what was done, in sentences.

    Where it was interrupted, the next call goes on.

    Raises:
        ConflictError: the registry holds versions that this did not make.
        TrustError: the log of promotions was changed, or the key here signs no promotions.
        ArtifactError: nothing is kept here from which a version could be made.
    """
    keys.require_promoter()
    model, log, client = own_model.name(), chain.require(), store.client()
    run, served = _run(client), {each.number: each.digest for each in log.served(model)}
    kept = {number: found for number, digest in served.items() if (found := _kept(number, digest))}
    held = {version.number: version for version in registry.versions()}
    foreign = [each for each in held.values() if each.run_id not in ("", run) or served.get(each.number) != each.digest]
    if foreign and not all(_is_placeholder(each) for each in foreign):
        raise ConflictError(
            f"the registry holds {len(held)} versions of the model {model!r}, so it is not lost; nothing was changed. "
            "If its database is damaged, move it away first"
        )
    if not kept:
        said = f"no version of the model {model!r} that served is kept under {champion.folder_of(0, '').parent}"
        raise ArtifactError(f"{said}; bring the database back from a backup, or train anew")
    done = [_made(client, run, number, kept.get(number)) for number in range(1, max(served) + 1) if number not in held]
    for each in filter(_is_placeholder, held.values()):
        client.delete_model_version(model, str(each.number))
    last = log.served(model)[-1].number
    for number in sorted(kept, key=lambda each: each == last):  # the one that serves comes last
        done += adopt(str(number))
    return [*filter(None, done), *_aliases(last, log.before(model, last), kept), *_lost(served, kept)]


def _kept(number: int, digest: str) -> HashedFolder | None:
    folder = champion.folder_of(number, digest)
    try:
        return manifest.load(folder, digest)
    except ArtifactError:
        return None


def _made(client: Any, run: str, number: int, sealed: HashedFolder | None) -> str:
    """Make a version, or take up its number and remove it again: MLflow counts, and signatures name numbers."""
    model = own_model.name()
    if sealed is None:
        creating.name_model(client)
        made = client.create_model_version(model, str(store.project_root()), None, {GONE: "true"}).version
        client.delete_model_version(model, str(made))
        # A number that an interrupted call has taken up is no longer given.
        return f"version {number} of {model}: was not kept, and its number is taken up" if int(made) == number else ""
    made = creating.create(client, sealed, run, {})
    if int(made) != number:
        client.delete_model_version(model, str(made))
        raise ConflictError(
            f"the registry gave number {made} instead of {number}; move its database away, and try again"
        )
    return f"version {number} of {model}: registered again, with today's code"


def _is_placeholder(version: Version) -> bool:
    return GONE in version.tags


def _run(client: Any) -> str:
    """The run that all of these versions belong to."""
    found = client.search_runs([store.experiment()], f"attributes.run_name = '{RUN}'")
    run = found[0] if found else client.create_run(store.experiment(), run_name=RUN)
    client.set_terminated(run.info.run_id)
    return str(run.info.run_id)


def _aliases(last: int, before: int | None, kept: dict[int, HashedFolder]) -> list[str]:
    client, model = store.client(), own_model.name()
    wanted = {CANDIDATE: last if last in kept else max(kept), PREVIOUS: before}
    for alias, number in wanted.items():
        if number in kept:
            client.set_registered_model_alias(model, alias, str(number))
    return [f"version {number}: has the alias {alias}" for alias, number in wanted.items() if number in kept]


def _lost(served: dict[int, str], kept: dict[int, HashedFolder]) -> list[str]:
    gone = sorted(served.keys() - kept.keys())
    if not gone:
        return []
    numbers = ", ".join(map(str, gone))
    return [f"lost: versions {numbers}, which served and are not kept here; a backup may have them"]
