"""A stretch of a stream: some minutes of records, which become one table as the records of a file do.

::

    data/watch/STREAM/FIRST-vVERSION-DIGEST/FIRST.csv    a micro-batch: lines of the stream, below a header
    data/watch/STREAM/FIRST-vVERSION-DIGEST/NEXT.csv     the next one
    data/scored/alerts/KEY.NUMBER.parquet                alerts of a micro-batch, until the stretch is whole
    data/scored/KEY.parquet, ...                         the tables of the stretch, see ``batch``; its summary is last

A micro-batch is written and flushed before it is judged, under a name that says which part of the stream it holds. That
one rename is the record of how far the stream was read. Its alerts are there as soon as it is judged. The tables of the
stretch appear when it ends; then its micro-batches are removed.

A process that is killed leaves the micro-batches of a stretch. The next one judges them again, by the model that began
the stretch and in the same parts, so the same records become the same alerts, bit for bit, and no record is judged by
two models or twice. The model is known by its digest, and needs no registry: it lies in ``data/registered``.
"""

import hashlib
import re
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import pyarrow as pa

from pipeline.artifacts import paths
from pipeline.artifacts.files import sha256_of, write_bytes
from pipeline.artifacts.tables import TableWriter
from pipeline.base import durable
from pipeline.base.errors import ArtifactError, DataError
from pipeline.preprocessing.context.talks import Talks
from pipeline.serving import carried_past, own_model, quarantine, reading, scored, silence
from pipeline.serving.alerts import stored
from pipeline.serving.alerts.building import AlertBuilder
from pipeline.serving.alerts.schema import SCHEMA
from pipeline.serving.arrivals import Incoming
from pipeline.serving.batch import Judging
from pipeline.serving.bundle import Bundle
from pipeline.serving.carried_past import Before
from pipeline.settings.alerts import Alerts
from pipeline.settings.scoring import ContractRules

_NAME: Final = re.compile(r"(?P<first>.+)-v(?P<version>\d+)-(?P<digest>[0-9a-f]{16})")


@dataclass(frozen=True)
class Model:
    """A version of the model, and by which rules it judges.

    Attributes:
        number: of the version.
        bundle: the model.
        contract: when records are not of the kind that it was fitted on, and what then.
        alerts: which records become alerts.
    """

    number: int
    bundle: Bundle
    contract: ContractRules
    alerts: Alerts


@dataclass(frozen=True)
class Judged:
    """What became of a micro-batch.

    Attributes:
        records: how many were judged.
        rejected: how many rows could not be read.
        alarms: threshold -> records that exceed it.
        expected: threshold -> records that would exceed it if all were benign.
        alerts: table of alerts.
        refused: why the batch cannot be judged at all; "" where it was.
        silent: what is wrong with the model that goes on all the same, where that is news.
    """

    records: int
    rejected: int
    alarms: dict[str, int]
    expected: dict[str, float]
    alerts: pa.Table
    refused: str = ""
    silent: str = ""


