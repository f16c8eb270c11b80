"""The lines of a CSV in blocks that know their row numbers."""

from collections.abc import Iterator
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np

from pipeline.base import limits
from pipeline.base.errors import SourceError
from pipeline.datasets.dialect import Head, head_of, size_of_head

MOST_LINES = 1 << 17  # in a block


class Block(NamedTuple):
    """Whole lines of one source; ``first_row`` is the number of the first, 1 for the line below the header."""

    source: str
    lines: bytes
    first_row: int


def headed(source: str, stream: Iterator[bytes]) -> tuple[Head, Iterator[Block]]:
    """The header of a source, and the blocks below it.

    Raises:
        SourceError: there is no header line; or, once the blocks are read, there was no block.
    """
    first = next(stream, b"")
    head = head_of(first, source)
    if not head.names:
        raise SourceError(f"{source}: is empty; a header line and records are expected; remove the file or fetch it")
    return head, numbered(source, chain([first[head.size :]], stream), "a header and no records")


def below(source: str, stream: Iterator[bytes]) -> Iterator[Block]:
    """The blocks below the header of a source whose header is known; see ``headed``."""
    first = next(stream, b"")
    return numbered(source, chain([first[size_of_head(first) :]], stream), "a header and no records")


def numbered(source: str, stream: Iterator[bytes], found: str = "no records") -> Iterator[Block]:
    """The lines of a source in blocks that know their row numbers, from 1 on.

    Args:
        source: name of the source.
        stream: its lines, any whole number of them at a time.
        found: what the error says that an empty source has.

    Raises:
        SourceError: once the stream is read, if it was empty.
    """
    row = 1
    for lines in (part for block in stream for part in _cut(block)):
        yield Block(source, lines, row)
        row += lines.count(b"\n")
        limits.held().require("rows", row - 1, source, "its rows are at least")
    if row == 1:
        raise SourceError(f"{source}: has {found}; remove the file or fetch it again")


def _cut(lines: bytes) -> Iterator[bytes]:
    """The same lines, at most ``MOST_LINES`` at a time: millions of blank lines fit into one block of bytes."""
    if lines.count(b"\n") <= MOST_LINES:
        yield from [lines] if lines else []
        return
    ends = 1 + np.flatnonzero(np.frombuffer(lines, np.uint8) == ord("\n"))
    cuts = [0, *ends[MOST_LINES - 1 : -1 : MOST_LINES].tolist(), len(lines)]
    yield from (lines[start:end] for start, end in pairwise(cuts))
