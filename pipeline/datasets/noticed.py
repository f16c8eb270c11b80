"""What some rows show of their file while they are read: their labels, times that cannot be read, a change of unit."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.base.errors import SchemaError
from pipeline.datasets.blocks import Block
from pipeline.datasets.header import Layout
from pipeline.datasets.meaning import Notes
from pipeline.datasets.times import blank, contradiction
from pipeline.datasets.units import CANONICAL, other


def notes(block: Block, layout: Layout, table: pa.Table, records: pa.Table) -> Notes:
    """What the rows that became ``records`` show of their file."""
    labels = table.column("label").value_counts().to_pylist() if "label" in layout.names else []
    missed = _unread(table.column("timestamp"), records.column("timestamp")) if "timestamp" in layout.names else []
    found = Counter({(each["values"] or "").strip(): each["counts"] for each in labels})
    times = layout.meaning.times
    other = contradiction(times, missed) if times and missed else ""
    return Notes(
        block.source,
        layout.meaning,
        dialect=str(layout.dialect) if block.lines else "",
        family=layout.family,
        aside=tuple(text for text, name in zip(layout.header, layout.names, strict=True) if not name),
        labels=found,
        unread_times=len(missed),
        unread=tuple(dict.fromkeys(missed))[:3],
        contradiction=other,
    )


def _unread(texts: pa.ChunkedArray, times: pa.ChunkedArray) -> list[str]:
    """The cells that hold a time, none of which could be read."""
    if not times.null_count:
        return []
    missed = texts.cast(pa.string()).filter(pc.is_null(times)).combine_chunks()
    return missed.filter(pc.invert(blank(missed))).to_pylist()  # type: ignore[no-any-return]


def require_one_unit(block: Block, layout: Layout, table: pa.Table, rows: NDArray[np.int64]) -> None:
    """Refuse rows whose durations have another unit than those of the file.

    Raises:
        SchemaError: with the first of them.
    """
    units = layout.meaning.units
    if units is None or not units.agree:
        return
    usual = units.duration or CANONICAL
    unit, place, count = other(table, usual)
    if unit:
        where = f"{block.source}: row {rows[place]}, column {layout.title('flow_duration')!r}"
        raise SchemaError(
            f"{where}: the duration is in {unit}, as the rate of packets shows; so it is in {count:,} of {len(rows):,} "
            f"rows here, while the file began in {usual}; give the rows of each unit a file of their own"
        )
