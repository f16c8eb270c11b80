"""Makes the registry again where its database is lost: from the log of promotions, and the bundles that are kept here.

What can be made again are the versions that served and whose bundle lies in ``data/registered``, under the numbers that
they had. The log of promotions, which is signed, says which bundle each of them was. Runs, their metrics and versions
that never served are lost with the database; a backup has them.
"""

from pathlib import Path
from typing import Any

from pipeline.base.errors import ArtifactError, ConflictError
from pipeline.serving import champion, creating, manifest, own_model, registry
from pipeline.serving.manifest import HashedFolder
from pipeline.serving.registry import CANDIDATE, PREVIOUS
from pipeline.serving.trust import chain
from pipeline.serving.trust.adopting import adopt
from pipeline.tracking import store

RUN = "rebuilt"  # the name of the run that the versions belong to
GONE = "was not kept"


def rebuild() -> list[str]:
    """Make the registry of this project's model again; returns what was done, in sentences.

    Raises:
        ConflictError: the registry holds versions of the model.
        TrustError: the log of promotions was changed.
        ArtifactError: nothing is kept here from which a version could be made.
    """
    model, log = own_model.name(), chain.require()
    if held := registry.versions():
        raise ConflictError(
            f"the registry holds {len(held)} versions of the model {model!r}, so it is not lost; nothing was changed. "
            "If its database is damaged, move it away first"
        )
    served = {each.number: each.digest for each in log.served(model)}
    kept = {number: found for number, digest in served.items() if (found := _kept(number, digest))}
    if not kept:
        said = f"no version of the model {model!r} that served is kept under {champion.folder_of(0, '').parent}"
        raise ArtifactError(f"{said}; bring the database back from a backup, or train anew")
    done = [_registered(number, sealed) for number, sealed in _in_a_row(kept)]
    last, before = list(log.served(model))[-1].number, log.before(model, list(log.served(model))[-1].number)
    for number in sorted(kept, key=lambda each: each == last):  # the one that serves comes last
        done += adopt(str(number))
    return [*done, *_aliases(last, before, kept), *_lost(served, kept)]


def _kept(number: int, digest: str) -> HashedFolder | None:
    folder = champion.folder_of(number, digest)
    try:
        return manifest.load(folder, digest)
    except ArtifactError:
        return None


def _in_a_row(kept: dict[int, HashedFolder]) -> list[tuple[int, HashedFolder | None]]:
    """Each number from 1 on: MLflow gives numbers in this order, and signatures name them."""
    return [(number, kept.get(number)) for number in range(1, max(kept) + 1)]


def _registered(number: int, sealed: HashedFolder | None) -> str:
    """Make a version, or take up its number and remove it again; returns what was done."""
    client, model = store.client(), own_model.name()
    made = creating.create(client, sealed, _run(client), {}) if sealed else _placeholder(client, model)
    if made != number:
        raise ConflictError(
            f"the registry gave number {made} instead of {number}; move its database away, and try again"
        )
    if sealed:
        return f"version {number} of {model}: registered again, with today's code"
    client.delete_model_version(model, str(number))
    return f"version {number} of {model}: {GONE}, and its number is taken up"


def _placeholder(client: Any, model: str) -> int:
    creating.name_model(client)
    return int(client.create_model_version(model, str(Path(store.project_root()).resolve()), None).version)


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
