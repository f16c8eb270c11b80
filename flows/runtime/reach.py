"""Which servers run on this machine, without Prefect: its import takes seconds and makes its home."""

import base64
import fcntl
import re
import shlex
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from pipeline.base.errors import ConfigError

LOCAL = "127.0.0.1"
LOOPBACK = (LOCAL, "localhost", "::1")
SHELL_FILE = "env"
_NAME = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # servers of this machine are behind no proxy


def answers(address: str) -> bool:
    """Whether a server is up and well, by the address of its health check."""
    try:
        with _DIRECT.open(address, timeout=1) as response:
            return bool(response.read().strip().lower() in (b"true", b"ok"))
    except OSError:
        return False


def status(address: str, login: str = "") -> int:
    """What a server of this machine says to a request: a status of HTTP, 0 where it does not answer.

    Args:
        address: of what is asked for.
        login: ``user:secret``; "" for none.
    """
    return _status(_DIRECT, address, login)


def elsewhere(address: str, login: str = "", token: str = "", authority: str = "") -> int:
    """As ``status``, of a server that may be behind a proxy, and may have a certificate of one's own authority.

    Args:
        address: of what is asked for.
        login: ``user:secret``; "" for none.
        token: in place of a login.
        authority: a file of certificates that are trusted; "": those of the system.
    """
    try:
        known = ssl.create_default_context(cafile=authority or None)
    except OSError:
        return 0
    return _status(urllib.request.build_opener(urllib.request.HTTPSHandler(context=known)), address, login, token)


def _status(opener: urllib.request.OpenerDirector, address: str, login: str, token: str = "") -> int:
    request = urllib.request.Request(address)  # noqa: S310 (http, see ``servers``)
    if token or login:
        given = f"Bearer {token}" if token else f"Basic {base64.b64encode(login.encode()).decode()}"
        request.add_unredirected_header("Authorization", given)  # or a redirect would carry it to another server
    try:
        with opener.open(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except OSError:
        return 0


def served(home: Path) -> dict[str, str]:
    """What ``make serve`` wrote about its servers while it runs in a project; else nothing.

    Args:
        home: Prefect's home in that project.
    """
    try:
        with (home / SHELL_FILE).open(encoding="utf-8") as file:
            if not is_locked(file):
                return {}
            words = shlex.split(file.read())
    except FileNotFoundError:
        return {}
    pairs = (word.partition("=") for word in words if word != "export")
    return {name: value for name, _, value in pairs}


def is_locked(file: TextIO) -> bool:
    """Whether a living process holds a lock on an open file; the one that asks is let go at once."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)
    return False


def refuse_nameless(host: str, names: Sequence[str]) -> None:
    """Refuse to listen to other machines where nothing says by which names they may call the server, or a pattern does.

    Args:
        host: the address to listen on.
        names: the hosts that the server may be called by besides localhost.

    Raises:
        ConfigError: with the option to give.
    """
    for name in names:
        if not _NAME.fullmatch(name):  # MLflow reads patterns, and `*` would let every page in
            raise ConfigError(
                f"--allowed-hosts: {name!r} is no name of a host; give names or addresses, with a port where a proxy "
                "has its own, such as box.example,192.0.2.7,box.example:8443"
            )
    if host not in LOOPBACK and not names:
        raise ConfigError(
            f"host {host!r}: other machines could reach the servers, and nothing says by which names they may call "
            f"them; give them as --allowed-hosts box.example,192.0.2.7, or listen on {LOCAL}"
        )


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is a free one.

    Raises:
        ConfigError: the address cannot be used, for instance because another program has it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise ConfigError(f"port {port} of {host}: {error.strerror}; choose another, 0 for a free one") from error
