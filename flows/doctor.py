"""What keeps the project from running here, and what to do about it.

::

    python -m flows.doctor [--rebuild | --relocate]

It looks at Python and its packages, the folder, git, DVC, the stores, the keys, the servers and the GPUs. It changes
nothing and asks no other machine. The exit code is 1 where something blocks a run, else 0.

With ``--rebuild`` it makes the registry of this project's model again, where its database is lost; see
``pipeline.serving.rebuilding``. With ``--relocate`` the store of a project whose folder was moved names the new folder;
see ``pipeline.tracking.places``.
"""

import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from flows import arguments
from flows.runtime.health.finding import Finding, blocks
from pipeline.base import escaping

OLDEST = (3, 11)
NEEDED = ("params.yaml", "dvc.yaml")  # the second one where models are trained


def examine(root: Path) -> Iterator[Finding]:
    """All findings, in the order in which a person would mend them.

    Args:
        root: the project's folder.
    """
    from flows.runtime.health import environment, folder, stores, trust

    yield from environment.python()
    yield from environment.packages(root)
    trains, orchestrates = (find_spec(name) is not None for name in ("dvc", "prefect"))
    if absent := [name for name in NEEDED[: 1 + trains] if not (root / name).is_file()]:
        yield blocks(f"{root} is not a project: there is no {' and no '.join(absent)}", _home(root))
        return
    yield from environment.code(root)
    yield from folder.rights(root)
    if trains:
        yield from folder.settings(root)
        yield from folder.git(root)
        yield from folder.dvc(root)
    yield from stores.names()
    if trains:
        yield from stores.mlflow(root)
    yield from trust.signatures()
    if orchestrates:
        yield from stores.prefect(root)
        yield from stores.servers(root)
    yield from environment.gpus()


def _home(root: Path) -> str:
    from flows.runtime.health import folder
    from flows.runtime.working_copy import dvc_folder
    from pipeline.base.errors import ConfigError

    try:
        return f"go to {dvc_folder(root).parent.resolve()} and try again"
    except ConfigError:
        return folder.HERE


def text(findings: Sequence[Finding]) -> str:
    """A line for each finding, its remedy below it, and the sum."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:7} {finding.text}")
        lines += [f"        -> {finding.remedy}"] if finding.remedy else []
    bad = sum(finding.level == "blocks" for finding in findings)
    return "\n".join([*lines, f"{bad} block a run" if bad > 1 else "1 blocks a run" if bad else "nothing blocks a run"])


def too_old(version: Sequence[int]) -> str | None:
    """What to do about a Python that the project does not run on; None for one that it does."""
    if tuple(version) >= OLDEST:
        return None
    shown = ".".join(map(str, version))
    return f"blocks  Python {shown} is older than 3.11: make .venv with a newer one: make run PYTHON=python3.12"


def main(given: Sequence[str] | None = None) -> int:
    """Print the findings; returns the exit code.

    The checks themselves need packages. Where one is absent, or Python is too old to import them, one line says so.
    """
    chosen = arguments.parse("doctor", given)
    if fault := too_old(sys.version_info[:3]):
        print(fault)
        return 1
    try:
        from pipeline.tracking import quiet_tools

        quiet_tools()
        if chosen.rebuild:
            return _rebuilt()
        if chosen.relocate:
            return _relocated(Path.cwd())
        findings = list(examine(Path.cwd()))
    except ModuleNotFoundError as error:
        print(f"blocks  package {error.name} is not installed: run `.ci/install '.[all]'`")
        return 1
    print(escaping.lines(text(findings)))
    return int(any(finding.level == "blocks" for finding in findings))


def _rebuilt() -> int:
    from flows.runtime import program
    from pipeline.serving import rebuilding

    return program.run("doctor", lambda: "\n".join(rebuilding.rebuild()))


def _relocated(root: Path) -> int:
    from flows.runtime import program, reach
    from flows.runtime.health.stores import prefect_home
    from pipeline import tracking
    from pipeline.base.errors import ConfigError
    from pipeline.tracking import places

    def done() -> str:
        uri = tracking.tracking_uri()
        if not uri.startswith("sqlite:///"):
            raise ConfigError(f"{uri} is no file of this project; whoever runs that store says where its files lie")
        if reach.served(prefect_home(root)):
            raise ConfigError("`make serve` runs in this project; end it first")
        database = Path(uri.removeprefix("sqlite:///"))
        return "\n".join(places.relocate(root, database, tracking.project_names().experiment))

    return program.run("doctor", done)


if __name__ == "__main__":
    sys.exit(main())
