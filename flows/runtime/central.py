"""Which stores and servers ``serve`` uses: its own, those of its options, or those that the environment names.

``MLFLOW_TRACKING_URI`` and ``PREFECT_API_URL`` count as the options for servers that run elsewhere, and are not
overwritten. But a shell that has read ``.prefect/env`` has them from an earlier ``serve``, whose servers have ended
with it. ``FLOWSCULPT_SERVED`` lists these addresses, and they count for nothing. An address is shown without what lets
somebody in.
"""

import argparse
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from flows.runtime import access, reach
from pipeline import tracking
from pipeline.base.errors import ConfigError

MLFLOW, PREFECT = "MLFLOW_TRACKING_URI", "PREFECT_API_URL"
SERVED: Final = "FLOWSCULPT_SERVED"  # addresses of the servers that an earlier ``serve`` started, for a shell
TOKEN, PREFECT_KEY = "MLFLOW_TRACKING_TOKEN", "PREFECT_API_KEY"
MLFLOW_CA, PREFECT_CA = "MLFLOW_TRACKING_SERVER_CERT_PATH", "PREFECT_API_SSL_CERT_FILE"
SERVER: Final = ("http://", "https://")
DATABASES: Final = ("sqlite", "postgresql", "mysql", "mssql")


@dataclass(frozen=True)
class Chosen:
    """What serves this project.

    Attributes:
        backend: the database of the MLflow server that is started; "": mlflow.db of the project.
        artefacts: where that server keeps files and hands them out; "": the project's mlruns, which it does not.
        mlflow: an MLflow server that runs elsewhere, or a store without a server; "": a server is started.
        prefect: the API of a Prefect server that runs elsewhere; "": one is started.
    """

    backend: str = ""
    artefacts: str = ""
    mlflow: str = ""
    prefect: str = ""

    @property
    def hands_out(self) -> bool:
        """Whether the MLflow server that is started hands out files itself, so that any machine can read them."""
        return bool(self.backend or self.artefacts)


OWN: Final = Chosen()


def forget_earlier(environ: MutableMapping[str, str]) -> None:
    """Take the addresses of servers out of the variables that an earlier ``serve`` has put there."""
    earlier = environ.pop(SERVED, "").split()
    for name in (PREFECT, MLFLOW):
        if environ.get(name) in earlier:
            del environ[name]


def chosen(given: argparse.Namespace, environ: Mapping[str, str]) -> Chosen:
    """What the options and the environment say together.

    Args:
        given: the options of ``serve``.
        environ: the variables of this process.

    Raises:
        ConfigError: an address is none, or two of them contradict each other.
    """
    mlflow = _one("--mlflow-uri", given.mlflow_uri, MLFLOW, environ.get(MLFLOW, ""))
    found = Chosen(
        backend=_database("--backend", given.backend),
        artefacts=_place(given.artifacts),
        mlflow=_server("--mlflow-uri", mlflow) if mlflow.startswith("http") else _database("--mlflow-uri", mlflow),
        prefect=_api(_one("--prefect-url", given.prefect_url, PREFECT, environ.get(PREFECT, ""))),
    )
    if found.mlflow and (found.backend or found.artefacts):
        option = "--backend" if found.backend else "--artifacts"
        other = "leave out --mlflow-uri" if given.mlflow_uri else f"unset {MLFLOW}"
        raise ConfigError(
            f"{option} is for an MLflow server that is started here, and none is, as one is named: "
            f"{tracking.redact(found.mlflow)}; leave out {option}, or {other}"
        )
    return found


def _one(option: str, given: str, variable: str, named: str) -> str:
    """The option, or what the environment says in its place."""
    if given and named and given.rstrip("/") != named.rstrip("/"):
        raise ConfigError(
            f"{option} says {tracking.redact(given)}, and {variable} says {tracking.redact(named)}; "
            f"leave out the option, or unset {variable}"
        )
    return named or given


def _server(option: str, address: str) -> str:
    if not (address.startswith(SERVER) and urlsplit(address).hostname):
        raise ConfigError(
            f"{option}: {tracking.redact(address)!r} is no address of a server; give one such as https://box.example"
        )
    return address


def _api(address: str) -> str:
    if not address:
        return ""
    if "api" not in urlsplit(_server("--prefect-url", address)).path.split("/"):
        raise ConfigError(
            f"--prefect-url: {tracking.redact(address)!r} is no API of Prefect; that of https://box.example is "
            "https://box.example/api"
        )
    return address.rstrip("/")


def _database(option: str, address: str) -> str:
    if not address:
        return ""
    kind = address.partition(":")[0].partition("+")[0]
    if "://" not in address or kind not in DATABASES:
        raise ConfigError(
            f"{option}: {tracking.redact(address)!r} is no database that MLflow knows; give one such as "
            "postgresql://mlflow@db.example/mlflow (the password in PGPASSFILE) or sqlite:////srv/mlflow.db"
        )
    path = address.removeprefix("sqlite:///")
    return address if path == address or option != "--backend" else f"sqlite:///{tracking.project_root() / path}"


def _place(address: str) -> str:
    """An address as it is, a folder as an absolute path."""
    if not address or "://" in address:
        return address
    return str(Path(address).absolute())


# Servers that run elsewhere.


def require_prefect(api: str, environ: Mapping[str, str]) -> None:
    """See to it that a Prefect server answers to the login of this environment.

    Raises:
        ConfigError: it does not, with what to set.
    """
    login, key = environ.get(access.PREFECT_CLIENT, ""), environ.get(PREFECT_KEY, "")
    status = reach.elsewhere(f"{api}/admin/version", login, key, environ.get(PREFECT_CA, ""))
    here = f"unset {PREFECT}" if environ.get(PREFECT) else "leave out --prefect-url"
    _require("Prefect server", api, status, f"{access.PREFECT_CLIENT} or {PREFECT_KEY}", here)


def require_mlflow(address: str, environ: Mapping[str, str]) -> None:
    """See to it that an MLflow server answers to the login of this environment, or of the address itself.

    A store without a server is not asked.

    Raises:
        ConfigError: it does not, with what to set.
    """
    if not address.startswith(SERVER):
        return
    parts = urlsplit(address)
    user, password = (environ.get(name, "") for name in access.MLFLOW_CLIENT)
    login = f"{user or parts.username or ''}:{password or parts.password or ''}"
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    asked = f"{bare}/api/2.0/mlflow/experiments/search?max_results=1"
    authority = environ.get(MLFLOW_CA) or environ.get("REQUESTS_CA_BUNDLE", "")
    status = reach.elsewhere(asked, "" if login == ":" else login, environ.get(TOKEN, ""), authority)
    here = f"unset {MLFLOW}" if environ.get(MLFLOW) else "leave out --mlflow-uri"
    _require("MLflow server", bare, status, f"{' and '.join(access.MLFLOW_CLIENT)}, or {TOKEN}", here)


def _require(server: str, address: str, status: int, login: str, here: str) -> None:
    shown = tracking.redact(address)
    if status in access.REFUSED:
        raise ConfigError(
            f"{server}: {shown} refuses the login of this environment ({status}); set {login}; "
            f"to start one here: {here}"
        )
    if status != access.OK:
        said = f"says {status}, and should say {access.OK}" if status else "does not answer"
        raise ConfigError(f"{server}: {shown} {said}; nothing is served; to start one here: {here}")
