"""The header lines of a Zeek log in its own format, which say how the lines below them are written.

A log that was rotated, or that several logs were joined to, has several headers, each of them with fields of its own.
Source: "Zeek Log Formats and Inspection", Zeek manual (docs.zeek.org).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

from pipeline.base.errors import SchemaError
from pipeline.datasets.blocks import Block

RECORD = re.compile(rb"(?m)^(?!#).*\S")  # a line that is neither a comment nor blank
TAIL = re.compile(r" {3,}")  # labelled logs (IoT-23) have spaces, not a separator, around their last fields


@dataclass(frozen=True)
class Header:
    """What the header lines so far say.

    Attributes:
        separator: between fields.
        empty: the text of a field that is empty.
        unset: the text of a field that is unset.
        path: name of the log, such as ``conn``.
        fields: names of the fields, in their order.
    """

    separator: str = "\t"
    empty: str = "(empty)"
    unset: str = "-"
    path: str = ""
    fields: tuple[str, ...] = ()

    def below(self, line: str, where: str) -> Self:
        """The header with one more line.

        Raises:
            SchemaError: it names a separator that is not one character of ASCII.
        """
        if line.startswith("#separator"):
            return replace(self, separator=_character(line.partition(" ")[2].strip(), where))
        key, *rest = line.split(self.separator)
        if key == "#fields":
            return replace(self, fields=tuple(rest))
        names = {"#empty_field": "empty", "#unset_field": "unset", "#path": "path"}
        told: dict[str, Any] = {names[key]: rest[0]} if key in names and rest else {}
        return replace(self, **told)

    @property
    def tail(self) -> tuple[str, ...]:
        """The names that share the last field; one where it is a field like any other."""
        return tuple(TAIL.split(self.fields[-1])) if self.fields else ()

    @property
    def names(self) -> tuple[str, ...]:
        """All fields, those of the tail apart."""
        return (*self.fields[:-1], *self.tail)


def parts(blocks: Iterator[Block]) -> Iterator[tuple[Block, Header | None]]:
    """The lines of a log in blocks, each with the header that they lie below.

    A block is cut only where the header changes. Each comment line stays, so that rows keep their numbers, but as
    ``#`` alone. The header is None where a block holds no record.

    Raises:
        SchemaError: a record comes before the header that says what its fields are.
    """
    header = Header()
    for block in blocks:
        for part, found in _cut(block, header):
            header = found
            bare = part._replace(lines=_bare(part.lines))
            record = RECORD.search(bare.lines)
            if record and not header.fields:
                row = part.first_row + bare.lines.count(b"\n", 0, record.start())
                remedy = "a Zeek log begins with lines such as '#fields', or holds an object of JSON in each line"
                raise SchemaError(f"{block.source}: row {row} has no header above it; {remedy}")
            yield bare, header if record else None


def _cut(block: Block, header: Header) -> Iterator[tuple[Block, Header]]:
    """The lines of a block, cut above each run of comments that changes the header."""
    start, row = 0, block.first_row
    at, line = start, row
    for begin, end in _comments(block.lines):
        at, line = begin, line + block.lines.count(b"\n", at, begin)
        below = header
        for text in block.lines[begin:end].decode("utf-8", "replace").splitlines():
            below = below.below(text, f"{block.source}: row {line}")
        if below == header:
            continue
        if at > start:
            yield Block(block.source, block.lines[start:at], row), header
        start, row, header = at, line, below
    yield Block(block.source, block.lines[start:], row), header


def _comments(lines: bytes) -> Iterator[tuple[int, int]]:
    """Where each run of comment lines begins and ends."""
    end = 0
    while True:
        if not lines.startswith(b"#", end):
            end = lines.find(b"\n#", end) + 1
            if not end:
                return
        begin = end
        while lines.startswith(b"#", end):
            end = lines.find(b"\n", end) + 1 or len(lines)
        yield begin, end


def _bare(lines: bytes) -> bytes:
    """The same lines, each comment as ``#`` alone."""
    parts, at = list[bytes](), 0
    for begin, end in _comments(lines):
        parts += [lines[at:begin], b"#\n" * lines.count(b"\n", begin, end)]
        at = end
    return b"".join([*parts, lines[at:]]) if parts else lines


def _character(text: str, where: str) -> str:
    r"""The separator that a text such as ``\x09`` spells."""
    spelt = re.sub(r"\\x([0-9a-fA-F]{2})", lambda found: chr(int(found[1], 16)), text)
    if len(spelt) != 1 or not spelt.isascii() or spelt in "\0\r\n":
        raise SchemaError(f"{where}: the separator must be one character of ASCII and end no line, given {text!r}")
    return spelt
