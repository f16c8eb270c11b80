"""A project that ``python -m flows.serve`` serves, and what a user asks its servers."""

import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from flows.runtime import servers
from pipeline import tracking

TERMINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
QUICK = {"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2"}


class Served:
    """The servers of a project in ``folder``."""

    def __init__(self, folder: Path, process: subprocess.Popen, prefect: int, mlflow: int) -> None:
        self.folder, self.process, self.log = folder, process, folder / "serve.log"
        self.api, self.mlflow = f"http://127.0.0.1:{prefect}/api", f"http://127.0.0.1:{mlflow}"

    def ask(self, path: str, body: object = None, method: str = "POST", patience: float = 60):
        """Call the API of Prefect, waiting while its server is away."""
        deadline = time.monotonic() + patience
        while True:
            try:
                answer = self.knock(f"{self.api}/{path}", self.login, method, json=body)
                answer.raise_for_status()
                return answer.json() if answer.content else None
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                heals = isinstance(error, httpx.TransportError) or error.response.status_code >= 500
                if not heals or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    @property
    def shell(self) -> dict[str, str]:
        """What a shell is given that sources ``.prefect/env``."""
        words = shlex.split((self.folder / ".prefect" / "env").read_text())
        return dict(word.split("=", 1) for word in words if word != "export")

    @property
    def login(self) -> tuple[str, str]:
        """User and secret of the Prefect server."""
        user, _, secret = self.shell["PREFECT_API_AUTH_STRING"].partition(":")
        return user, secret

    @staticmethod
    def knock(address: str, login: tuple[str, str] | None = None, method: str = "GET", **given) -> httpx.Response:
        """The answer of a server to one request."""
        return httpx.request(method, address, auth=login, timeout=30, trust_env=False, **given)

    def start(self, deployment: str, **parameters) -> str:
        """Run a deployment; returns the id of the flow run."""
        found = self.ask(f"deployments/name/{deployment}", method="GET")
        return self.ask(f"deployments/{found['id']}/create_flow_run", {"parameters": parameters})["id"]

    def run(self, flow_run: str) -> dict:
        """A flow run as the server describes it."""
        return self.ask(f"flow_runs/{flow_run}", method="GET")

    def state(self, flow_run: str) -> str:
        """The type of its state."""
        return self.run(flow_run)["state"]["type"]

    def wait(self, flow_run: str, states=TERMINAL, seconds: float = 240) -> dict:
        """Wait until a flow run is in one of these states; returns the state."""
        return until(lambda: next(s for s in [self.run(flow_run)["state"]] if s["type"] in states), seconds, self.log)

    def runs(self, **filters) -> list[dict]:
        """The flow runs that pass the filters, the newest last."""
        return self.ask("flow_runs/filter", {"sort": "EXPECTED_START_TIME_ASC", **filters})

    def again(self, flow_run: str) -> None:
        """What the button Retry of the UI does."""
        self.ask(f"flow_runs/{flow_run}/set_state", {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}})

    def processes(self) -> list[psutil.Process]:
        """Every process that belongs to this project, whoever started it."""
        return [each for each in psutil.process_iter() if self._owns(each)]

    def find(self, *words: str) -> list[psutil.Process]:
        """Those whose command line holds these words, the guards not counted."""
        lines = [(each, command_line(each)) for each in self.processes()]
        return [each for each, line in lines if all(w in line for w in words) and "processes.py" not in line]

    def _owns(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("SERVED_PROJECT") == str(self.folder) and process.status() != "zombie"
        except (psutil.Error, OSError):
            return False

    def stop(self) -> int:
        """What Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


def command_line(process: psutil.Process) -> str:
    """Its words, or nothing where it is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def until(question, seconds: float, log: Path | None = None):
    """What ``question`` returns, as soon as it neither is false nor raises StopIteration."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if answer := question():
                return answer
        except StopIteration:
            pass
        time.sleep(0.3)
    tail = log.read_text()[-4000:] if log else ""
    raise AssertionError(f"it did not come about within {seconds:g} s\n{tail}")


@contextmanager
def serving(folder: Path, *options: str, **environment: str):
    """Serve a project; whatever happens, nothing of it is left."""
    prefect, mlflow = servers.free_port(), servers.free_port()
    foreign = ("MLFLOW", "PREFECT", "FLOWSCULPT", "DVC")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    own = {"PYTHONPATH": str(folder), "SERVED_PROJECT": str(folder), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "flows.serve", "--prefect-port", str(prefect), "--mlflow-port", str(mlflow)]
    command += ["--triage-port", "0"]
    command += options
    with (folder / "serve.log").open("wb") as log:
        env = kept | tracking.environment() | QUICK | own | environment
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT)
        served = Served(folder, process, prefect, mlflow)
        try:
            until(lambda: "\nMLflow " in served.log.read_text() or process.poll() is not None, 480, served.log)
            assert process.poll() is None, served.log.read_text()
            yield served
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(90)
            for left in served.processes():
                left.kill()