class Stretch:
    """Micro-batches of one stream by one model, judged as they are added.

    Args:
        folder: of its micro-batches.
        model: that judges all of them.
    """

    def __init__(self, folder: Path, model: Model) -> None:
        self.folder, self.model, self.began = folder, model, time.monotonic()
        first = folder.name.rpartition("-v")[0]
        identity = hashlib.sha256(f"{folder.parent.name} {folder.name}".encode()).hexdigest()
        self.file = Incoming(folder, first, identity)
        self.key = self.file.key(model.number)
        self.records, self._parts = 0, 0
        self._before: Before | None = None  # what the stretch goes on from
        self._end: Before | None = None  # and its next batch
        builder = AlertBuilder(model.bundle, model.number, self.file, model.alerts)
        self._judging = Judging(builder, model.contract)
        self._opened = ExitStack()
        self._opened.enter_context(self._judging)

    @classmethod
    def begin(cls, stream: str, first: str, model: Model) -> Self:
        """A new one; ``first`` is the name of its first micro-batch, without its suffix."""
        name = f"{first}-v{model.number}-{model.bundle.digest[:16]}"
        folder = room() / stream / name
        durable.make_private(room())
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder, model)

    def add(self, name: str, content: bytes) -> Judged:
        """Write a micro-batch, and judge it, if the model is not silent.

        Raises:
            SilentModelError: it is, and is refused for that; nothing was written.
            ArtifactError: it cannot be written, or its results cannot.
        """
        silent = silence.require(self.model.bundle, self.model.number, self.model.alerts)
        write_bytes(self.folder / name, content)
        return replace(self.judge(self.folder / name), silent=silent)

    def judge(self, path: Path) -> Judged:
        """Judge a micro-batch that lies in the folder; one that cannot be judged goes into quarantine."""
        file = Incoming(path, path.name, sha256_of(path))
        counted = self._counts()
        try:
            past = reading.contexts(file, self.model.bundle, self.key, self._end)
            alerts = self._judging.add(file, past)
        except DataError as error:
            quarantine.put(path, path.name, file.sha256, self.model.number, str(error))
            return Judged(0, 0, {}, {}, SCHEMA.empty_table(), str(error))
        if past is not None:
            self._go_on(past)
        self._store_part(alerts)
        return self._since(counted, alerts)

    @property
    def remembered(self) -> int:
        """Records of the recent past that each micro-batch looks at; 0 for a model that reads none."""
        return 0 if self._end is None else len(self._end.talks)

    def _go_on(self, past: reading.FilePast) -> None:
        looks_back = self.model.bundle.looks_back
        self._before = self._before or past.after
        joined = Talks.joined(past.after.talks, past.talks)
        if looks_back is not None and len(joined):
            self._end = Before(past.after.key, carried_past.last_of(joined, looks_back))

    def _store_part(self, alerts: pa.Table) -> None:
        self._parts += 1
        if alerts.num_rows:
            path = own_model.scored() / stored.ROOM / f"{self.key}.{self._parts:06d}.parquet"
            with TableWriter(path, SCHEMA) as writer:
                writer.write(alerts)

    def _counts(self) -> tuple[int, int, dict[str, int]]:
        tally = self._judging.tally
        return tally.verdicts.total(), tally.reasons.total(), dict(tally.alarms)

    def _since(self, before: tuple[int, int, dict[str, int]], alerts: pa.Table) -> Judged:
        records, rejected, alarms = self._counts()
        n = records - before[0]
        self.records = records
        promises = self.model.bundle.calibration.promises()
        expected = {name: n * share for name, share in promises.items()}
        found = {name: count - before[2].get(name, 0) for name, count in alarms.items()}
        return Judged(n, rejected - before[1], found, expected, alerts)

    def end(self) -> dict[str, Any] | None:
        """Publish its tables and remove its micro-batches; returns the summary, None where it has no record."""
        summary = None
        if self.records:
            self._opened.close()
            if self._end is not None and self._before is not None:
                before = Before(self._before.key, Talks.none())  # its records are among those of the end
                carried_past.store(self.key, self.model.bundle, before, self._end.talks)
            summary = self._judging.summary({})
        else:
            self.drop()
        forget(self.folder)
        return summary

    def drop(self) -> None:
        """Publish nothing, as if the process ended here."""
        error = KeyboardInterrupt()
        self._opened.__exit__(type(error), error, None)


def room() -> Path:
    """Where streams keep what is not yet judged to the end of a stretch."""
    return own_model.own_folder(paths.WATCH)


def recover(stream: str, model_of: Callable[[int, str], Model], hand_over: Callable[[pa.Table], None]) -> int:
    """Judge to its end what a process that was killed has left of a stream; returns how many records these are.

    Args:
        stream: its name.
        model_of: gives the model of a version, by its number and the first 16 digits of its digest.
        hand_over: gets each table of alerts once more.

    Raises:
        ArtifactError: a model is gone from the disk.
    """
    records = 0
    for folder in sorted(path for path in (room() / stream).glob("*-v*-*") if path.is_dir()):
        told = _NAME.fullmatch(folder.name)
        if told is None:
            continue
        if _is_whole(folder, int(told["version"])):
            forget(folder)
            continue
        stretch = Stretch(folder, model_of(int(told["version"]), told["digest"]))
        for path in batches(folder):
            hand_over(stretch.judge(path).alerts)
        records += stretch.records
        stretch.end()
    return records


def _is_whole(folder: Path, version: int) -> bool:
    identity = hashlib.sha256(f"{folder.parent.name} {folder.name}".encode()).hexdigest()
    return scored.is_scored(Incoming(folder, folder.name, identity), version)


def batches(folder: Path) -> list[Path]:
    """The micro-batches of a stretch, in their order."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def forget(folder: Path) -> None:
    """Remove the micro-batches of a stretch that is whole, and the parts of its alerts."""
    told = _NAME.fullmatch(folder.name)
    if told:
        identity = hashlib.sha256(f"{folder.parent.name} {folder.name}".encode()).hexdigest()
        key = Incoming(folder, told["first"], identity).key(int(told["version"]))
        for part in (own_model.scored() / stored.ROOM).glob(f"{key}.[0-9]*.parquet"):
            part.unlink(missing_ok=True)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise ArtifactError(f"{folder}: cannot be removed ({error}); check its rights") from error
    durable.sync(folder.parent)
