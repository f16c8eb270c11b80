"""The model at hand: the version of the registry that has an alias or a number, checked and ready to score."""

from pipeline.base.errors import ArtifactError, near_miss
from pipeline.serving import own_model, registry
from pipeline.serving.bundle import Bundle
from pipeline.serving.registry import CANDIDATE, CHAMPION, PREVIOUS, Version


def load(alias: str = CHAMPION, device: str = "cpu", model: str = "") -> tuple[Version, Bundle]:
    """The version that has an alias or a number now, and its model on a device.

    Args:
        alias: of the version, or its number.
        device: where it is to score: ``cpu``, ``cuda`` or ``cuda:1``.
        model: its name in the registry; "": that of this project.

    Raises:
        ArtifactError: there is none, or its files are not those that were registered.
    """
    named = {"model": model} if model else {}
    version = registry.find_version(int(alias) if alias.isdecimal() else alias, **named)
    if version is None:
        raise ArtifactError(_absent(alias, model))
    bundle = Bundle.load(registry.fetch(version), device)
    if bundle.digest != version.digest:
        raise ArtifactError(f"{version}: its files are not those that were registered; roll back")
    return version, bundle


def _absent(alias: str, model: str) -> str:
    """What is missing, and the next step towards it."""
    name = model or own_model.name()
    known = (CANDIDATE, CHAMPION, PREVIOUS)
    miss = "" if alias in known else near_miss(alias, known)
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
