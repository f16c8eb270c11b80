"""Copies the databases and buckets of the stack into a folder, or back.

::

    python -m deploy.backup /backups/monday
    python -m deploy.backup /backups/monday --restore       # while MLflow, Prefect and the workers are down

It needs PostgreSQL's own programs, PGHOST, PGUSER and PGPASSFILE of a superuser, and the variables of the S3 store. The
databases are copied first: what they name is in the buckets then. Clones are copied by ``flowsculpt backup``.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deploy import objects, parts
from pipeline.base.errors import ConfigError, FlowsculptError

DATABASES: Final = ("mlflow", "mlflow_people", "prefect")
BUCKETS: Final = ("mlflow", "dvc")
PART: Final = ".part"  # behind the name of a copy that is not whole yet


def back_up(folder: Path, env: Mapping[str, str]) -> list[str]:
    """Copy all into a new folder; returns what was copied, in sentences.

    Raises:
        ConfigError: the folder is there already, or a variable of the S3 store is not set.
        FlowsculptError: a program of PostgreSQL fails.
    """
    if folder.exists():
        raise ConfigError(f"{folder}: is there already; give the name of a new folder")
    objects.require(env)
    with _whole(folder) as part:
        for name in DATABASES:
            _call("pg_dump", env, "--format=custom", f"--file={part / name}.dump", name)
        counts = {name: objects.fetch(name, part / "buckets" / name, env) for name in BUCKETS}
    return [f"{', '.join(DATABASES)}: dumped", *(f"s3://{name}: {count:,} objects" for name, count in counts.items())]


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder to write into, which gets its name when the block has ended well; what was left there goes."""
    part = folder.with_name(f"{folder.name}{PART}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True, mode=0o700)
    try:
        yield part
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def restore(folder: Path, env: Mapping[str, str]) -> list[str]:
    """Put all back, in the place of what is there; returns what was done, in sentences.

    Raises:
        ConfigError: the folder is no such copy, or a variable of the S3 store is not set.
        FlowsculptError: a program of PostgreSQL fails; each database is as before, or as in the copy.
    """
    if absent := [name for name in DATABASES if not (folder / f"{name}.dump").is_file()]:
        raise ConfigError(f"{folder}: has no {absent[0]}.dump, so it is no backup of a stack")
    objects.require(env)
    counts = {name: objects.send(folder / "buckets" / name, name, env) for name in BUCKETS}
    for name in DATABASES:
        options = ("--clean", "--if-exists", "--single-transaction", f"--dbname={name}")
        _call("pg_restore", env, *options, str(folder / f"{name}.dump"))
    return [f"{', '.join(DATABASES)}: restored", *(f"s3://{name}: {count:,} objects" for name, count in counts.items())]


def _call(name: str, env: Mapping[str, str], *words: str) -> None:
    command = [parts.program(name, "postgresql-client"), *words]
    done = subprocess.run(command, env=dict(env), capture_output=True, text=True, check=False)
    if done.returncode:
        raise FlowsculptError(f"{name} {words[-1]}: {done.stderr.strip()[-1000:]}")


def main(given: Sequence[str] | None = None) -> int:
    """Copy; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.backup", description="Copy databases and buckets.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--restore", action="store_true", help="put them back")
    chosen = parser.parse_args(given)
    try:
        print("\n".join((restore if chosen.restore else back_up)(chosen.folder, os.environ)))
    except FlowsculptError as error:
        print(f"backup: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
