"""Who may talk to the servers: the secret that they ask for, and what their clients and a shell are given to log in.

Everything lies in Prefect's home, ``.prefect/`` of the project, which only its owner can read:

- ``secret`` holds the user and the secret as one line, ``user:secret``. It is made at the first start and kept.
- ``env`` holds what a shell needs, as lines of ``export NAME=value``, for as long as ``make serve`` runs.

Where the environment configures authentication already, that is used and nothing is generated for that server.
"""

import configparser
import fcntl
import hashlib
import os
import secrets
import shlex
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from prefect.settings import PREFECT_HOME

from flows.runtime import reach
from pipeline.artifacts.files import write_bytes
from pipeline.base.errors import ConfigError

USER = "flowsculpt"
PREFECT_SERVER, PREFECT_CLIENT = "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"
MLFLOW_SERVER, MLFLOW_KEY = "MLFLOW_AUTH_CONFIG_PATH", "MLFLOW_FLASK_SERVER_SECRET_KEY"
MLFLOW_ADMIN = ("MLFLOW_AUTH_ADMIN_USERNAME", "MLFLOW_AUTH_ADMIN_PASSWORD")
MLFLOW_CLIENT = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
OK, REFUSED = 200, (401, 403)
SECRET_FILE, SHELL_FILE = "secret", reach.SHELL_FILE

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MLFLOW_SETTINGS = """# Made anew at each start of the server. Set MLFLOW_AUTH_CONFIG_PATH to use a file of your own.
[mlflow]
default_permission = NO_PERMISSIONS
database_uri = sqlite:///{users}
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
auth_cache_ttl_seconds = 60
"""


# The secret.


def home() -> Path:
    """Prefect's home as an absolute path; it is made if need be, and closed to other users."""
    folder = Path(PREFECT_HOME.value()).absolute()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if folder.stat().st_mode & _OTHERS:
        folder.chmod(0o700)
    return folder


def fresh_login() -> str:
    """A login nobody can guess, as ``user:secret``."""
    return f"{USER}:{secrets.token_urlsafe(32)}"


def kept_login() -> str:
    """The login of this project's servers, as ``user:secret``, which the first call makes.

    Raises:
        ConfigError: other users can read the file, or it holds no login.
    """
    path = home() / SECRET_FILE
    if not path.exists():
        _write_first(path, f"{fresh_login()}\n")
    if path.stat().st_mode & _OTHERS:
        raise ConfigError(
            f"{path}: other users can read the secret of the servers; delete the file, and the next start makes "
            f"a new secret (or run `chmod 600 {path}` if nobody has read it)"
        )
    login = path.read_text(encoding="utf-8").strip()
    user, colon, secret = login.partition(":")
    if not (user and colon and secret):
        raise ConfigError(f"{path}: needs one line, user:secret; delete the file, and the next start makes a new one")
    return login


def _write(path: Path, text: str) -> None:
    """A whole file in ``home``, which lets nobody but its owner read it, or none."""
    write_bytes(path, text.encode())


def _write_first(path: Path, text: str) -> None:
    """As ``_write``; where another process was first, what it wrote stays."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    _write(draft, text)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()


# What each side is given.


def prefect_settings(login: str) -> dict[str, str]:
    """The variables by which a Prefect server asks for a login and its clients give it.

    Args:
        login: ``user:secret``, used where the environment names no other.
    """
    server = os.environ.get(PREFECT_SERVER) or login
    return {PREFECT_SERVER: server, PREFECT_CLIENT: server}


def mlflow_server_settings(login: str) -> dict[str, str]:
    """The variables by which an MLflow server asks for a login.

    Args:
        login: ``user:secret``, used where the environment names no settings of its own.
    """
    key = {MLFLOW_KEY: os.environ.get(MLFLOW_KEY) or _digest(f"pages of {login}")}
    if os.environ.get(MLFLOW_SERVER):
        return key
    path = home() / "mlflow-auth.ini"
    _write(path, _MLFLOW_SETTINGS.format(users=home() / f"mlflow-users-{_digest(login)[:8]}.db"))
    user, _, secret = login.partition(":")
    return {**key, MLFLOW_SERVER: str(path), **dict(zip(MLFLOW_ADMIN, (user, secret), strict=True))}


def mlflow_client_settings(login: str) -> dict[str, str]:
    """The variables by which MLflow's clients log in.

    Args:
        login: ``user:secret``, used where the environment configures no authentication of its own.

    Raises:
        ConfigError: the server has settings of its own, and nothing says how to log in.
    """
    path = os.environ.get(MLFLOW_SERVER)
    if not path:
        return dict(zip(MLFLOW_CLIENT, login.split(":", 1), strict=True))
    given = tuple(os.environ.get(name, "") for name in MLFLOW_CLIENT)
    known = given if all(given) else _admin(Path(path))
    if not all(known):
        raise ConfigError(
            f"{MLFLOW_SERVER}={path}: nothing says how the flows log in to this MLflow server; set "
            f"{' and '.join(MLFLOW_CLIENT)} in the environment"
        )
    return dict(zip(MLFLOW_CLIENT, known, strict=True))


def _admin(path: Path) -> tuple[str, ...]:
    """User and password of the administrator, each empty where it is not given."""
    parser = configparser.ConfigParser()
    if not parser.read(path):
        raise ConfigError(f"{MLFLOW_SERVER}={path}: there is no such file")
    keys = ("admin_username", "admin_password")
    return tuple(
        os.environ.get(name) or parser.get("mlflow", key, fallback="") or ""
        for name, key in zip(MLFLOW_ADMIN, keys, strict=True)
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


# Whether it holds.


def require(server: str, address: str, login: str) -> None:
    """See to it that a server lets its own login in, and nobody without one.

    Args:
        server: what it is called.
        address: of something that it shows to those who logged in.
        login: ``user:secret``.

    Raises:
        ConfigError: it does not; nothing is to be served then.
    """
    with_it, without = reach.status(address, login), reach.status(address)
    if not (with_it and without):
        raise ConfigError(f"{server}: {address} does not answer; nothing is served")
    if without not in REFUSED:
        raise ConfigError(
            f"{server}: it answers {without} to a request without a login, and should answer 401; nothing is served. "
            f"Look at {PREFECT_SERVER}, {MLFLOW_SERVER} and the file that the last one names"
        )
    if with_it != OK:
        raise ConfigError(
            f"{server}: it refuses its own login ({with_it}), so no flow could use it; see that {PREFECT_CLIENT}, "
            f"{' and '.join(MLFLOW_CLIENT)} are what the server knows"
        )


# What a shell is given.


@contextmanager
def told(variables: Mapping[str, str]) -> Iterator[Path]:
    """A file that gives these variables to a shell which sources it, for as long as this context lasts.

    It is locked meanwhile: the file that a killed process leaves behind is not, and nobody believes it.

    Args:
        variables: by name.

    Yields:
        The file.

    Raises:
        ConfigError: another ``make serve`` runs in this project.
    """
    refuse_second()
    path = home() / SHELL_FILE
    _write(path, "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()))
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)


def refuse_second() -> None:
    """Refuse to serve a project that is served already: two would write one database, and one file for the shell.

    Raises:
        ConfigError: ``make serve`` runs in this project.
    """
    if there := served():
        where = f", at {there['PREFECT_API_URL']}" if "PREFECT_API_URL" in there else ""
        raise ConfigError(f"`make serve` runs in this project already{where}; end it first")


def served() -> dict[str, str]:
    """What ``make serve`` wrote about its servers while it runs in this project; else nothing."""
    return reach.served(Path(PREFECT_HOME.value()))
