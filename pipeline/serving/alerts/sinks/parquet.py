"""Tables of alerts, a folder for each day: what pandas, DuckDB, Spark and Athena read as one table.

::

    FOLDER/day=2026-03-01/part-000000.parquet     at most ROWS alerts, in the order in which they came
    FOLDER/day=2026-03-01/part-000001.parquet

The last part of a day is written again with what is new, under its own name in one step, until it is full. Each key
stands there once: what the last two parts of a day hold is not added again.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.artifacts.tables import read_table
from pipeline.base import durable
from pipeline.base.errors import ArtifactError
from pipeline.serving.alerts.schema import SCHEMA
from pipeline.serving.alerts.sinks.base import Message, Sent, Sink, UnavailableError
from pipeline.serving.alerts.sinks.notice import moment

ROWS: Final = 20_000
_PART: Final = re.compile(r"^part-(\d{6})\.parquet$")


class Parquet(Sink):
    """Adds alerts to a table that is split by day; other messages are passed over.

    Args:
        folder: of the table.
    """

    def __init__(self, folder: str) -> None:
        if not folder:
            raise ValueError("folder: the path of a folder is needed")
        self.folder = Path(folder)

    def send(self, messages: Sequence[Message], mark: str) -> Sent:
        """See ``Sink.send``; what the table holds already is not added again."""
        days: dict[str, list[Message]] = {}
        for message in messages:
            if message.about == "alert":
                time = moment(message.content.get("time")) or message.seen
                days.setdefault(f"day={time:%Y-%m-%d}", []).append(message)
        try:
            for day, found in days.items():
                self._add(self.folder / day, found)
        except ArtifactError as error:
            raise UnavailableError(str(error)) from error
        return Sent(len(messages))

    def _add(self, folder: Path, messages: Sequence[Message]) -> None:
        parts = sorted(int(name[1]) for path in folder.glob("*.parquet") if (name := _PART.match(path.name)))
        held = [read_table(_part(folder, number)) for number in parts[-2:]]
        known = {key for table in held for key in table.column("alert").to_pylist()}
        new = pa.Table.from_pylist([row(each.content) for each in messages if each.key not in known], schema=SCHEMA)
        if not new.num_rows:
            return
        number, last = (parts[-1], held[-1]) if parts else (0, SCHEMA.empty_table())
        grown = pa.concat_tables([last.select(SCHEMA.names).cast(SCHEMA), new])
        for step, start in enumerate(range(0, grown.num_rows, ROWS)):
            with durable.atomic(_part(folder, number + step)) as temporary:
                pq.write_table(grown.slice(start, ROWS), temporary, compression="zstd")


def read(folder: Path) -> Iterator[pa.Table]:
    """The parts of the table, by day."""
    for path in sorted(folder.glob("day=*/part-*.parquet")):
        yield read_table(path)


def _part(folder: Path, number: int) -> Path:
    return folder / f"part-{number:06d}.parquet"


def row(content: Mapping[str, Any]) -> dict[str, Any]:
    """A row of ``SCHEMA``; the table holds texts as they are, and only halves of surrogates are escaped."""
    row = {name: _encodable(content.get(name)) for name in SCHEMA.names}
    time = row["time"]
    return {**row, "time": datetime.fromisoformat(time) if isinstance(time, str) else time}


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {name: _encodable(each) for name, each in value.items()}
    return [_encodable(each) for each in value] if isinstance(value, list | tuple) else value
