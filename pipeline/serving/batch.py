"""New records, judged: one Parquet for each file that came in, named by the file, its content and the model version.

::

    data/scored/KEY.parquet             a row for each record: who it is, its scores, p-value and verdict
    data/scored/rejected/KEY.parquet    rows that could not be read, with the reason
    data/scored/samples/KEY.parquet     raw columns of a few records, for the watch on drift and the gate
    data/scored/alerts/KEY.parquet      its alerts: who, when, how unlikely, and why; see ``alerts.schema``
    data/scored/records/KEY.parquet     raw columns of the strongest alerts, for whoever labels them
    data/scored/pasts/KEY.parquet       the end of its traffic, for the next file; see ``carried_past``
    data/scored/claims/SHA256.lock      held while a content is scored; see ``claims``
    data/scored/spool/SINK.sqlite       alerts that wait for a sink; see ``alerts.delivery``
    data/scored/summaries/KEY.json      counts, and the sha256 of what came in and of those above
    data/scored/silence/                what a version has judged since its last alert; see ``silence``
    data/scored/sequence                number of the last summary

A model that has a name of its own has these in a folder of its own; see ``own_model``.

All but the summary are the same bytes however often a file is scored. What changes from run to run, such as the time,
stands in the summary alone. The summary appears last. A file counts as scored when its summary names the sha256 of its
whole content, and the tables that it names have the hashes that stand there. What a power cut or a full disk cut short
does not count, and is scored again. Only this user may enter the folder.

Drift of features and the gate of promotion need raw columns of recent records, and a label needs those of its record. A
small sample and the strongest alerts are kept, because the files that came in may be gone by then, and copies of all of
them would be as large as they are. A sample has every column that was read, so that a later model that reads others can
score it too. It has the context of each record too, where the model reads it, as a sample has no past of its own.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, Self

import numpy as np
import pyarrow as pa

from pipeline import config
from pipeline.artifacts.files import sha256_of, write_json
from pipeline.artifacts.tables import TableWriter
from pipeline.base import durable
from pipeline.base.engine import mapped
from pipeline.base.errors import SourceError
from pipeline.datasets.base import REJECTED_SCHEMA
from pipeline.objects import copies
from pipeline.serving import carried_past, discoveries, judged, own_model, reading, silence, verdict_csv
from pipeline.serving.alerts import delivery
from pipeline.serving.alerts.building import AlertBuilder
from pipeline.serving.alerts.schema import SCHEMA as ALERT_SCHEMA
from pipeline.serving.alerts.stored import ROOM as ALERT_ROOM
from pipeline.serving.arrivals import Incoming, content_hash
from pipeline.serving.bundle import Bundle
from pipeline.serving.contract_check import WARN, ContractCheck
from pipeline.serving.judged import Judged, Piece, SoFar
from pipeline.serving.reading import FilePast
from pipeline.serving.scored import SCHEMA, TABLES, next_number, summary_path, table_path
from pipeline.serving.tally import Tally
from pipeline.settings.alerts import Alerts
from pipeline.settings.scoring import ContractRules


def score(
    file: Incoming,
    bundle: Bundle,
    version: int,
    flow_run: str = "",
    false_discovery: float | None = None,
    rules: ContractRules = WARN,
    alerts: Alerts | None = None,
    most_in_csv: int = -1,
) -> dict[str, Any]:
    """Score the records of a file, some at a time; returns the summary.

    Args:
        file: what to read.
        bundle: the model.
        version: its number in the registry.
        flow_run: the Prefect flow run that asks, for the summary; "" for none.
        false_discovery: level of the batch decision over the file, None for none; see ``pipeline.serving.discoveries``.
        rules: when records are not of the kind that the model was fitted on, and what then.
        alerts: which records become alerts, and who gets them; None: as ``params.yaml`` says.
        most_in_csv: verdicts on a file of at most so many records are written as CSV, too; see ``verdict_csv.most``.

    Raises:
        SourceError: it cannot be read to its end, or changes meanwhile; nothing is written.
        SchemaError: it lacks a column, or breaks the contract of the model and is to be refused for that.
        RejectedError: not one of its rows can be read.
        SilentModelError: the model no longer finds what it found, or is silent, and is to be refused for that.
    """
    alerts = config.load(Alerts) if alerts is None else alerts
    delivery.built(alerts.sinks)  # refuses wrong settings before anything is scored
    silent = silence.require(bundle, version, alerts)
    with Judging(AlertBuilder(bundle, version, file, alerts), rules, flow_run) as judging:
        past = reading.contexts(file, bundle, judging.key)
        judging.keeps_p_values = false_discovery is not None
        for _ in judging.taken(file, past):
            pass
        judging.require(file)
    if past is not None:
        carried_past.store(judging.key, bundle, past.after, past.talks)
    batch = {}
    if false_discovery is not None:
        ((most, _),) = judging.tally.decided.most_common(1)
        n = bundle.calibration.decisions[most].reference.size
        p_value = np.concatenate(judging.p_values)
        batch["batch"] = discoveries.mark(table_path(judging.key), p_value, false_discovery, n)
    verdict_csv.write(judging.key, judging.tally.verdicts.total(), "auto", most_in_csv)
    return judging.summary({**batch, **({"silent": silent} if silent else {})})


class Judging:
    """Judges records, some at a time, into the tables of one key; they are there once the block has ended well.

    Args:
        builder: of the alerts; it knows the model, its version and the file that the tables are named by.
        rules: when records are not of the kind that the model was fitted on, and what then.
        flow_run: the Prefect flow run that asks, for the summary; "" for none.

    Attributes:
        key: what the tables are called.
        tally: counts of what was judged.
        keeps_p_values: whether they are kept in memory, 8 bytes for each record.
        p_values: (n,) of what was judged, in parts; nothing where they are not kept.
    """

    def __init__(self, builder: AlertBuilder, rules: ContractRules = WARN, flow_run: str = "") -> None:
        self.builder, self.bundle, self.version = builder, builder.bundle, builder.version
        self.key, self.flow_run = builder.file.key(builder.version), flow_run
        self.tally, self.check = Tally(self.bundle.calibration), ContractCheck(self.bundle.contract, rules)
        self.kept, self._so_far = judged.new_kept({}), SoFar()
        self.keeps_p_values, self.p_values = False, [np.zeros(0)]

    @property
    def about(self) -> dict[str, str]:
        """What the tables say of themselves."""
        origin = {"version": str(self.version), "model": own_model.name(), "digest": self.bundle.digest}
        return origin | {"source_sha256": self.builder.file.sha256}

    def __enter__(self) -> Self:
        durable.make_private(own_model.scored())
        schema = SCHEMA.with_metadata({f"flowsculpt.{name}": text for name, text in self.about.items()})
        schemas = {".": schema, "rejected": REJECTED_SCHEMA, ALERT_ROOM: ALERT_SCHEMA}
        with ExitStack() as opened:
            rooms = schemas.items()
            self._writers = {
                room: opened.enter_context(TableWriter(table_path(self.key, room), each)) for room, each in rooms
            }
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._opened.__exit__(*error)

    def add(self, file: Incoming, past: FilePast | None) -> pa.Table:
        """Judge the records of a file; returns their alerts.

        Args:
            file: what to read.
            past: the recent past of its hosts; None where the model reads none.

        Raises:
            SourceError: it cannot be read to its end, or changes meanwhile.
            SchemaError: it lacks a column.
        """
        found = [ALERT_SCHEMA.empty_table(), *self.taken(file, past)]
        return pa.concat_tables(found)

    def taken(self, file: Incoming, past: FilePast | None) -> Iterator[pa.Table]:
        """Judge the records of a file; the alerts of each chunk, as soon as they are written.

        Raises:
            SourceError: it cannot be read to its end, or changes meanwhile.
            SchemaError: it lacks a column.
        """
        self.check.times = "" if past is None else past.said
        waiting: deque[Piece] = deque()

        def pieces() -> Iterator[Piece]:
            for piece in judged.pieces(file, self.builder, self._so_far, past):
                waiting.append(piece)
                yield piece

        for done in mapped(judged.read, pieces(), judged.judge, (self.bundle,)):
            yield self._take(waiting.popleft(), done)
        if content_hash(file.path) != file.sha256:
            raise SourceError(f"{file.path}: changed while it was read; nothing was written; score it again")

    def _take(self, piece: Piece, done: Judged) -> pa.Table:
        """Write what was made of a chunk; returns its alerts.

        A worker may not have known how many alerts may still get reasons. Then the chunk is judged once more, here.
        """
        left = self._left(self._so_far.explained, done)
        if self._left(done.explained, done) != left:
            done = judged.judge(judged.read(piece), self.bundle)
        self._so_far.explained += left
        tables = {".": done.table, "rejected": done.rejected, ALERT_ROOM: done.alerts}
        for room, table in tables.items():
            self._writers[room].write(table)
        self.tally.join(done.tally)
        self.tally.reject(done.rejected)
        self.check.join(done.check)
        for name, rows in self.kept.items():
            rows.join(done.kept[name])
            self._so_far.bounds[name] = rows.bound
        if self.keeps_p_values:
            self.p_values.append(done.table.column("p_value").to_numpy())
        return done.alerts

    def _left(self, explained: int, done: Judged) -> int:
        """How many alerts of a chunk get reasons, where so many of the file have got them before."""
        alerts: int = done.alerts.num_rows
        return min(max(self.builder.rules.explained - explained, 0), alerts)

    def require(self, file: Incoming) -> None:
        """Refuse a file of which nothing can be read, or that breaks the contract where that is to be refused.

        Raises:
            RejectedError: not one of its rows can be read.
            SchemaError: it breaks the contract.
        """
        self.tally.require(file)
        self.check.require(file.path)

    def summary(self, more: Mapping[str, Any]) -> dict[str, Any]:
        """Write what is kept and then the summary, which makes it count; after the block.

        Args:
            more: what else the summary says.
        """
        for room, rows in self.kept.items():
            rows.save(table_path(self.key, room))
        delivery.hand_over_table(table_path(self.key, ALERT_ROOM), self.builder.rules.sinks)
        now = datetime.now(UTC).isoformat(timespec="microseconds")
        rooms = (*TABLES, *([carried_past.ROOM] if carried_past.path_of(self.key).exists() else []))
        tables = {room: sha256_of(table_path(self.key, room)) for room in rooms}
        origin = {"source": self.builder.file.name, **self.about, "version": self.version}
        if address := copies.origin(self.builder.file.path):
            origin["address"] = address
        past = self.bundle.looks_back
        looks_back = {} if past is None else {"context": past.about}
        run = {"flow_run": self.flow_run, "time": now, "number": next_number()}
        found = {**origin, **run, **self.tally.counts(), **more, **looks_back}
        found["contract"] = self.check.result()
        write_json(summary_path(self.key), {**found, "tables": tables})
        silent = silence.note(self.bundle, self.version, self.builder.rules, self.tally)
        return {**found, "silent": silent} if silent else found
