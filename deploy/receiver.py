"""A receiver of syslog by TCP on this machine, and what it got."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer
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

    with Server((LOCAL, 0), Taken) as server:
        receiver.address = f"{LOCAL}:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
