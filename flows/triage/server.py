"""The program: reads the alerts, listens, and follows new files until a signal comes."""

import os
import sys
import threading
from argparse import Namespace

from flows.runtime import reach
from pipeline.base.errors import FlowsculptError


def main(chosen: Namespace) -> int:
    """Serve the page; returns the exit code."""
    try:
        serve(chosen)
    except FlowsculptError as error:
        print(f"triage: {error}", file=sys.stderr)
        return 1
    return 0


def serve(chosen: Namespace) -> None:
    """Serve the page until a signal comes.

    Raises:
        FlowsculptError: the page cannot start.
    """
    import uvicorn

    from flows.triage import sessions
    from flows.triage.app import build
    from flows.triage.desk import Desk

    names = [name.strip() for name in chosen.allowed_hosts.split(",") if name.strip()]
    reach.refuse_nameless(chosen.host, names)
    known, desk = sessions.Sessions(sessions.secret()), Desk()
    desk.refresh()
    stopped = threading.Event()
    threading.Thread(target=desk.follow, args=(stopped,), daemon=True).start()
    config = uvicorn.Config(
        build(desk, known, names),
        host=chosen.host,
        port=chosen.port,
        log_level="warning",
        server_header=False,
        date_header=False,
        proxy_headers=False,
        ws="none",
    )
    server = uvicorn.Server(config)
    try:
        with reach.listening(chosen.host, chosen.port) as socket:
            print(_words(chosen.host, socket.getsockname()[1]), flush=True)
            server.run(sockets=[socket])
    except KeyboardInterrupt:
        print("triage: stopping", flush=True)
    finally:
        stopped.set()


def _words(host: str, port: int) -> str:
    """Where the page is and how to log in; the secret itself is not printed."""
    from flows.triage import sessions

    where = f"[{host}]" if ":" in host else host
    asks = f"what {sessions.VARIABLE} says" if os.environ.get(sessions.VARIABLE) else f"the line in {sessions.FILE}"
    return f"triage: http://{where}:{port}   asks for {asks}; Ctrl-C stops it"
