"""New records, judged: one Parquet for each file that came in, named by the file, its content and the model version.

::

    data/scored/KEY.parquet             a row for each record: who it is, its scores, p-value and verdict
    data/scored/rejected/KEY.parquet    rows that could not be read, with the reason
    data/scored/samples/KEY.parquet     raw columns of a few records, for the watch on drift and the gate
    data/scored/alerts/KEY.parquet      its alerts: who, when, how unlikely, and why; see ``alerts.schema``
    data/scored/records/KEY.parquet     raw columns of the strongest alerts, for whoever labels them
    data/scored/pasts/KEY.parquet       the end of its traffic, for the next file; see ``carried_past``
    data/scored/spool/SINK.sqlite       alerts that wait for a sink; see ``alerts.delivery``
    data/scored/summaries/KEY.json      counts, and the sha256 of what came in and of those above

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

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipeline.artifacts.files import sha256_of, write_json
from pipeline.artifacts.tables import TableWriter
from pipeline.base import durable
from pipeline.base.errors import SchemaError, SourceError
from pipeline.base.samples import SCORES
from pipeline.calibration.prediction import Prediction
from pipeline.calibration.surprisal import Floats
from pipeline.datasets.base import REJECTED_SCHEMA
from pipeline.datasets.incoming import IDENTITY
from pipeline.datasets.schema import ENDPOINTS, GROUPABLE, PROVENANCE
from pipeline.serving import carried_past, discoveries, kept_past, own_model, reading
from pipeline.serving.alerts import delivery
from pipeline.serving.alerts.building import AS_SHIPPED, AlertBuilder
from pipeline.serving.alerts.schema import SCHEMA as ALERT_SCHEMA
from pipeline.serving.alerts.stored import ROOM as ALERT_ROOM
from pipeline.serving.arrivals import Incoming, content_hash
from pipeline.serving.bundle import Bundle
from pipeline.serving.contract_check import WARN, ContractCheck
from pipeline.serving.scored import SCHEMA, TABLES, summary_path, table_path
from pipeline.serving.tally import Kept, Sample, Strongest, Tally
from pipeline.settings.alerts import Alerts
from pipeline.settings.scoring import ContractRules

SAMPLE: Final = 2_000  # records of a file whose raw columns are kept
ALERTS: Final = 10_000  # and alerts


def score(
    file: Incoming,
    bundle: Bundle,
    version: int,
    flow_run: str = "",
    false_discovery: float | None = None,
    rules: ContractRules = WARN,
    alerts: Alerts = AS_SHIPPED,
) -> dict[str, Any]:
    """Score the records of a file, some at a time; returns the summary.

    Args:
        file: what to read.
        bundle: the model.
        version: its number in the registry.
        flow_run: the Prefect flow run that asks, for the summary; "" for none.
        false_discovery: level of the batch decision over the file, None for none; see ``pipeline.serving.discoveries``.
        rules: when records are not of the kind that the model was fitted on, and what then.
        alerts: which records become alerts.

    Raises:
        SourceError: it cannot be read to its end, or changes meanwhile; nothing is written.
        SchemaError: it lacks a column, or breaks the contract of the model and is to be refused for that.
        RejectedError: not one of its rows can be read.
    """
    key = file.key(version)
    durable.make_private(own_model.scored())
    tally, check = Tally(bundle.calibration), ContractCheck(bundle.contract, rules)
    kept = {"samples": Sample(SAMPLE), "records": Strongest(ALERTS)}
    about = {"version": str(version), "model": own_model.name(), "digest": bundle.digest}
    about |= {"source_sha256": file.sha256}
    builder = AlertBuilder(bundle, version, file, alerts)
    delivery.built(alerts.sinks)  # refuses wrong settings before anything is scored
    p_value = _write(file, builder, about, tally, kept, check)
    batch = {}
    if false_discovery is not None:
        ((most, _),) = tally.decided.most_common(1)
        n = bundle.calibration.decisions[most].reference.size
        batch["batch"] = discoveries.mark(table_path(key), p_value, false_discovery, n)
    for room, rows in kept.items():
        rows.save(table_path(key, room))
    delivery.hand_over_table(table_path(key, ALERT_ROOM), alerts.sinks)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    rooms = (*TABLES, *([carried_past.ROOM] if carried_past.path_of(key).exists() else []))
    tables = {room: sha256_of(table_path(key, room)) for room in rooms}
    origin = {"source": file.name, **about, "version": version, "flow_run": flow_run, "time": now}
    looks_back = {} if bundle.looks_back is None else {"context": bundle.looks_back.about}
    summary = {**origin, **tally.counts(), **batch, **looks_back, "contract": check.result()}
    write_json(summary_path(key), {**summary, "tables": tables})
    return summary


def _write(
    file: Incoming,
    builder: AlertBuilder,
    about: dict[str, str],
    tally: Tally,
    kept: Mapping[str, Kept],
    check: ContractCheck,
) -> Floats:
    """Write the tables of the records and of the rejected rows; returns (n,) p-values."""
    bundle, version = builder.bundle, builder.version
    key, columns = file.key(version), [column.name for column in bundle.columns]
    schema = SCHEMA.with_metadata({f"flowsculpt.{name}": text for name, text in about.items()})
    p_values = [np.zeros(0)]
    past, rows = reading.contexts(file, bundle, key), slice(0, 0)
    check.times = "" if past is None else past.said
    with (
        TableWriter(table_path(key), schema) as scored,
        TableWriter(table_path(key, "rejected"), REJECTED_SCHEMA) as rejected,
        TableWriter(table_path(key, ALERT_ROOM), ALERT_SCHEMA) as alerts,
    ):
        for chunk in reading.chunks(file, bundle):
            rows = slice(rows.stop, rows.stop + chunk.records.num_rows)
            predicted = reading.predict(file, bundle, chunk.records, None if past is None else past.score[rows])
            scored.write(_table(file, chunk.records, predicted, version))
            rejected.write(chunk.rejected)
            tally.add(predicted, chunk.rejected, bundle.unknown_words(chunk.records))
            if "label_settings" in bundle.sealed.about:  # an older one does not say what labels mean
                tally.labels.add(chunk.records, predicted)
            check.add(chunk)
            p_values.append(predicted.p_value)
            sampled = kept_past.beside(chunk.records, bundle.looks_back, None if past is None else past.x[rows])
            kept["samples"].add(sampled, predicted.score, _sampled(sampled, columns))
            alerts.write(builder.alerts(chunk.records, predicted, None if past is None else past.x[rows]))
            unusual = np.any([*predicted.flagged.values()], axis=0)
            raw = [name for name in chunk.records.column_names if name not in PROVENANCE]
            kept["records"].add(chunk.records.filter(pa.array(unusual)), predicted.score[unusual], raw)
        tally.require(file)
        check.require(file.path)
        if content_hash(file.path) != file.sha256:
            raise SourceError(f"{file.path}: changed while it was read; nothing was written; score it again")
    if past is not None:
        carried_past.store(key, bundle, past.after, past.talks)
    return np.concatenate(p_values)


def _sampled(records: pa.Table, columns: list[str]) -> list[str]:
    """What a sample keeps: the columns that the model reads, all other features, where a record came from and when."""
    kept = {"source_file", "row", *GROUPABLE, *ENDPOINTS}
    others = (name for name in records.column_names if name in kept or name not in PROVENANCE)
    return [*dict.fromkeys([*columns, *others])]


def _table(file: Incoming, records: pa.Table, judged: Prediction, version: int) -> pa.Table:
    who = {**_who(file, records), **_endpoints(records)}
    said = {name: getattr(judged, name) for name in ("score", "p_value", "confidence", *SCORES)}
    verdict = pa.array(judged.verdict.tolist(), pa.string()).dictionary_encode()
    group = pa.array(judged.group.tolist(), pa.string()).dictionary_encode()
    number, none = np.full(records.num_rows, version, dtype=np.int32), pa.nulls(records.num_rows, pa.bool_())
    return pa.Table.from_pydict(
        {**who, **said, "verdict": verdict, "group": group, "model_version": number, discoveries.FIELD.name: none},
        schema=SCHEMA,
    )


def _endpoints(records: pa.Table) -> dict[str, pa.ChunkedArray | pa.Array]:
    """Who talked to whom, and when; null where the records do not have it."""
    has, n = {*records.column_names}, records.num_rows
    return {name: records.column(name) if name in has else pa.nulls(n, SCHEMA.field(name).type) for name in ENDPOINTS}


def _who(file: Incoming, records: pa.Table) -> dict[str, pa.ChunkedArray]:
    """What tells the records apart, refused where it does not."""
    who = {}
    for name in IDENTITY:
        column, kind = records.column(name), SCHEMA.field(name).type
        try:
            who[name] = column if pa.types.is_dictionary(kind) else column.cast(kind)
        except pa.ArrowException as error:
            raise SchemaError(
                f"{file.path}: column {name!r} holds {column.type}, allowed is {kind}: {error}"
            ) from error
        if column.null_count:
            raise SchemaError(f"{file.path}: column {name!r} is empty in {column.null_count:,} records")
    return who
