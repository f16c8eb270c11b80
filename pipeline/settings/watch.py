"""How records are judged as they come."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pipeline.settings.base import Bounds, Count, Names, NotNegative, Positive, Section

Port = Annotated[int, Bounds(ge=0, le=65_535)]


@dataclass(frozen=True)
class Watch(Section):
    """How records are judged as they come; see ``flows.watch``.

    Attributes:
        poll: seconds between two looks at what is new.
        settle: seconds without a change after which a file in a folder is whole.
        growing: names of logs that are read as they grow; other files are read when they are whole.
        batch: lines that are judged at a time, at most; what has come is judged at once, also if it is less.
        waiting: lines of standard input that wait, at most; whoever writes waits then.
        stretch: seconds of a stream whose records become one table.
        stretch_records: records of such a table, at most.
        incidents: seconds between two groupings of alerts into incidents, for sinks that get these, at least. Alerts
            are grouped when a stretch or a file is whole, in a process of its own.
        refresh: seconds between two questions to the registry, which model serves.
        host: address on which ``/metrics`` and ``/healthz`` answer.
        port: and its port; 0: nowhere.
        late: seconds of lag from which on ``/healthz`` says that the watch is behind.
    """

    section: ClassVar[str] = "watch"
    poll: Positive
    settle: NotNegative
    growing: Names
    batch: Count
    waiting: Count
    stretch: Positive
    stretch_records: Count
    incidents: Positive
    refresh: Positive
    host: str
    port: Port
    late: Positive
