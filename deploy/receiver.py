"""Receivers of this machine, and what they got: of syslog by TCP, and of notifications by HTTP."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, BaseServer, ThreadingTCPServer
from typing import Final

from deploy.composition import LOCAL

BYTES: Final = 65_536


class Receiver:
    """Keeps all that arrives, as one text."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._lock = threading.Lock()
        self.address = ""

    def add(self, part: bytes) -> None:
        """Keep what arrived."""
        with self._lock:
            self._parts.append(part.decode(errors="replace"))

    @property
    def text(self) -> str:
        """All that has arrived."""
        with self._lock:
            return "".join(self._parts)

    def count(self, key: str) -> int:
        """How often a key of an alert has arrived."""
        return self.text.count(f'key="{key}"')


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver, for as long as the context lasts."""
    receiver = Receiver()

    class Taken(BaseRequestHandler):
        """One connection."""

        def handle(self) -> None:
            """Take all of it."""
            while part := self.request.recv(BYTES):
                receiver.add(part)

    class Server(ThreadingTCPServer):
        """Ends without waiting for open connections."""

        daemon_threads = True
        allow_reuse_address = True

    with Server((LOCAL, 0), Taken) as server, _running(server):
        receiver.address = f"{LOCAL}:{server.server_address[1]}"
        yield receiver


class Sink:
    """Keeps the notifications that arrive, in order."""

    def __init__(self) -> None:
        self._got: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        self.address = ""

    def add(self, title: str, text: str) -> None:
        """Keep one."""
        with self._lock:
            self._got.append((title, text))

    @property
    def count(self) -> int:
        """How many have arrived."""
        with self._lock:
            return len(self._got)

    def find(self, title: str, word: str = "", since: int = 0) -> bool:
        """Whether one has arrived with this end of its title and this word in its text, behind the first ``since``."""
        with self._lock:
            return any(each.endswith(title) and word in text for each, text in self._got[since:])


@contextmanager
def notified() -> Iterator[Sink]:
    """A sink that takes notifications by webhook, for as long as the context lasts."""
    sink = Sink()

    class Taken(BaseHTTPRequestHandler):
        """One request."""

        def do_POST(self) -> None:
            """Take it."""
            given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            sink.add(given["title"], given["text"])
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((LOCAL, 0), Taken) as server, _running(server):
        sink.address = f"http://{LOCAL}:{server.server_address[1]}/told"
        yield sink


@contextmanager
def _running(server: BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
