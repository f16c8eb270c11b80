"""What ``make stack`` runs: ``compose.yaml`` as processes of this machine, without a container engine, until Ctrl-C.

::

    python -m deploy.stack [--folder build/stack] [--port 8443]

From nothing it makes secrets, a PostgreSQL cluster, a bare repository of the last commit and four clones of it. It
starts each service with the command and the variables of the file, behind those that it needs, and waits for its health
check. A service that dies is started again. What ends this command ends all of them.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import psutil

from deploy import objects, parts
from deploy.composition import PORTS, Folders, Service, read
from deploy.repository import prepare
from deploy.secrets import NAMES
from flows.runtime import processes, program, secret_files, servers
from pipeline.base.errors import ConfigError, FlowsculptError

ROOT: Final = Path(__file__).parents[1]
FOLDER: Final = Path("build") / "stack"
PORT: Final = 8443
MARK: Final = "FLOWSCULPT_STACK"  # folder and service, in the environment of each process
PATIENCE: Final = 300.0  # seconds for a service to become well
MOST_ENDS: Final = 4  # of a service before it is well
LAST_LINES: Final = 15
GUARD: Final = Path(processes.__file__).name


class Stack:
    """The services of one folder.

    Args:
        folder: holds all that they write.
        port: where the proxy listens.
        more: variables of all processes, in addition to those of the file.

    Attributes:
        folders: where things lie.
        ports: name of a service -> where it listens.
        services: by name, each behind those that it needs.
        kept: the processes that are started again.
    """

    def __init__(self, folder: Path, port: int, more: Mapping[str, str] | None = None) -> None:
        self.folders = Folders(folder.resolve())
        self.ports = {name: port if name == "proxy" else servers.free_port() for name in PORTS}
        self.services = {each.name: each for each in read(self.folders, self.ports)}
        self.kept: dict[str, processes.Kept] = {}
        self.stopped, self._more, self._held = threading.Event(), dict(more or {}), ExitStack()

    def up(self, held: ExitStack, settings: Mapping[str, str] | None = None) -> None:
        """Bring all services up; ``held`` ends them in the reverse order.

        Args:
            held: holds them.
            settings: files of the repository that are to be other than in the last commit: name -> content.

        Raises:
            FlowsculptError: one does not start.
        """
        parts.require()
        self.refuse_second()
        self._held = held
        parts.configure(self.folders, self.ports, NAMES)
        prepare(ROOT, self.folders, self.environment("clones"), settings or {})
        for service in self.services.values():
            if self.stopped.is_set():
                return
            print(f"stack: {service.name}", flush=True)
            self._ended(service) if service.ends else self.start(service.name)

    def refuse_second(self) -> None:
        """Refuse to run two stacks in one folder.

        Raises:
            ConfigError: one runs there.
        """
        if self.processes():
            raise ConfigError(f"{self.folders.home}: a stack runs in this folder already; end it first")

    def environment(self, name: str, with_secrets: bool = False) -> dict[str, str]:
        """All variables of a service.

        Args:
            name: of the service.
            with_secrets: put the content of files of secrets into their variables.
        """
        base = {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]), "LANG": "C.UTF-8"}
        base |= {"HOME": str(self.folders.home), MARK: f"{self.folders.home}:{name}", "OMP_NUM_THREADS": "1"}
        found = base | {"PYTHONPATH": str(self.folders.app)} | dict(self.services[name].env) | self._more
        return found | secret_files.read(found) if with_secrets else found

    # Services.

    def _ended(self, service: Service) -> None:
        log = self.folders.logs / f"{service.name}.log"
        with log.open("ab") as output:
            started = processes.group(service.command, self.environment(service.name), service.root, output)
            with started as process:
                while process.poll() is None and not self.stopped.wait(0.2):
                    pass
        if process.returncode and not self.stopped.is_set():
            raise FlowsculptError(f"{service.name} ended with code {process.returncode}:\n{tail(log)}")

    def stop(self, name: str) -> None:
        """End a service until ``start``."""
        self.kept[name].__exit__()

    def start(self, name: str) -> None:
        """Start a service and wait until it is well.

        Raises:
            FlowsculptError: it does not become well.
        """
        service = self.services[name]
        env, root, command, fresh = self.environment(service.name), service.root, list(service.command), False
        if service.name == "postgres":
            fresh, root = parts.make_cluster(self.folders), self.folders.volume("postgres").parent
            command = parts.postgres(command, self.folders, self.ports["postgres"])
        elif service.name == "store":
            command, root = parts.store(command, self.ports["store"], self.folders.volume("store")), self.folders.home
        elif service.name == "proxy":
            command, root = parts.proxy(self.folders, self.ports), self.folders.home
        log, told = self.folders.logs / f"{service.name}.log", "head" if "flows.worker" in command else "all"
        kept = processes.Kept(service.name, command, env, log, "head" if told == "head" else "all", root=root)
        self.kept[service.name] = self._held.enter_context(kept)
        self.wait(service.name)
        if fresh:
            parts.make_roles(self.folders, self.ports["postgres"], env)

    def wait(self, name: str, seconds: float = PATIENCE) -> None:
        """Wait until a service is well, by its own health check.

        Raises:
            FlowsculptError: it is not in time, or ends again and again.
        """
        service, deadline = self.services[name], time.monotonic() + seconds
        ends = len(self.kept[name].codes) + MOST_ENDS
        while not self.is_well(service) and not self.stopped.wait(0.3):
            if time.monotonic() > deadline or len(self.kept[name].codes) >= ends:
                raise FlowsculptError(f"{name} does not become well:\n{tail(self.folders.logs / f'{name}.log')}")

    def is_well(self, service: Service) -> bool:
        """What its health check says; where it has none, whether it runs."""
        if not service.health:
            return self.head(service.name) is not None
        command = [parts.program(service.health[0], "postgresql"), *service.health[1:]]
        env = self.environment(service.name)
        done = subprocess.run(command, env=env, cwd=self.folders.home, capture_output=True, check=False)
        return done.returncode == 0

    # Processes.

    def processes(self, name: str = "") -> list[psutil.Process]:
        """The living processes of a service, or of all; those that guard others do not count.

        A guard keeps all that its command starts below itself. Its own environment names the service; that of another
        program may be overwritten, as nginx does with its title.
        """
        wanted = {f"{self.folders.home}:{each}" for each in ([name] if name else self.services)}
        guards = [each for each in psutil.process_iter() if _is_guard(each) and _mark(each) in wanted]
        found = {below for each in guards for below in _below(each)}
        return [each for each in found if processes.alive(each) and not _is_guard(each)]

    def head(self, name: str) -> psutil.Process | None:
        """The process of a service that was started, without what it has started itself."""
        return min(self.processes(name), key=lambda each: (each.create_time(), each.pid), default=None)

    def for_a_backup(self) -> str:
        """The variables that ``deploy.backup`` needs, as a shell takes them."""
        env = self.environment("mlflow") | parts.superuser(self.folders, self.ports["postgres"])
        names = [*parts.SUPERUSER_VARIABLES, *objects.VARIABLES]
        return " ".join(f"{name}={shlex.quote(env[name])}" for name in names)

    def words(self) -> Iterator[str]:
        """Where everything is, and how to log in; no secret is printed."""
        shown = os.path.relpath(self.folders.secrets)
        logins = {
            "prefect": f"the line in {shown}/prefect",
            "mlflow": f"the user flowsculpt and the secret in {shown}/mlflow",
            "triage": f"the secret in {shown}/triage",
        }
        yield f"the stack runs in {os.path.relpath(self.folders.home)}; Ctrl-C stops all of it"
        for name, login in logins.items():
            yield f"{name:8} https://{name}.example:{self.ports['proxy']}   asks for {login}"
        yield f"a backup is made by: {self.for_a_backup()} python -m deploy.backup FOLDER"
        yield "put these names behind 127.0.0.1 into /etc/hosts; the certificate is signed with its own key"


def _mark(process: psutil.Process) -> str:
    try:
        return process.environ().get(MARK, "") if processes.alive(process) else ""
    except (psutil.Error, OSError):
        return ""


def _is_guard(process: psutil.Process) -> bool:
    try:
        return any(Path(word).name == GUARD for word in process.cmdline()[:3])
    except psutil.Error:
        return False


def _below(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def tail(log: Path) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:])


def main(given: Sequence[str] | None = None) -> int:
    """Run the stack until a signal comes; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.stack", description="The production shape on this machine.")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="holds all that it writes")
    parser.add_argument("--port", type=int, default=PORT, help="where nginx listens")
    chosen = parser.parse_args(given)
    stack = Stack(chosen.folder, chosen.port)
    try:
        with program.heeding(stack.stopped.set, [signal.SIGTERM, signal.SIGINT]), ExitStack() as held:
            stack.up(held)
            if not stack.stopped.is_set():
                print("\n".join(stack.words()), flush=True)
            stack.stopped.wait()
            print("stack: stopping", flush=True)
    except FlowsculptError as error:
        print(f"stack: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    os.umask(processes.PRIVATE)  # nobody else reads what this makes
    sys.exit(main())
