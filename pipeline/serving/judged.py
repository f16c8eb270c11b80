"""What a model makes of one chunk of a file, wherever that is computed: in this process, or by a worker.

A chunk is read, judged, counted and reduced here, so that little of it has to travel. ``batch.Judging`` takes in one
chunk after the other, and writes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.base.errors import SchemaError, SourceError
from pipeline.base.samples import SCORES
from pipeline.calibration.prediction import Prediction
from pipeline.datasets.base import Chunk, Part
from pipeline.datasets.incoming import IDENTITY
from pipeline.datasets.schema import ENDPOINTS, GROUPABLE, PROVENANCE
from pipeline.preprocessing.context.past import Matrix
from pipeline.serving import discoveries, kept_past, reading
from pipeline.serving.alerts.building import AlertBuilder
from pipeline.serving.arrivals import Incoming
from pipeline.serving.bundle import Bundle
from pipeline.serving.contract_check import ContractCheck
from pipeline.serving.reading import FilePast
from pipeline.serving.scored import SCHEMA
from pipeline.serving.tally import Kept, Sample, Strongest, Tally
from pipeline.settings.alerts import Alerts

SAMPLE: Final = 2_000  # records of a file whose raw columns are kept
ALERTS: Final = 10_000  # and alerts


@dataclass
class SoFar:
    """What is known of a file so far. A piece that travels takes along what is known at that moment.

    Attributes:
        explained: how many alerts have got reasons.
        bounds: of the records that are kept, by the table that they go into; see ``tally.Kept``.
    """

    explained: int = 0
    bounds: dict[str, pa.Scalar | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Piece:
    """A part of a file, and what is needed to judge it beside the model.

    Attributes:
        part: reads the chunk.
        file: that it is of.
        version: of the model, its number in the registry.
        rules: which records become alerts.
        so_far: what is known of the file so far.
        score: (n,) what the model makes of the recent past of the hosts of the n records; None where it reads none.
        x: (n, F) that past.
    """

    part: Part
    file: Incoming
    version: int
    rules: Alerts
    so_far: SoFar
    score: NDArray[np.float32] | None = None
    x: Matrix | None = None


@dataclass(frozen=True)
class Judged:
    """What was made of a chunk of n records.

    Attributes:
        table: (n,) of ``scored.SCHEMA``.
        rejected: the rows that could not be read.
        alerts: of ``alerts.schema``.
        explained: how many alerts of the file had got reasons before these.
        tally: counts, but for the reasons of rejected rows.
        check: what the records have in common with those that the model was fitted on.
        kept: raw columns of a few records, by the table that they go into.
    """

    table: pa.Table
    rejected: pa.Table
    alerts: pa.Table
    explained: int
    tally: Tally
    check: ContractCheck
    kept: dict[str, Kept]


def new_kept(bounds: Mapping[str, pa.Scalar | None]) -> dict[str, Kept]:
    """Nothing is kept yet; what comes behind a bound will not be."""
    return {"samples": Sample(SAMPLE, bounds.get("samples")), "records": Strongest(ALERTS, bounds.get("records"))}


def pieces(file: Incoming, builder: AlertBuilder, so_far: SoFar, past: FilePast | None) -> Iterator[Piece]:
    """The parts of a file, each with its share of the recent past."""
    about, start = (file, builder.version, builder.rules, so_far), 0
    sizes = iter(() if past is None else past.sizes)
    for part in reading.parts(file, builder.bundle):
        if past is None:
            yield Piece(part, *about)
            continue
        rows = slice(start, start := start + next(sizes, 0))
        yield Piece(part, *about, past.score[rows], past.x[rows])


def read(piece: Piece) -> tuple[Piece, Chunk]:
    """A piece with its chunk.

    Raises:
        SourceError: its bytes are damaged, or not those that the past was computed of.
        SchemaError: two columns have one name.
    """
    chunk = reading.chunk_of(piece.file, piece.part)
    if piece.score is not None and len(piece.score) != chunk.records.num_rows:
        raise SourceError(f"{piece.file.path}: changed while it was read; nothing was written; score it again")
    return piece, chunk


def judge(given: tuple[Piece, Chunk], bundle: Bundle) -> Judged:
    """What the model makes of a chunk.

    Raises:
        SchemaError: the model refuses the records, or nothing tells them apart.
    """
    (piece, chunk), builder = given, AlertBuilder(bundle, given[0].version, given[0].file, given[0].rules)
    records, builder.explained = chunk.records, piece.so_far.explained
    explained = builder.explained
    predicted = reading.predict(piece.file, bundle, records, piece.score)
    tally, check, kept = Tally(bundle.calibration), ContractCheck(bundle.contract), new_kept(piece.so_far.bounds)
    tally.add(predicted, bundle.unknown_words(records))
    if "label_settings" in bundle.sealed.about:  # an older one does not say what labels mean
        tally.labels.add(records, predicted)
    check.add(chunk)
    sampled = kept_past.beside(records, bundle.looks_back, piece.x)
    kept["samples"].add(sampled, predicted.score, _sampled(sampled, [column.name for column in bundle.columns]))
    unusual = np.any([*predicted.flagged.values()], axis=0)
    raw = [name for name in records.column_names if name not in PROVENANCE]
    kept["records"].add(records.filter(pa.array(unusual)), predicted.score[unusual], raw)
    table = _table(piece.file, records, predicted, piece.version)
    alerts = builder.alerts(records, predicted, piece.x)
    return Judged(table, chunk.rejected, alerts, explained, tally, check, kept)


def _sampled(records: pa.Table, columns: list[str]) -> list[str]:
    """What a sample keeps: the columns that the model reads, all other features, where a record came from and when."""
    kept = {"source_file", "row", *GROUPABLE, *ENDPOINTS}
    others = (name for name in records.column_names if name in kept or name not in PROVENANCE)
    return [*dict.fromkeys([*columns, *others])]


def _table(file: Incoming, records: pa.Table, judged: Prediction, version: int) -> pa.Table:
    who: dict[str, Any] = {**_who(file, records), **_endpoints(records)}
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
