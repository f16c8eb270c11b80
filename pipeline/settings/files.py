"""How much a file of records may hold."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pipeline.base.limits import Limits
from pipeline.settings.base import Bounds, Count, Section


@dataclass(frozen=True)
class Files(Section):
    """The largest file of records that is read, wherever it comes from: ingest, scoring, or the watch.

    Attributes:
        bytes: of a file, unpacked; of a zip, of all its members.
        ratio: of unpacked bytes to packed ones, above 16 MiB unpacked.
        rows: of a file.
        columns: of a file.
        members: of a zip.
        header: bytes of the line of names.
        line: bytes of a line.
        apart: whether a process of its own reads what is scored and watched, without network; a parser that crashes
            then harms one file alone.
        memory: bytes of address space that this process may have.
        seconds: of processor time that it may take for each file.
    """

    section: ClassVar[str] = "files"
    bytes: Count
    ratio: Count
    rows: Count
    columns: Count
    members: Count
    header: Count
    line: Count
    apart: bool
    memory: Annotated[int, Bounds(ge=1 << 30)]
    seconds: Count

    @classmethod
    def absent(cls) -> dict[str, Any]:
        """As they are shipped."""
        return Limits()._asdict() | {"apart": True, "memory": 4 << 30, "seconds": 3_600}

    def limits(self) -> Limits:
        """The same, as readers ask for them."""
        return Limits(self.bytes, self.ratio, self.rows, self.columns, self.members, self.header, self.line)
