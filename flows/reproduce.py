"""The command ``reproduce``: make a version again, in a second clone, and compare both.

::

    flowsculpt reproduce [VERSION] [--rerun] [--push] [--other-libraries]

What is stored of the version says how it was made, and its signature covers that. The second clone gets the commit, the
changes to it, ``params.yaml`` and ``dvc.lock``; input and outputs come from the remote of DVC. Stages whose outputs are
not there run; with ``--rerun`` all of them do. It lies under ``.dvc/tmp``, and the working tree is left as it is.

The exit code is 0 where the same model came out, 3 where another one did, and 1 where it cannot be made here.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flows import arguments
from pipeline.base.errors import ArtifactError, ConfigError, FlowsculptError
from pipeline.tracking import quiet_tools

if TYPE_CHECKING:
    from flows.runtime.second_clone import SecondClone
    from pipeline.serving.manifest import HashedFolder
    from pipeline.serving.origin import Origin
    from pipeline.serving.version import Version

DIFFERS: Final = 3


def main(given: Sequence[str] | None = None) -> int:
    """Reproduce a version from the command line; returns the exit code."""
    chosen = arguments.parse("reproduce", given)
    quiet_tools()
    try:
        return reproduced(chosen)
    except FlowsculptError as error:
        print(f"reproduce: {error}", file=sys.stderr)
        return 1


def reproduced(chosen: Namespace) -> int:
    """Make a version again, or send what others need for that; prints what came out, and returns the exit code.

    Raises:
        TrustError: its signature does not count.
        ArtifactError: what is stored of it does not suffice, or the remote does not hold its input.
        ConfigError: this clone lacks the commit, a remote or the libraries.
        FlowsculptError: a stage fails.
    """
    from flows.runtime import second_clone
    from pipeline.serving.trust import origins

    version = _version(chosen.version)
    origin = origins.read(version)
    if origin.gaps:
        raise ArtifactError(f"{version}: cannot be made again: {'; '.join(origin.gaps)}")
    differs = [*_libraries(origin)]
    if differs and not (chosen.push or chosen.other_libraries):
        raise ConfigError(f"{version}: {'; '.join(differs)}; install them, or try with --other-libraries")
    print(f"{version}: {_described(origin)}", flush=True)
    with second_clone.opened(Path.cwd(), origin, _inputs(origin), _said) as clone:
        if chosen.push:
            return _pushed(version, clone)
        clone.pull(chosen.rerun)
        return _compared(version, clone.run(chosen.rerun), differs)


def _version(which: str) -> "Version":
    from flows import lineage
    from pipeline.base.errors import near_miss
    from pipeline.serving import loading, own_model, registry

    version = registry.find_version(which)
    if version is None:
        miss = "" if which in loading.ALIASES else near_miss(which, loading.ALIASES)
        raise ArtifactError(f"there is no version {which!r} of the model {own_model.name()!r}{miss}")
    if before := version.tags.get(lineage.RECALIBRATES):
        raise ArtifactError(
            f"{version}: is version {before} with thresholds that were fitted anew, on records that no remote holds; "
            f"`flowsculpt reproduce {before}` makes its model"
        )
    return version


def _inputs(origin: "Origin") -> dict[str, str]:
    import yaml

    from flows import lineage
    from pipeline.serving.origin import LOCK

    return lineage.inputs((yaml.safe_load(origin.files[LOCK]) or {}).get("stages", {}))


def _libraries(origin: "Origin") -> Iterator[str]:
    """Where libraries of this environment have other versions than they had; of Python, 3.11.2 is as good as 3.11.7."""
    from pipeline.serving import origin as origins

    here = origins.libraries()
    for name, version in origin.libraries.items():
        parts = 2 if name == "python" else None
        if here.get(name, "").split(".")[:parts] != version.split(".")[:parts]:
            yield f"it was made with {name} {version}, and here is {here.get(name, 'none')}"


def _described(origin: "Origin") -> str:
    from pipeline.serving.origin import CHANGES

    changes = origin.files.get(CHANGES, b"").count(b"\ndiff --git ") + (CHANGES in origin.files)
    changed = f"{changes} changed file{'s' if changes > 1 else ''}" if changes else "no changes"
    return f"commit {origin.commit[:12]} with {changed}, on {origin.machine}"


def _said(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


def _pushed(version: "Version", clone: "SecondClone") -> int:
    outside = clone.push()
    print(f"{version}: the remote {clone.remote} holds its outputs and its input")
    for path in outside:
        print(f"{path}: lies outside the project, so it was not sent; another clone needs it only with --rerun")
    return 0


def _compared(version: "Version", made: "HashedFolder", differs: Sequence[str]) -> int:
    from pipeline.serving import registry

    if made.digest == version.digest:
        print(f"{version}: the same model came out, digest {made.digest}")
        return 0
    print(f"{version}: another model came out, digest {made.digest[:12]}, and {version.digest[:12]} was registered")
    before = registry.stored(version)
    for line in [*_changed(before.hashes, made.hashes), *_changed(before.about, made.about), *differs]:
        print(f"  {line}")
    return DIFFERS


def _changed(before: Mapping[str, object], after: Mapping[str, object]) -> Iterator[str]:
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield f"{name} {'is new' if name not in before else 'is missing' if name not in after else 'differs'}"


if __name__ == "__main__":
    sys.exit(main())
