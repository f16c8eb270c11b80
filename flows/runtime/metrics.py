"""``/metrics`` for Prometheus and ``/healthz`` for whoever starts and stops a program, over plain HTTP.

There is no log-in: counts are no secrets, but the address should be one that others cannot reach.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from pipeline.base.errors import ConfigError

PATIENCE = 10.0  # seconds for a request; who says nothing would hold a thread for ever
TEXT = "text/plain; version=0.0.4; charset=utf-8"


@contextmanager
def answering(
    host: str, port: int, metrics: Callable[[], str], health: Callable[[], str], setting: str = "watch.port"
) -> Iterator[int]:
    """Answer on an address while the block runs; gives the port.

    Args:
        host: address to listen on.
        port: 0 for a free one.
        metrics: gives the text of ``/metrics``.
        health: says what is wrong, "" for nothing; ``/healthz`` answers 200 or 503.
        setting: that names the port, for the message.

    Raises:
        ConfigError: the address cannot be had.
    """
    try:
        server = ThreadingHTTPServer((host, port), _handler(metrics, health))
    except OSError as error:
        raise ConfigError(f"{setting}: {host}:{port} cannot be had ({error.strerror}); choose another one") from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.2,), name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(metrics: Callable[[], str], health: Callable[[], str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = PATIENCE

        def do_GET(self) -> None:
            if self.path == "/metrics":
                self._answer(200, metrics())
            elif self.path == "/healthz":
                fault = health()
                self._answer(503 if fault else 200, f"{fault or 'ok'}\n")
            else:
                self._answer(404, "there are /metrics and /healthz\n")

        def _answer(self, code: int, text: str) -> None:
            content = text.encode()
            self.send_response(code)
            self.send_header("Content-Type", TEXT)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Answers are no news."""

    return Handler
