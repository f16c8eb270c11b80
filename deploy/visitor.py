"""What somebody outside does with the stack: asks its servers through the proxy, and runs commands in a clone."""

import json
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx

from deploy.composition import LOCAL
from deploy.repository import call
from deploy.stack import Stack
from pipeline.base.errors import FlowsculptError

ENDED: Final = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
T = TypeVar("T")


class Visitor:
    """Somebody who knows the secrets of a stack.

    Args:
        stack: that runs.
    """

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        trusted = ssl.create_default_context(cafile=str(stack.folders.secrets / "tls.pem"))
        self._web = httpx.Client(verify=trusted, trust_env=False, timeout=60)

    def secret(self, name: str) -> str:
        """The content of a file of secrets."""
        return (self.stack.folders.secrets / name).read_text(encoding="utf-8").strip()

    def knock(self, name: str, path: str, login: str = "", method: str = "GET", body: object = None) -> httpx.Response:
        """The answer of a server, by its name and TLS.

        Args:
            name: prefect, mlflow or triage.
            path: of the request.
            login: ``user:secret``.
            method: of HTTP.
            body: is sent as JSON.
        """
        port, host = self.stack.ports["proxy"], f"{name}.example"
        auth = tuple(login.split(":", 1)) if login else None
        return self._web.request(
            method,
            f"https://{LOCAL}:{port}{path}",
            headers={"Host": f"{host}:{port}"},
            extensions={"sni_hostname": host},
            auth=auth,  # type: ignore[arg-type]
            json=body,
        )

    # Prefect.

    def ask(self, path: str, body: object = None, method: str = "POST", patience: float = 120.0) -> Any:
        """Call the API of Prefect, waiting while it is away."""
        deadline = time.monotonic() + patience
        while True:
            try:
                answer = self.knock("prefect", f"/api/{path}", self.secret("prefect"), method, body)
                answer.raise_for_status()
                return answer.json() if answer.content else None
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                heals = isinstance(error, httpx.TransportError) or error.response.status_code >= 500
                if not heals or time.monotonic() > deadline:
                    raise FlowsculptError(f"Prefect: {path}: {error}") from error
                time.sleep(1.0)

    def deployment(self, name: str) -> dict[str, Any]:
        """A deployment, by the names of flow and deployment."""
        return dict(self.ask(f"deployments/name/{name}", method="GET"))

    def start(self, name: str, **parameters: object) -> str:
        """Run a deployment; returns the id of the flow run."""
        found = self.deployment(name)["id"]
        return str(self.ask(f"deployments/{found}/create_flow_run", {"parameters": parameters})["id"])

    def run(self, flow_run: str) -> dict[str, Any]:
        """A flow run as the server describes it."""
        return dict(self.ask(f"flow_runs/{flow_run}", method="GET"))

    def ended(self, flow_run: str, seconds: float = 600.0) -> dict[str, Any]:
        """Wait until a flow run has ended; returns its state.

        Raises:
            FlowsculptError: it has not ended in time.
        """

        def state() -> dict[str, Any] | None:
            found: dict[str, Any] = self.run(flow_run)["state"]
            return found if found["type"] in ENDED else None

        return until(state, seconds, f"the end of the run {flow_run}")

    def completed(self, flow_run: str, seconds: float = 600.0) -> str:
        """Wait until a flow run has completed; returns what it says.

        Raises:
            FlowsculptError: it ended otherwise.
        """
        state = self.ended(flow_run, seconds)
        if state["type"] != "COMPLETED":
            raise FlowsculptError(f"the run ended as {state['name']}: {state['message']}")
        return str(state["message"])

    # MLflow.

    def mlflow(self, path: str, **query: str) -> Any:
        """Ask MLflow's API; a 404 is an empty answer."""
        words = "&".join(f"{name}={value}" for name, value in query.items())
        answer = self.knock("mlflow", f"/api/2.0/mlflow/{path}?{words}", f"flowsculpt:{self.secret('mlflow')}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return {}
        answer.raise_for_status()
        return answer.json()

    def registry(self, path: str, body: object, method: str = "POST") -> Any:
        """Change the registry by MLflow's API."""
        login = f"flowsculpt:{self.secret('mlflow')}"
        answer = self.knock("mlflow", f"/api/2.0/mlflow/{path}", login, method, body)
        answer.raise_for_status()
        return answer.json()

    def version(self, alias: str) -> dict[str, Any]:
        """The registered version with an alias; empty where there is none."""
        found = self.mlflow("registered-models/alias", name="flowsculpt", alias=alias)
        return dict(found.get("model_version", {}))

    def number(self, alias: str) -> int:
        """The number of a version, 0 where there is none."""
        return int(self.version(alias).get("version", 0))

    # A clone.

    def environment(self, service: str) -> Mapping[str, str]:
        """The variables of a service, secrets among them, for a command in its clone."""
        return self.stack.environment(service, with_secrets=True)

    def command(self, service: str, *words: str) -> str:
        """What a command prints in the clone of a service.

        Raises:
            FlowsculptError: it fails.
        """
        return call(self.stack.services[service].root, self.environment(service), *words)


def until(question: Callable[[], T | None], seconds: float, what: str) -> T:
    """The first answer that is true.

    Raises:
        FlowsculptError: there is none in time.
    """
    deadline = time.monotonic() + seconds
    while not (found := question()):
        if time.monotonic() > deadline:
            raise FlowsculptError(f"{what} did not come within {seconds:g} s")
        time.sleep(0.5)
    return found


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a log of JSON; none where there is no such file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
