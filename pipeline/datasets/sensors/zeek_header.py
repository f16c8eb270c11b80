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
    """The lines of a log in blocks that hold records alone, each with its header, or comments alone, with None.

    Raises:
        SchemaError: a record comes before the header that says what its fields are.
    """
    header = Header()
    for block in blocks:
        for part in _runs(block):
            if part.lines.startswith(b"#"):
                for line in part.lines.decode("utf-8", "replace").splitlines():
                    header = header.below(line, f"{block.source}: row {part.first_row}")
                yield part, None
            elif header.fields or not part.lines.strip():
                yield part, header if header.fields else None
            else:
                remedy = "a Zeek log begins with lines such as '#fields', or holds an object of JSON in each line"
                raise SchemaError(f"{block.source}: row {part.first_row} has no header above it; {remedy}")


def _runs(block: Block) -> Iterator[Block]:
    """The lines of a block, cut where comments begin and end."""
    lines, start, row = block.lines, 0, block.first_row
    while start < len(lines):
        end = _end_of_comments(lines, start) if lines[start : start + 1] == b"#" else lines.find(b"\n#", start) + 1
        part = lines[start : end or None]
        yield Block(block.source, part, row)
        if not end:
            return
        row += part.count(b"\n")
        start = end


def _end_of_comments(lines: bytes, start: int) -> int:
    """Where the first line begins that is no comment; 0 for the end."""
    while lines[start : start + 1] == b"#":
        start = lines.find(b"\n", start) + 1 or len(lines)
    return start if start < len(lines) else 0


def _character(text: str, where: str) -> str:
    r"""The separator that a text such as ``\x09`` spells."""
    spelt = re.sub(r"\\x([0-9a-fA-F]{2})", lambda found: chr(int(found[1], 16)), text)
    if len(spelt) != 1 or not spelt.isascii() or spelt in "\0\r\n":
        raise SchemaError(f"{where}: the separator must be one character of ASCII and end no line, given {text!r}")
    return spelt
