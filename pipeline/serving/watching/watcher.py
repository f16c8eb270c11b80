"""The loop of the watch: takes what streams and a folder have, judges it, and hands its alerts on.

One micro-batch, or one whole file, is judged at a time, in one thread. So the order is simple: after each micro-batch
the next stream has its turn, and another model takes over only between two of them. What comes faster than it is judged
waits where it is: a log and a folder on the disk, standard input in a queue. When that is full, its writer waits.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from threading import Event
from typing import Any, Final, Protocol

import pyarrow as pa

from pipeline.artifacts.tables import read_table
from pipeline.base.errors import FlowsculptError, SilentModelError
from pipeline.serving.alerts import stored
from pipeline.serving.alerts.schema import SCHEMA
from pipeline.serving.arrivals import key_of
from pipeline.serving.intake import Left, Outcome
from pipeline.serving.quarantine import Held
from pipeline.serving.scored import table_path
from pipeline.serving.watching import growing, stretch
from pipeline.serving.watching.folder import Folder
from pipeline.serving.watching.gauges import Gauges
from pipeline.serving.watching.lines import Batch
from pipeline.serving.watching.serving_model import ServingModel
from pipeline.serving.watching.stretch import Judged, Stretch
from pipeline.settings.watch import Watch

SHARE: Final = 32  # a micro-batch may have one line for so many records of the past that it looks at
HandOver = Callable[[pa.Table], None]
Log = Callable[..., None]


class Stream(Protocol):
    """Where lines come from; see ``growing`` and ``standard_input``."""

    stream: str

    @property
    def behind(self) -> int: ...  # noqa: D102
    def read(self, most: int) -> Batch | None: ...  # noqa: D102
    def commit(self) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


class Watcher:
    """Judges what comes until it is stopped.

    Args:
        settings: of the watch.
        model: that serves.
        streams: lines that are read as they come.
        folder: of whole files, if one is watched.
        hand_over: gets each table of alerts, when it is on the disk.
        log: gets what happens: an event and its fields.

    Attributes:
        gauges: what is counted.
        whole: called when a stretch or a file is whole, so that its alerts may have become incidents.
    """

    def __init__(
        self,
        settings: Watch,
        model: ServingModel,
        streams: Sequence[Stream],
        folder: Folder | None,
        hand_over: HandOver,
        log: Log,
    ) -> None:
        self.settings, self.model, self.streams, self.folder = settings, model, streams, folder
        self.hand_over, self.log, self.gauges = hand_over, log, Gauges()
        self.whole: Callable[[], None] = lambda: None
        self._stretches: dict[str, Stretch] = {}
        self._waiting: dict[str, int] = {}  # what was behind the last micro-batch of each stream when that was read
        self._judges_by, self._judged_until = model.current, time.monotonic()

    def recover(self) -> None:
        """Judge to its end each stretch that a killed process has left."""
        for name in sorted(path.name for path in stretch.room().glob("*") if path.is_dir()):
            growing.remember(name)
            records = stretch.recover(name, self.model.by_digest, self._handed)
            if records:
                self.gauges.add("recovered_records_total", records)
                self.whole()
                self.log("recovered", stream=name, records=records)

    def run(self, stopped: Event, until_over: bool = False) -> None:
        """Judge until ``stopped``, then what has come by then.

        Args:
            stopped: ends the loop.
            until_over: whether the end of standard input ends it, too.

        Raises:
            SilentModelError: the model is silent, and refused for that.
        """
        try:
            while not stopped.is_set():
                if not self.step():
                    if until_over and all(getattr(each, "is_over", False) for each in self.streams):
                        break
                    stopped.wait(self.settings.poll)
            self.drain()
        except SilentModelError:
            self._drop()
            raise

    def _drop(self) -> None:
        """Leave what was begun to the next watch, as a kill does; no other model may judge it."""
        for stream in self.streams:
            stream.close()
        for each in self._stretches.values():
            each.drop()
        self._stretches.clear()

    def step(self) -> bool:
        """Judge a micro-batch of each stream and a file, as far as there are any; returns whether there were."""
        self._swap()
        began = time.monotonic()
        found = [self._step_of(each) for each in self.streams]
        has_file = self._one_file()
        did = any(found) or has_file
        for name, each in [*self._stretches.items()]:
            if self._is_long(each):
                self._end(name)
        if not did or not (has_file or any(self._waiting.values())):
            self._judged_until = began
        self.gauges.set("lag_seconds", self.lag if did else 0.0)
        return did

    @property
    def lag(self) -> float:
        """Seconds since the moment up to which all that had come is judged."""
        return time.monotonic() - self._judged_until

    def drain(self) -> None:
        """Judge what is there now, and end all stretches; what a log gets meanwhile is left to the next watch."""
        for each in self.streams:
            each.close() if hasattr(each, "is_over") else None
            while self._step_of(each) and self._waiting[each.stream]:
                pass
            each.close()
        for name in [*self._stretches]:
            self._end(name)

    # Streams.

    def _step_of(self, stream: Stream) -> bool:
        began = time.monotonic()
        here = self._stretches.get(stream.stream)
        batch = stream.read(self._most(here))
        self.gauges.set("behind", stream.behind, stream=stream.stream)
        self._waiting[stream.stream] = 0 if batch is None else stream.behind
        if batch is None:
            return False
        if here is None:
            first = batch.name.rpartition(".")[0]
            here = self._stretches[stream.stream] = Stretch.begin(stream.stream, first, self._judges_by)
        judged = here.add(batch.name, batch.content)
        if judged.refused:
            stream.commit()  # its micro-batch, whose name said how far the stream was read, is in quarantine
        self._told(stream.stream, batch.name, judged, time.monotonic() - began)
        return True

    def _most(self, here: Stretch | None) -> int:
        """Lines of the next micro-batch, at most: the more is looked at once more for each, the more lines share it."""
        return max(self.settings.batch, here.remembered // SHARE if here else 0)

    def _told(self, stream: str, name: str, judged: Judged, seconds: float) -> None:
        self._handed(judged.alerts)
        self._silent(stream, judged.silent)
        self.gauges.judged(judged)
        self.gauges.add("batches_total")
        self.gauges.set("judging_seconds", seconds)
        if judged.refused:
            self.log("quarantined", stream=stream, batch=name, reason=judged.refused)
            return
        counts = {"records": judged.records, "rejected": judged.rejected, "alerts": judged.alerts.num_rows}
        self.log("judged", stream=stream, batch=name, seconds=round(seconds, 3), **counts)

    def _is_long(self, here: Stretch) -> bool:
        old = time.monotonic() - here.began >= self.settings.stretch
        return old or here.records >= self.settings.stretch_records

    def _end(self, name: str) -> None:
        here = self._stretches.pop(name)
        next(each for each in self.streams if each.stream == name).commit()
        summary = here.end()
        self.whole()
        self.log("stretch", stream=name, key=here.key, records=here.records, version=here.model.number)
        if summary is not None and summary["contract"]["state"] == "broken":
            self._warned(name, " ".join(summary["contract"]["sentences"]))
        self._silent(name, (summary or {}).get("silent", ""))

    def _warned(self, stream: str, message: str) -> None:
        if message:
            self.log("warning", stream=stream, message=message)

    def _silent(self, stream: str, message: str) -> None:
        if message:
            self.gauges.set("silent", 1.0)
            self.log("warning", stream=stream, message=message, silent=True)

    def _swap(self) -> None:
        """Let the model take over that serves now; what the one before began is ended first."""
        self.gauges.set("registry_away", float(self.model.is_away))
        self.gauges.set("refused_models_total", self.model.refused)
        self.gauges.set("model_version", self._judges_by.number)
        now = self.model.current
        if now is self._judges_by:
            return
        for name in [*self._stretches]:
            self._end(name)
        self.log("swapped", version=now.number, before=self._judges_by.number, digest=now.bundle.digest)
        self._judges_by = now
        self.gauges.set("silent", 0.0)
        self.gauges.add("swaps_total")
        self.gauges.set("model_version", now.number)

    # Whole files.

    def _one_file(self) -> bool:
        path = self.folder.next() if self.folder else None
        if self.folder is None or path is None:
            return False
        done = self.folder.judge(path, self._judges_by)
        self.gauges.set("behind", self.folder.waiting, stream="folder")
        self._file_told(path.name, done)
        return not isinstance(done, Left)

    def _file_told(self, name: str, done: Outcome) -> None:
        if isinstance(done, dict):
            alerts = _alerts_of(done)
            self._handed(alerts)
            self.gauges.judged(_judged(done, alerts))
            self.gauges.add("files_total")
            self.whole()
            self.log("file", file=name, records=done["records"], rejected=done["rejected"], alerts=alerts.num_rows)
            self._silent("folder", done.get("silent", ""))
        elif isinstance(done, SilentModelError):
            raise done
        elif isinstance(done, Held):
            self.gauges.add("quarantined_total")
            self.log("quarantined", file=name, reason=done.reason)
        elif isinstance(done, Exception):
            self.log("refused", file=name, reason=str(done))

    def _handed(self, alerts: pa.Table) -> None:
        """Hand alerts on; sinks that fail keep no record from being judged, as alerts are on the disk already."""
        if not alerts.num_rows:
            return
        try:
            self.hand_over(alerts)
        except FlowsculptError as error:
            self.log("not delivered", reason=str(error), alerts=alerts.num_rows)


def _alerts_of(summary: Mapping[str, Any]) -> pa.Table:
    key = key_of(summary["source"], summary["source_sha256"], summary["version"])
    return read_table(table_path(key, stored.ROOM)).cast(SCHEMA)


def _judged(summary: Mapping[str, Any], alerts: pa.Table) -> Judged:
    alarms = {name: each["alarms"] for name, each in summary["alarms"].items()}
    expected = {name: each.get("expected", 0.0) for name, each in summary["alarms"].items()}
    return Judged(summary["records"], summary["rejected"], alarms, expected, alerts)
