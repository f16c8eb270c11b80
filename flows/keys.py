"""The command ``keys``: who signs models and promotions, and whose signatures count here.

::

    flowsculpt keys list
    flowsculpt keys init [--name NAME] [--models-only]    make a key, if there is none here
    flowsculpt keys retire KEYID          from now on, what it signs does not count
    flowsculpt keys adopt VERSION         sign a champion from before, if the log of promotions knows its bundle
"""

import sys
from argparse import Namespace
from collections.abc import Sequence

from flows import arguments
from flows.runtime import program
from pipeline.tracking import quiet_tools


def main(given: Sequence[str] | None = None) -> int:
    """Manage keys from the command line; returns the exit code."""
    chosen = arguments.parse("keys", given)
    quiet_tools()
    return program.run("keys", lambda: done(chosen))


def done(chosen: Namespace) -> str:
    """Do what was asked for; returns what was done.

    Raises:
        TrustError: it is refused, with the reason.
        ArtifactError: there is no such version, or a file cannot be written.
    """
    if chosen.action == "init":
        return _made(chosen.name, not chosen.models_only)
    if chosen.action == "retire":
        from pipeline.serving.trust.retiring import retire

        return "\n".join(retire(chosen.keyid))
    if chosen.action == "adopt":
        from pipeline.serving.trust.adopting import adopt

        return "\n".join(adopt(chosen.version))
    return _listed()


def _made(name: str, promotes: bool) -> str:
    from pipeline.artifacts import paths
    from pipeline.serving.trust import keys, trusted

    key, is_new = keys.init(name, promotes)
    if not is_new:
        said = f"key {key.keyid[:12]} signs here already ({key.source})"
        if promotes or not trusted.find(key.keyid, trusted.load()).promotes:
            return said
        return f"{said}, and it promotes, too; take it away first, and this command makes another one"
    return f"key {key.keyid[:12]} is trusted here now; bring {paths.TRUSTED_KEYS} to each machine that scores"


def _listed() -> str:
    from pipeline.serving.trust import keys, trusted

    here, known = keys.present(), trusted.load()
    if not known:
        return "no key is trusted here; the first training makes one, and so does `flowsculpt keys init`"
    signing = here.keyid if here else ""
    lines = [
        f"{key.keyid[:12]}  {f'retired {key.retired.time}' if key.retired else f'since {key.since}':33}  {key.name}"
        f"{'' if key.promotes else '  (models only)'}{'  (signs here)' if key.keyid == signing else ''}"
        for key in known
    ]
    if here and signing not in {key.keyid for key in known}:
        lines.append(f"{signing[:12]}  is here ({here.source}) and not trusted: add it with `flowsculpt keys init`")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
