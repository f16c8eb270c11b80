"""The samples of every split, mapped from the records and stored."""

from contextlib import ExitStack
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.artifacts import paths
from pipeline.artifacts.contexts import Contexts
from pipeline.artifacts.files import whole_folder
from pipeline.artifacts.samples import samples_schema
from pipeline.artifacts.tables import RowGroup, TableWriter, row_group_parts
from pipeline.base.engine import mapped
from pipeline.preprocessing import splits
from pipeline.preprocessing.assignment import Rows
from pipeline.preprocessing.features import Features
from pipeline.stages.contexts import write_by_split
from pipeline.stages.records import columns_of


def write_splits(rows: Rows, features: Features, contexts: Contexts | None = None) -> None:
    """Map every record, and write it to its split, with its context beside it where there are any."""
    schema = samples_schema(features.columns)
    groups = row_group_parts(paths.RECORDS, features.reads)
    with ExitStack() as stack:
        folder = stack.enter_context(whole_folder(paths.PROCESSED))
        writers = [stack.enter_context(TableWriter(folder / f"{name}.parquet", schema)) for name in splits.SPLITS]
        for parts in mapped(_mapped, ((group, rows.some(group.rows)) for group in groups), shared=(features, schema)):
            for writer, part in zip(writers, parts, strict=True):
                writer.write(part)
        if contexts is not None:
            write_by_split(folder, contexts, rows.split)


def _mapped(part: tuple[RowGroup, Rows], features: Features, schema: pa.Schema) -> list[pa.Table]:
    """The samples of a row group, apart for each split."""
    group, rows = part
    who: dict[str, Any] = {
        "record_id": rows.record_id,
        "y": rows.y,
        "attack": pa.array(rows.attack, pa.string()).dictionary_encode(),
        "confidence": rows.confidence,
        "balanced": rows.balanced,
    }
    x = features.map(columns_of(group.read(), features.reads))
    samples = pa.Table.from_pydict({**who, **x}, schema=schema)
    return [samples.take(pa.array(np.flatnonzero(rows.split == code))) for code in range(len(splits.SPLITS))]
