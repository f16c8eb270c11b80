"""What ``compose.yaml`` says, with the addresses and folders of one machine in the place of those of containers.

Each service keeps its command and its variables. Only these are exchanged:

    name:port           127.0.0.1 and a port of this machine
    0.0.0.0             127.0.0.1
    /run/secrets        a folder of the stack
    a volume, /app      a folder of the stack
    *.example           the same name, with the port that the proxy listens on
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Final

import yaml

HERE: Final = Path(__file__).parent
PORTS: Final = {"postgres": 5432, "store": 9000, "mlflow": 5000, "prefect": 4200, "triage": 4300, "proxy": 443}
LOCAL: Final = "127.0.0.1"
_HOST: Final = re.compile(r"\b([a-z]+\.example)\b")


@dataclass(frozen=True)
class Folders:
    """Where the stack of one machine lies.

    Attributes:
        home: holds all of it.
    """

    home: Path

    @property
    def app(self) -> Path:
        """The code that the servers run: what an image has in /app."""
        return self.home / "app"

    @property
    def repository(self) -> Path:
        """The bare repository that the clones are made of."""
        return self.home / "repository.git"

    @property
    def secrets(self) -> Path:
        """The secrets, as ``deploy.secrets`` makes them."""
        return self.home / "secrets"

    @property
    def run(self) -> Path:
        """What the processes are given: configuration with the addresses of this machine."""
        return self.home / "run"

    @property
    def logs(self) -> Path:
        """A log for each service."""
        return self.home / "logs"

    def volume(self, name: str) -> Path:
        """The folder that stands for a volume."""
        return self.home / "volumes" / name


@dataclass(frozen=True)
class Service:
    """A service as a process of this machine.

    Attributes:
        name: as in the file.
        command: the program and its arguments.
        env: the variables that the file names.
        root: the folder that it works in.
        health: a command that ends with 0 where the service is well; empty: none.
        ends: whether it does its work and ends.
        needs: the services that come before it.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    root: Path
    health: tuple[str, ...] = ()
    ends: bool = False
    needs: frozenset[str] = field(default_factory=frozenset)


def read(folders: Folders, ports: Mapping[str, int], file: Path = HERE / "compose.yaml") -> list[Service]:
    """The services of the file, each behind those that it needs.

    Args:
        folders: of the stack.
        ports: of this machine: name of a service -> where it listens.
        file: in the form of Docker Compose.
    """
    told: Mapping[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))["services"]
    found = {name: _service(name, each, folders, ports) for name, each in told.items()}
    order = TopologicalSorter({name: each.needs for name, each in found.items()}).static_order()
    return [found[name] for name in order]


def _service(name: str, told: Mapping[str, Any], folders: Folders, ports: Mapping[str, int]) -> Service:
    mounts = dict(_mounts(told, folders))

    def here(text: object) -> str:
        return exchanged(str(text), name, ports, mounts)

    test = [str(word) for word in told.get("healthcheck", {}).get("test", ["CMD"])][1:]
    return Service(
        name,
        tuple(map(here, told["command"])),
        {key: here(value) for key, value in told.get("environment", {}).items()},
        Path(here(told.get("working_dir", "/app"))),
        tuple(map(here, test)),
        told["restart"] == "on-failure",
        frozenset(told.get("depends_on", {})),
    )


def _mounts(told: Mapping[str, Any], folders: Folders) -> Iterator[tuple[str, Path]]:
    """Paths in the container -> folders of this machine, the longest first."""
    known = {"/run/secrets": folders.run / "secrets", "/app": folders.app, "/srv/home": folders.run / "home"}
    for each in told.get("volumes", ()):
        source, target = re.sub(r"\$\{[^}]*\}", "repository", str(each)).split(":")[:2]
        if source == "repository":
            known[target] = folders.repository
        elif not source.startswith("."):
            known[target] = folders.volume(source)
    yield from sorted(known.items(), key=lambda pair: -len(pair[0]))


def exchanged(text: str, name: str, ports: Mapping[str, int], mounts: Mapping[str, Path]) -> str:
    """A word of the file with what this machine has in the place of what containers have.

    Args:
        text: the word.
        name: of the service that it belongs to.
        ports: name of a service -> where it listens on this machine.
        mounts: paths in the container -> folders of this machine.
    """
    for inside, folder in mounts.items():
        text = re.sub(rf"{re.escape(inside)}(?=/|$)", str(folder), text)
    if (own := PORTS.get(name)) is not None:
        text = re.sub(rf"^(--port=|-s3\.port=)?{own}$", rf"\g<1>{ports[name]}", text)
        text = text.replace(f"{LOCAL}:{own}", f"{LOCAL}:{ports[name]}")
    for other, port in PORTS.items():
        text = re.sub(rf"(?<![\w.-]){other}:{port}\b", f"{LOCAL}:{ports[other]}", text)
    text = _HOST.sub(rf"\g<1>:{ports['proxy']}", text)
    return text.replace("0.0.0.0", LOCAL)  # noqa: S104 (it is taken out)
