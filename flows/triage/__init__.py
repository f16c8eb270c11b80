"""The triage page: a local web application where people work through incidents and say what they were.

::

    flowsculpt triage [--host 127.0.0.1] [--port 4300] [--allowed-hosts NAMES]

``index`` keeps the alerts of ``data/scored`` in memory and follows new files. ``marks`` follows ``data/labels.jsonl``.
``filters`` choose alerts, ``drawings`` turn them into pictures, ``sessions`` know who is logged in, and ``app`` answers
the browser. ``pages`` has the templates. ``pipeline.serving.analyst`` writes a mark, as it does for the command
``label``.
"""

from collections.abc import Sequence


def main(given: Sequence[str] | None = None) -> int:
    """Serve the page until a signal comes; returns the exit code."""
    from flows import arguments

    chosen = arguments.parse("triage", given)
    from flows.triage.server import main as serve

    return serve(chosen)
