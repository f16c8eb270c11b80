"""The databases of MLflow and Prefect, and the servers on top of them."""

import os
import re
import sqlite3
import tomllib
from collections.abc import Iterator
from contextlib import closing, suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from flows.runtime import reach
from flows.runtime.health.finding import Finding, blocks, note, ok
from pipeline import tracking
from pipeline.base.errors import ConfigError
from pipeline.base.secrets import hidden
from pipeline.tracking import places

MLFLOW_MIGRATIONS, PREFECT_MIGRATIONS = "store/db_migrations/versions", "server/database/_migrations/versions/sqlite"

_REVISION = re.compile(r"^revision\b[^=]*=\s*[\"'](\w+)", re.MULTILINE)
_PARENT = re.compile(r"^down_revision\b[^=]*=\s*[\"'](\w+)", re.MULTILINE)


def mlflow(root: Path) -> Iterator[Finding]:
    """The store of the runs: whether it opens, fits MLflow, and lies where it was made."""
    uri = tracking.tracking_uri()
    if not uri.startswith("sqlite:///"):
        yield ok(f"MLflow: {uri} holds the runs (not asked)")
        return
    path = Path(uri.removeprefix("sqlite:///"))
    upgrade = f"copy the file, then run `mlflow db upgrade {uri}`"
    findings = list(_database("MLflow", path, "mlflow", MLFLOW_MIGRATIONS, upgrade))
    yield from findings
    if path.is_file() and all(finding.level == "ok" for finding in findings):
        yield from _artefacts(path, root)


def names() -> Iterator[Finding]:
    """What this project calls its experiment and model; a name that is not allowed is a finding of the settings."""
    with suppress(ConfigError):
        own = tracking.project_names()
        yield ok(f"MLflow: the experiment is {own.experiment}, the model {own.model}")


def prefect(root: Path) -> Iterator[Finding]:
    """The store of the flow runs."""
    path = prefect_home(root) / "prefect.db"
    yield from _database(
        "Prefect", path, "prefect", PREFECT_MIGRATIONS, "nothing: the next server brings it up to date"
    )


def servers(root: Path) -> Iterator[Finding]:
    """What a flow would talk to. Only servers of this machine are asked."""
    named = os.environ.get("PREFECT_API_URL", "")
    address = named or reach.served(prefect_home(root)).get("PREFECT_API_URL", "")
    if not address:
        yield ok("servers: none runs, and each flow starts one for itself; `make serve` starts them for good")
    elif urlsplit(address).hostname not in reach.LOOPBACK:
        yield ok(f"servers: PREFECT_API_URL names {hidden(address)} (not asked)")
    elif reach.answers(f"{address}/health"):
        yield ok(f"servers: Prefect answers at {hidden(address)}")
    else:
        said = f"servers: Prefect does not answer at {hidden(address)}"
        yield blocks(said, "start it, or unset PREFECT_API_URL") if named else note(said, "start `make serve` again")


def prefect_home(root: Path) -> Path:
    """Prefect's folder, by the variable or prefect.toml; Prefect itself takes a second to say so."""
    settings = root / "prefect.toml"
    known = tomllib.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
    return root / Path(os.environ.get("PREFECT_HOME") or known.get("home") or "~/.prefect").expanduser()


def _database(tool: str, path: Path, package: str, migrations: str, upgrade: str) -> Iterator[Finding]:
    """Whether a SQLite store opens, and whether the installed tool knows its tables."""
    if not path.exists():
        yield ok(f"{tool}: no {path.name} yet, the first run makes it")
        return
    try:
        ((revision,),) = _query(path, "SELECT version_num FROM alembic_version") or [("",)]
    except sqlite3.Error as error:
        remedy = f"end the programs that use it; if it is broken, `mv {path} {path}.broken`, and start anew"
        yield blocks(f"{tool}: {path} cannot be read: {error}", remedy)
        return
    known, newest = _revisions(package, migrations)
    if revision not in known:
        remedy = f"install the {tool} that made it (constraints.txt names one version), or move the file aside"
        yield blocks(f"{tool}: {path} was made by another version (tables {revision or 'unknown'})", remedy)
    elif revision not in newest:
        level = note if upgrade.startswith("nothing") else blocks
        yield level(f"{tool}: {path} has the tables of an older version", upgrade)
    else:
        yield ok(f"{tool}: {path.name} opens and is up to date")


def _artefacts(path: Path, root: Path) -> Iterator[Finding]:
    """Whether the files of the runs lie where the store says: the addresses are absolute, and a folder can be moved."""
    wanted = "SELECT artifact_location FROM experiments WHERE name = ?"
    try:
        experiment = tracking.project_names().experiment
    except ConfigError:
        return
    for (address,) in _query(path, wanted, experiment):
        place = places.folder_of(address)
        if place is None or places.is_in(place, root):
            continue
        base = places.base_of(place)
        if not base.is_dir():
            yield blocks(
                f"MLflow: the files of the runs should lie in {place}, which is not there: the project was moved",
                f"`{places.MEND}` (or move it back to {base.parent})",
            )
        elif path.resolve().parent == root.resolve():
            yield note(
                f"MLflow: the files of the runs lie in {place}, which is outside this project",
                f"if this project is a copy of that one: copy {base.name} too, then `{places.MEND}`",
            )


def _query(path: Path, statement: str, *values: str) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=1)) as database:
        return database.execute(statement, values).fetchall()


def _revisions(package: str, migrations: str) -> tuple[set[str], set[str]]:
    """The states of the tables that a tool knows, and the newest; read as text, because an import takes seconds."""
    spec = find_spec(package)
    homes = list(spec.submodule_search_locations or ()) if spec else []
    texts = [file.read_text(encoding="utf-8") for home in homes for file in (Path(home) / migrations).glob("*.py")]
    known = {found for text in texts for found in _REVISION.findall(text)}
    return known, known - {found for text in texts for found in _PARENT.findall(text)}
