"""What the images of others do when they start: PostgreSQL makes its cluster, nginx reads its configuration.

The S3 store of the file is SeaweedFS. Where its program ``weed`` is not installed, ``moto_server`` stands in its place,
which keeps objects in memory and checks no keys.
"""

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from deploy import secrets
from deploy.composition import HERE, LOCAL, Folders, exchanged
from flows.runtime import servers
from pipeline.artifacts.files import write_bytes
from pipeline.base.errors import ConfigError, FlowsculptError

WEED: Final = "weed"
# Those of its parts, which only talk to each other.
INNER_PORTS: Final = (
    *(f"{part}.port{kind}" for part in ("master", "volume", "filer") for kind in ("", ".grpc")),
    "s3.port.grpc",
)
SUPERUSER: Final = "postgres"
SUPERUSER_VARIABLES: Final = ("PGHOST", "PGPORT", "PGUSER", "PGPASSFILE")
USERS: Final = ("postgres", "nobody")  # PostgreSQL does not run as root
_NGINX: Final = """daemon off;
pid {run}/nginx.pid;
error_log {run}/nginx-error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {run}/body;
    proxy_temp_path {run}/proxy;
    fastcgi_temp_path {run}/fastcgi;
    uwsgi_temp_path {run}/uwsgi;
    scgi_temp_path {run}/scgi;
    include {run}/services.conf;
}}
"""


def program(name: str, package: str) -> str:
    """Where a program lies: on the path, or where Debian puts PostgreSQL's and nginx.

    Raises:
        ConfigError: it is not installed.
    """
    places = [*sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True), "/usr/sbin"]
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(places))
    if not found:
        raise ConfigError(f"{name} is not installed; install it, on Debian by: apt-get install {package}")
    return found


def require() -> None:
    """See to it that all programs of others are there, before anything starts.

    Raises:
        ConfigError: one is not.
    """
    for name, package in {
        **dict.fromkeys(("initdb", "postgres", "pg_isready", "pg_dump", "pg_restore"), "postgresql"),
        "psql": "postgresql-client",
        "nginx": "nginx",
        "git": "git",
    }.items():
        program(name, package)
    if not keeps_objects() and not shutil.which("moto_server"):
        raise ConfigError(
            "neither weed nor moto_server is installed; install the tools of development: .ci/install '.[dev]'"
        )


# PostgreSQL.


def _other_user() -> pwd.struct_passwd | None:
    """Whom PostgreSQL runs as where this process is root; None where it may run as this user."""
    if os.geteuid():
        return None
    known = {each.pw_name: each for each in pwd.getpwall()}
    return next(known[name] for name in USERS if name in known)


def _as_user(command: Sequence[str]) -> list[str]:
    user = _other_user()
    if user is None:
        return list(command)
    return [
        program("setpriv", "util-linux"),
        f"--reuid={user.pw_uid}",
        f"--regid={user.pw_gid}",
        "--clear-groups",
        *command,
    ]


def make_cluster(folders: Folders) -> bool:
    """Make PostgreSQL's cluster where there is none; whether it was made.

    Raises:
        FlowsculptError: it cannot be made, for instance because PostgreSQL's user cannot reach the folder.
    """
    data = folders.volume("postgres")
    if (data / "PG_VERSION").is_file():
        return False
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    password = data.with_name("postgres-password")
    write_bytes(password, (folders.secrets / "postgres").read_bytes())
    if user := _other_user():
        for path in (data, password):
            os.chown(path, user.pw_uid, user.pw_gid)
    try:
        command = [program("initdb", "postgresql"), f"--pgdata={data}", f"--username={SUPERUSER}"]
        command += [f"--pwfile={password}", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8"]
        done = subprocess.run(_as_user(command), check=False, capture_output=True, text=True, cwd="/")
        if done.returncode:
            raise FlowsculptError(f"initdb ended with code {done.returncode}:\n{done.stderr.strip()}")
    finally:
        password.unlink()
    return True


def postgres(command: Sequence[str], folders: Folders, port: int) -> list[str]:
    """The command of the file with where its cluster lies and where it listens."""
    words = [program("postgres", "postgresql"), *command[1:], "-D", str(folders.volume("postgres"))]
    return _as_user([*words, "-p", str(port), "-h", LOCAL, "-k", ""])


def superuser(folders: Folders, port: int) -> dict[str, str]:
    """The variables by which PostgreSQL's own programs log in as its superuser."""
    path = folders.run / "superuser"
    write_bytes(path, f"*:*:*:{SUPERUSER}:{(folders.secrets / 'postgres').read_text(encoding='utf-8')}".encode())
    return dict(zip(SUPERUSER_VARIABLES, (LOCAL, str(port), SUPERUSER, str(path)), strict=True))


def make_roles(folders: Folders, port: int, env: Mapping[str, str]) -> None:
    """What the image does once, on a fresh volume."""
    own = {**env, **superuser(folders, port), "ROLES": str(folders.secrets / "roles")}
    subprocess.run(["sh", str(HERE / "postgres" / "roles.sh")], env=own, check=True)


# The others.


def keeps_objects() -> bool:
    """Whether the store is that of the file, which keeps its objects on the disk."""
    return shutil.which(WEED) is not None


def store(command: Sequence[str], port: int, volume: Path) -> list[str]:
    """A store that speaks S3.

    Args:
        command: of the image, for this machine.
        port: where it listens.
        volume: where it keeps its objects.
    """
    if not keeps_objects():
        return ["moto_server", "-H", LOCAL, "-p", str(port)]
    volume.mkdir(parents=True, exist_ok=True)
    inner = [f"-{name}={servers.free_port()}" for name in INNER_PORTS]
    return [WEED, *command, f"-ip={LOCAL}", f"-ip.bind={LOCAL}", *inner]


def proxy(folders: Folders, ports: Mapping[str, int]) -> list[str]:
    """nginx, with its configuration for this machine."""
    text = (HERE / "nginx.conf").read_text(encoding="utf-8")
    text = text.replace("listen 443", f"listen {LOCAL}:{ports['proxy']}")
    text = text.replace("/run/secrets", str(folders.run / "secrets"))
    lines = [_upstream(line, ports) for line in text.splitlines()]
    write_bytes(folders.run / "services.conf", "\n".join(lines).encode())
    write_bytes(folders.run / "nginx.conf", _NGINX.format(run=folders.run).encode())
    return [program("nginx", "nginx"), "-p", str(folders.run), "-c", str(folders.run / "nginx.conf")]


def _upstream(line: str, ports: Mapping[str, int]) -> str:
    """A line with addresses of this machine; names of hosts, which nginx compares, keep no port."""
    return exchanged(line, "", ports, {}) if "proxy_pass" in line else line


def make_passable(folders: Folders) -> None:
    """Make the folders above the volumes, so that PostgreSQL's user passes through; others that are there stay."""
    volumes = folders.volume("postgres").parent
    for folder in (*(each for each in reversed(volumes.parents) if not each.exists()), folders.home, volumes):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o711)


def configure(folders: Folders, ports: Mapping[str, int], names: Sequence[str]) -> None:
    """Make the secrets, and what the processes are given of them, with the addresses of this machine."""
    make_passable(folders)
    for folder in (folders.run / "home", folders.logs, folders.volume("prefect")):
        folder.mkdir(parents=True, exist_ok=True)
    secrets.make(folders.secrets, names)
    given = folders.run / "secrets"
    given.mkdir(exist_ok=True, mode=0o700)
    for path in folders.secrets.glob("[!.]*"):
        text = path.read_text(encoding="utf-8")
        write_bytes(given / path.name, exchanged(text, "", ports, {}).encode())
