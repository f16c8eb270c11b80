"""The Prefect server behind a door, run as a program by ``servers.prefect``.

::

    python -m flows.runtime.api --port 4200 [--host 127.0.0.1] [--allowed-hosts box.example] [--no-services] [--no-ui]

Prefect answers whatever name it is called by. A page that is open in the operator's browser could give this machine a
name of its own and talk to the server through it (DNS rebinding). The door answers to known names alone, and to no page
but the server's own. Prefect itself asks for the login. The log names no address but by its host, see
``log_addresses``.
"""

import argparse
import logging
import os
import sys
from collections.abc import Collection, Sequence
from typing import Any
from urllib.parse import urlsplit

from flows.runtime.log_addresses import ShortRecord

LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]")


class Door:
    """An ASGI application that lets a request in if it names this server and comes from none but its own pages.

    Args:
        app: what lies behind the door.
        names: the hosts that the server may be called by; a port of them does not count.
    """

    def __init__(self, app: Any, names: Collection[str]) -> None:
        self._app, self._names = app, frozenset(_without_port(name.lower()) for name in names)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Refuse a request of HTTP or a web socket with 403; pass on whatever else comes."""
        from starlette.responses import PlainTextResponse

        reason = self._objection(scope) if scope["type"] in ("http", "websocket") else ""
        if not reason:
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await PlainTextResponse(reason, status_code=403)(scope, receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": reason})  # before it is accepted: a 403

    def _objection(self, scope: Any) -> str:
        """Why a request is refused; empty where it is not."""
        from starlette.datastructures import Headers

        headers = Headers(scope=scope)
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        if _without_port(host) not in self._names:
            return f"this server is not called {host!r}; --allowed-hosts names its hosts"
        if origin is not None and urlsplit(origin.lower()).netloc != host:
            return f"pages of {origin!r} may not use this server"
        return ""


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal comes; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m flows.runtime.api", description="The Prefect server behind a door."
    )
    parser.add_argument("--host", default=LOCAL_NAMES[0], help="the address to listen on")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--allowed-hosts", default="", help="names of the server besides localhost: a,b")
    parser.add_argument("--no-services", action="store_true", help="no scheduler and no other service")
    parser.add_argument("--no-ui", action="store_true", help="no pages")
    parser.add_argument("--log-level", help="as PREFECT_SERVER_LOGGING_LEVEL")
    given = parser.parse_args(arguments)
    if given.log_level:
        os.environ["PREFECT_SERVER_LOGGING_LEVEL"] = given.log_level
    if given.no_ui:
        os.environ["PREFECT_SERVER_UI_ENABLED"] = "false"
    serve(given)
    return 0


def serve(given: argparse.Namespace) -> None:
    """Do what ``prefect server start`` does, behind the door."""
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    logging.setLogRecordFactory(ShortRecord)
    settings = get_current_settings().server
    names = (*LOCAL_NAMES, *filter(None, given.allowed_hosts.split(",")))
    app: Any = Door(create_app(final=True, webserver_only=given.no_services), names)
    uvicorn.run(
        app,
        host=given.host,
        port=given.port,
        timeout_keep_alive=settings.api.keepalive_timeout,
        ws_ping_interval=settings.api.websocket_ping_interval,
        ws_ping_timeout=settings.api.websocket_ping_timeout,
        log_level=settings.logging_level.lower(),
    )


if __name__ == "__main__":
    sys.exit(main())
