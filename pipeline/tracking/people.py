"""Who may use the MLflow server besides the project itself: people who read, and machines that train.

Rights are those of MLflow's own authentication. Whoever may write there can still not let a version serve: a promotion
counts by its signature, see ``pipeline.serving.trust``.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pipeline.base.errors import ArtifactError, ConfigError
from pipeline.tracking import store

ROLES: Final = {"reader": "READ", "trainer": "EDIT"}
"""Role -> what MLflow calls it."""


def add(name: str, role: str) -> str:
    """Let somebody in, or give somebody another role; returns the password of a new person, "" where one is known.

    Args:
        name: to log in with.
        role: one of ``ROLES``; it is given for the experiment and the model of this project.

    Raises:
        ConfigError: the store is no server.
        ArtifactError: the server refuses it.
    """
    with _asked() as people:
        password = "" if _is_known(people, name) else secrets.token_urlsafe(24)
        if password:
            people.create_user(name, password)
        try:
            for kind, which in _things():
                if people.get_user_permission(name, kind, which).permission != ROLES[role]:
                    _take(people, name, kind, which)
                    people.grant_user_permission(name, kind, which, ROLES[role])
        except BaseException:
            if password:  # nobody would ever know it
                people.delete_user(name)
            raise
        return password


def remove(name: str) -> None:
    """Let somebody in no more.

    Raises:
        ConfigError: the store is no server.
        ArtifactError: the server knows nobody of that name, or refuses it.
    """
    with _asked() as people:
        people.delete_user(name)


def _things() -> Iterator[tuple[str, str]]:
    names = store.project_names()
    yield "experiment", store.experiment()
    yield "registered_model", names.model


@contextmanager
def _asked() -> Iterator[Any]:
    if not store.is_server():
        raise ConfigError(
            "people log in to an MLflow server, and MLFLOW_TRACKING_URI names none; `make serve` starts one, and "
            "`. .prefect/env` tells a shell where it is"
        )
    from mlflow.exceptions import MlflowException
    from mlflow.server.auth.client import AuthServiceClient

    store.current()  # user and password of the address become variables, which the client reads
    try:
        yield AuthServiceClient(store.tracking_uri())
    except MlflowException as error:
        raise ArtifactError(f"{store.tracking_uri()}: {store.redact(str(error))}") from error


def _is_known(people: Any, name: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        people.get_user(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return True


def _take(people: Any, name: str, kind: str, which: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        people.revoke_user_permission(name, kind, which)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
