"""Databases of earlier versions: that they are brought up to date as the documentation says."""

import subprocess
from collections.abc import Mapping
from typing import Final

from deploy import parts
from deploy.repository import call
from deploy.stack import Stack
from deploy.tried import require
from deploy.visitor import Visitor

EARLIER: Final = 5  # steps of the tables of MLflow
OLD: Final = "mlflow_old"
# MLflow has no command that goes back, so a database of an earlier version is made by its own migrations.
_MAKE: Final = """
import sys
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from mlflow.store.db.utils import _get_alembic_config
from mlflow.store.tracking.dbmodels.initial_models import Base
uri, steps = sys.argv[1], int(sys.argv[2])
Base.metadata.create_all(create_engine(uri))
config = _get_alembic_config(uri)
revisions = [each.revision for each in ScriptDirectory.from_config(config).walk_revisions()]
command.upgrade(config, revisions[steps])
print(revisions[steps], revisions[0])
"""


def upgraded(stack: Stack, visitor: Visitor) -> str:
    """Bring databases of earlier versions up to date; says from and to which state.

    Args:
        stack: that runs; Prefect is stopped for a moment.
        visitor: asks what became of it.
    """
    return f"MLflow {_mlflow(stack, visitor)}; Prefect {_prefect(stack, visitor)}"


def _mlflow(stack: Stack, visitor: Visitor) -> str:
    env = visitor.environment("mlflow")
    own = dict(env) | parts.superuser(stack.folders, stack.ports["postgres"])
    for command in (("dropdb", "--if-exists", OLD), ("createdb", "--owner=mlflow", OLD)):
        subprocess.run([parts.program(command[0], "postgresql"), *command[1:]], env=own, check=True)
    uri = f"{env['MLFLOW_BACKEND_STORE_URI']}_old"
    old, newest = call(stack.folders.app, env, "python", "-c", _MAKE, uri, str(EARLIER)).splitlines()[-1].split()
    require(_revision(own) == old, f"the old database is at {_revision(own)}")
    call(stack.folders.app, env, "python", "-m", "mlflow", "db", "upgrade", uri)
    require(_revision(own) == newest, f"the database is at {_revision(own)}, and not at {newest}")
    return f"{old} to {newest}"


def _revision(env: Mapping[str, str]) -> str:
    words = [parts.program("psql", "postgresql-client"), "-At", OLD, "-c", "SELECT version_num FROM alembic_version"]
    return subprocess.run(words, env=dict(env), check=True, capture_output=True, text=True).stdout.strip()


def _prefect(stack: Stack, visitor: Visitor) -> str:
    count, env = len(visitor.ask("flow_runs/filter", {"limit": 200})), visitor.environment("prefect")
    own = {**env, **parts.superuser(stack.folders, stack.ports["postgres"])}

    def state() -> str:
        words = [parts.program("psql", "postgresql-client"), "-At", "prefect", "-c", "SELECT * FROM alembic_version"]
        return subprocess.run(words, env=own, check=True, capture_output=True, text=True).stdout.strip()

    newest = state()
    stack.stop("prefect")
    call(stack.folders.app, env, "prefect", "server", "database", "downgrade", "--yes", "--revision", "-1")
    old = state()
    require(old != newest, "Prefect's tables did not go back")
    stack.start("prefect")
    require(state() == newest, f"Prefect's tables are at {state()}")
    found = len(visitor.ask("flow_runs/filter", {"limit": 200}))
    require(found == count, f"{found} flow runs, and {count} before")
    return f"{old} to {newest}"
