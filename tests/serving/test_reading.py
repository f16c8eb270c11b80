"""What a model gets of the records of a file."""

from pathlib import Path

import pyarrow as pa

from pipeline.datasets.base import REJECTED_SCHEMA, Chunk
from pipeline.serving import reading
from pipeline.serving.arrivals import Incoming


def test_a_time_that_no_calendar_has_is_none(monkeypatch):
    hour, year = 3_600_000_000, 365 * 24 * 3_600_000_000
    given = pa.array([0, hour, None, 9_000 * year, -3_000 * year, 2**62]).cast(pa.timestamp("us"))
    table = pa.table({"row": [*range(6)], "timestamp": given})

    parts = [lambda: Chunk(table, REJECTED_SCHEMA.empty_table())]
    monkeypatch.setattr(reading, "_parts", lambda *_: iter(parts))
    (chunk,) = reading.chunks(Incoming(Path("a.csv"), "a.csv", "00"), None)
    times = chunk.records.column("timestamp")
    assert [each and each.year for each in times.to_pylist()] == [1970, 1970, None, None, None, None]
    assert times.type == given.type and chunk.records.column_names == table.column_names
