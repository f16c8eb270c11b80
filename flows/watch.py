"""The command ``watch``: judges records as they come, without Prefect and without MLflow, until it is stopped.

::

    flowsculpt watch FOLDER                 whole files, and the logs in it that grow
    flowsculpt watch FOLDER/conn.log        one log that grows
    some program | flowsculpt watch -       standard input, until it ends

The model lies on the disk, see ``serving.loading``. The registry is asked every ``watch.refresh`` seconds whether
another version serves, and that one takes over between two micro-batches. ``serving.watching.stretch`` says how records
survive a kill. At most one watch at a time runs for each model of a project.

Sinks get alerts at once. Those that get incidents do so when a stretch or a file is whole: ``flowsculpt deliver
--incidents`` groups the alerts then, in a process of the lowest priority, so that no alert waits for it.

It logs to standard error, one JSON object a line, and answers ``/metrics`` and ``/healthz`` on ``watch.host`` and
``watch.port``. TERM and Ctrl-C end it when what has come by then is judged.

The exit code is 1 where it cannot begin, else 0.
"""

import fcntl
import json
import os
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from flows import arguments
from flows.runtime import program
from pipeline.base.errors import ConfigError, ConflictError, FlowsculptError, SourceError
from pipeline.tracking import quiet_tools

if TYPE_CHECKING:
    from pipeline.serving.watching.folder import Folder
    from pipeline.serving.watching.watcher import Stream, Watcher
    from pipeline.settings.watch import Watch

INPUT = "-"
LOCK = "watch.lock"


def main(given: Sequence[str] | None = None) -> int:
    """Watch from the command line; returns the exit code."""
    chosen = arguments.parse("watch", given)
    quiet_tools()
    try:
        return watch(chosen)
    except FlowsculptError as error:
        print(f"watch: {error}", file=sys.stderr)
        return 1


def watch(chosen: Namespace, stopped: threading.Event | None = None, tell: Callable[..., None] | None = None) -> int:
    """Judge what comes until ``stopped``, or a signal; returns the exit code.

    Args:
        chosen: the path and the alias.
        stopped: ends it.
        tell: gets what happens, an event and its fields; ``log`` if left out.

    Raises:
        FlowsculptError: it cannot begin.
    """
    import signal

    from pipeline import config
    from pipeline.objects.address import Address, is_address
    from pipeline.serving import front_door
    from pipeline.serving.watching.handing_over import delivering
    from pipeline.settings.alerts import Alerts

    if is_address(chosen.path):
        raise ConfigError(f"{Address.of(chosen.path)}: the watch reads files of this machine; schedule scoring instead")
    stopped, tell = stopped or threading.Event(), tell or log
    with ExitStack() as held:
        if threading.current_thread() is threading.main_thread():
            held.enter_context(program.heeding(stopped.set, [signal.SIGTERM, signal.SIGINT]))
        held.enter_context(alone())
        held.enter_context(front_door.opened())
        watcher, port = begun(chosen, tell), 0
        sinks = config.load(Alerts).sinks
        watcher.hand_over = taking = held.enter_context(delivering(sinks))
        if sinks.incidents:
            held.enter_context(_grouping(watcher, taking.look))
        if watcher.settings.port:
            port = held.enter_context(_metrics(watcher))
        watcher.model.follow(watcher.settings.refresh, stopped)
        tell("started", path=str(chosen.path), version=watcher.model.current.number, port=port)
        watcher.recover()
        watcher.run(stopped, until_over=chosen.path == INPUT)
        tell("stopped", records=int(watcher.gauges.value("records_total")))
    return 0


def begun(chosen: Namespace, tell: Callable[..., None]) -> "Watcher":
    """The watch that was asked for.

    Raises:
        FlowsculptError: there is no model, or no such folder.
    """
    from pipeline import config
    from pipeline.serving.watching.serving_model import ServingModel
    from pipeline.serving.watching.watcher import Watcher
    from pipeline.settings.alerts import Alerts
    from pipeline.settings.scoring import Scoring
    from pipeline.settings.watch import Watch

    settings, alerts = config.load(Watch), config.load(Alerts)

    def warn(text: str, **found: Any) -> None:
        tell("warning", message=text, **found)

    model = ServingModel(chosen.alias, config.load(Scoring).contract, alerts, warn)
    streams, folder = _sources(chosen.path, settings, model.current.bundle.dataset.partition(" ")[0], warn)
    return Watcher(settings, model, streams, folder, lambda _: None, tell)


def _sources(
    path: str, settings: "Watch", dataset: str, warn: Callable[[str], None]
) -> "tuple[list[Stream], Folder | None]":
    """The streams that are read, and the folder."""
    from pipeline.serving.watching import folder
    from pipeline.serving.watching.growing import GrowingLog
    from pipeline.serving.watching.standard_input import StandardInput

    if path == INPUT:
        now = f"stdin-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}"
        suffix = ".json" if dataset in ("zeek", "suricata") else ".jsonl"
        return [StandardInput(sys.stdin.fileno(), now, settings.waiting, suffix)], None
    place = Path(path)
    if place.is_file() or place.name in settings.growing:
        if not place.parent.is_dir():
            raise SourceError(f"{place.parent}: is no folder")
        return [GrowingLog(place, warn, settings.settle)], None
    folder.require(place)
    logs = [GrowingLog(place / name, warn, settings.settle) for name in settings.growing]
    return [*logs], folder.Folder(place, settings.settle, settings.growing)


@contextmanager
def _metrics(watcher: "Watcher") -> Iterator[int]:
    from flows.runtime.metrics import answering

    settings = watcher.settings

    def health() -> str:
        lag = watcher.lag
        return f"behind by {lag:.0f} s" if lag > settings.late else ""

    with answering(settings.host, settings.port, watcher.gauges.text, health) as port:
        yield port


@contextmanager
def _grouping(watcher: "Watcher", done: Callable[[], None]) -> Iterator[None]:
    """Group alerts into incidents in the background, when a stretch or a file is whole; ``done`` after each time."""
    from flows.runtime.background import Background

    def failed(reason: str) -> None:
        watcher.log("not grouped", reason=reason)

    command = [sys.executable, "-m", "flows.deliver", "--incidents"]
    background = Background(command, watcher.settings.incidents, done, failed)
    background.ask()  # for what an earlier process has left
    watcher.whole = background.ask
    with background.running():
        yield


@contextmanager
def alone() -> Iterator[None]:
    """One watch at a time for a model of this project.

    Raises:
        ConflictError: another one runs.
    """
    from pipeline.base import durable
    from pipeline.serving.watching import stretch

    durable.make_private(stretch.room())
    with (stretch.room() / LOCK).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConflictError(f"{stretch.room()}: another watch is at work here; stop it first") from error
        yield


def log(event: str, stream_to: TextIO | None = None, **fields: Any) -> None:
    """One JSON object on standard error: time, event, and what belongs to it."""
    now = datetime.fromtimestamp(time.time(), UTC).isoformat(timespec="milliseconds")
    print(json.dumps({"time": now, "event": event, **fields}), file=stream_to or sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
