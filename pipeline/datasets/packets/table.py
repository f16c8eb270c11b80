"""Flows become a table of records: features, endpoints, labels and where each record comes from."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.datasets.base import record_schema
from pipeline.datasets.labels import UNLABELLED, Label
from pipeline.datasets.packets.assembly import Flows
from pipeline.datasets.packets.bricks import Ints
from pipeline.datasets.packets.definitions import CORRECTED, Pauses
from pipeline.datasets.packets.endpoints import endpoints
from pipeline.datasets.packets.features import measure
from pipeline.datasets.packets.rules import Rules
from pipeline.datasets.records import DAYS, label_hashes, record_ids
from pipeline.datasets.schema import FEATURES


def table_of(flows: Flows, source: str, first_row: int, pauses: Pauses, rules: Rules) -> pa.Table:
    """The records of ``flows``, in the schema of ``record_schema``.

    Args:
        flows: r flows.
        source: name of the file.
        first_row: number of the first record in it.
        pauses: how long a flow may be silent.
        rules: the labels.
    """
    ends = endpoints(flows)
    features = measure(flows.records, ends.target_port, CORRECTED, pauses)
    columns = {name: pa.array(values, pa.float64()) for name, values in features.items()}
    labels, codes = rules.labels(ends)
    rows = first_row + np.arange(len(flows))
    told = ends.columns(rules.zone)
    provenance = {
        "record_id": record_ids(source, rows, pa.table(columns), label_hashes(labels)[codes]),
        "source_file": _words(np.zeros(len(rows), np.int64), [source]),
        "row": rows,
        **_labels(labels, codes),
        "attempted": pa.nulls(len(rows), pa.bool_()),
        "day": _words(pc.day_of_week(told["timestamp"]).to_numpy(zero_copy_only=False), DAYS),
    }
    return pa.Table.from_pydict({**provenance, **told, **columns}, schema=record_schema(FEATURES))


def _labels(labels: list[Label], codes: Ints) -> dict[str, pa.Array]:
    classes = [None if label is UNLABELLED else int(label.attack != "benign") for label in labels]
    return {
        "y": pa.array(classes, pa.int8()).take(pa.array(codes)),
        "attack": _words(codes, [label.attack for label in labels]),
        "family": _words(codes, [label.family for label in labels]),
    }


def _words(codes: Ints, words: list[str] | tuple[str, ...]) -> pa.Array:
    """(r,) dictionary of words, each word once."""
    unique, place = np.unique(np.array(words, object), return_inverse=True)
    indices = place[codes.astype(np.int64)] if len(codes) else codes
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), pa.array(unique.tolist(), pa.string()))
