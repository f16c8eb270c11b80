"""How much a file of records may hold: what a small file unpacks to, or what a parser works on, has an end.

Whoever reads files says once what holds for its process; readers ask for it where the bytes come in.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from pipeline.base.errors import SourceError

SMALL: Final = 16 << 20  # unpacked bytes up to which any ratio is allowed: they do no harm


class Limits(NamedTuple):
    """The largest that is read.

    Attributes:
        bytes: of a file, unpacked; of a zip, of all its members.
        ratio: of unpacked bytes to packed ones, above 16 MiB unpacked.
        rows: of a file.
        columns: of a file.
        members: of a zip.
        header: bytes of the line of names.
        line: bytes of a line.
    """

    bytes: int = 64 << 30
    ratio: int = 250
    rows: int = 500_000_000
    columns: int = 4_096
    members: int = 10_000
    header: int = 64 << 10
    line: int = 1 << 20

    def require(self, setting: str, given: int, where: str, what: str) -> None:
        """Refuse more than is allowed.

        Args:
            setting: one of the attributes.
            given: how much there is.
            where: it was found.
            what: it is, in words.

        Raises:
            SourceError: with where, what was given, what is allowed, and the setting.
        """
        allowed = getattr(self, setting)
        if given > allowed:
            raise SourceError(
                f"{where}: {what} {given:,}, allowed is {allowed:,}; raise files.{setting} if the file is right"
            )

    def require_unpacked(self, unpacked: int, packed: int, where: str) -> None:
        """Refuse bytes that unpack to more than is allowed, or to too many times their number.

        Raises:
            SourceError: see ``require``.
        """
        self.require("bytes", unpacked, where, "the bytes that it unpacks to are at least")
        if unpacked > SMALL:
            times = unpacked // max(packed, 1)
            self.require("ratio", times, where, "bytes that it unpacks to for each byte of it are at least")


_HELD = [Limits()]


def held() -> Limits:
    """What holds in this process now."""
    return _HELD[-1]


@contextmanager
def holding(limits: Limits) -> Iterator[None]:
    """Let other limits hold in this process."""
    _HELD.append(limits)
    try:
        yield
    finally:
        _HELD.remove(limits)
