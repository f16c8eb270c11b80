"""The command ``verify``: is a version what was signed, and may it serve?

::

    flowsculpt verify [VERSION]

Each line is a check and what it found. What is stored of the version is read and compared, and none of its code runs.
The installed code asks the model about its canaries. The exit code is 0 where all is as it was signed, 3 where
something is not, and 1 where there is no such version.
"""

import sys
from collections.abc import Sequence

from flows import arguments
from pipeline.base.errors import FlowsculptError
from pipeline.base.escaping import printable
from pipeline.tracking import quiet_tools

DIFFERS = 3


def main(given: Sequence[str] | None = None) -> int:
    """Verify a version from the command line; returns the exit code."""
    chosen = arguments.parse("verify", given)
    quiet_tools()
    try:
        return verify(chosen.version)
    except FlowsculptError as error:
        print(f"verify: {error}", file=sys.stderr)
        return 1


def verify(which: str) -> int:
    """Print what each check finds; returns the exit code.

    Raises:
        ArtifactError: there is no such version.
    """
    from pipeline.base.errors import ArtifactError, near_miss
    from pipeline.serving import loading, own_model, registry
    from pipeline.serving.trust import checks

    version = registry.find_version(which)
    if version is None:
        miss = "" if which in loading.ALIASES else near_miss(which, loading.ALIASES)
        raise ArtifactError(f"there is no version {which!r} of the model {own_model.name()!r}{miss}")
    found = checks.of(version)
    width = max(len(each.name) for each in found)
    for each in found:
        print(printable(f"{'ok' if each.is_ok else 'NOT OK':6}  {each.name:{width}}  {each.found}"))
    bad = ", ".join(each.name for each in found if not each.is_ok)
    aliases = f" ({', '.join(version.aliases)})" if version.aliases else ""
    print(f"{version}{aliases}: {f'do not trust it: {bad}' if bad else 'is what was signed'}")
    return DIFFERS if bad else 0


if __name__ == "__main__":
    sys.exit(main())
