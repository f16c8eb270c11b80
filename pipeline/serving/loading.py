"""The model at hand: the version of the registry that has an alias or a number, checked and ready to score."""

from pipeline.base.errors import ArtifactError, near_miss
from pipeline.serving import registry
from pipeline.serving.bundle import Bundle
from pipeline.serving.registry import CANDIDATE, CHAMPION, PREVIOUS, Version


def load(alias: str = CHAMPION, device: str = "cpu") -> tuple[Version, Bundle]:
    """The version that has an alias or a number now, and its model on a device.

    Raises:
        ArtifactError: there is none, or its files are not those that were registered.
    """
    version = registry.find_version(int(alias) if alias.isdecimal() else alias)
    if version is None:
        raise ArtifactError(_absent(alias))
    bundle = Bundle.load(registry.fetch(version), device)
    if bundle.digest != version.digest:
        raise ArtifactError(f"version {version.number}: its files are not those that were registered; roll back")
    return version, bundle


def _absent(alias: str) -> str:
    """What is missing, and the next step towards it."""
    missing = f"no version {alias!r} of the model {registry.MODEL!r}{near_miss(alias, (CANDIDATE, CHAMPION, PREVIOUS))}"
    candidate = registry.find_version(CANDIDATE) if alias == CHAMPION else None
    if candidate is None:
        return f"{missing}; train one and promote it first: flowsculpt train --promote"
    return (
        f"{missing}; version {candidate.number} is the {CANDIDATE}: promote it with `flowsculpt promote`, or name it "
        f"with --alias {CANDIDATE}"
    )
