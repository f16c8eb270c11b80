"""How a CSV is written, found from its first lines: separator, quotes, decimal comma, what stands above the header.

The encoding is that of ``encodings``; by the time these lines are seen they are UTF-8, or cp1252 here and there.
"""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from pipeline.base import limits
from pipeline.datasets import encodings
from pipeline.datasets.marks import Evidence, Marks

SEPARATORS = ",;\t|"
COMMENT = "#"
SNIFFED = 60  # lines below the header that are looked at
_STATED = re.compile(r'\ufeff?"?sep=(.)"?\s*', re.IGNORECASE)  # as Excel writes it, above the header
_POINT = re.compile(r"[-+]?\d*\.\d+(?:[eE][-+]?\d+)?")
_NAMES = {",": "commas", ";": "';'", "\t": "tabs", "|": "'|'", ".": "points"}


@dataclass(frozen=True)
class Dialect:
    """How the rows of a file are written.

    Attributes:
        separator: stands between cells.
        quote: may stand around a cell, which then may hold a separator; "" where none does. Then a stray quote cannot
            swallow what follows.
        decimal: separates the whole part of a number from its fraction.
        encoding: of the file, as Python names it.
        thousands: stands between groups of three digits of a number; "" for none.
        is_shown: whether a cell shows which sign is decimal and which one stands between thousands.
    """

    separator: str = ","
    quote: str = ""
    decimal: str = "."
    encoding: str = "utf-8"
    thousands: str = ""
    is_shown: bool = True

    def cells(self, line: str) -> list[str]:
        """The cells of a line, without spaces and quotes around them."""
        if self.quote:
            rows = csv.reader([line], delimiter=self.separator, quotechar=self.quote)
        else:
            rows = csv.reader([line], delimiter=self.separator, quoting=csv.QUOTE_NONE)
        return [cell.strip().strip("\"'").strip() for cell in next(rows, [])]

    def is_blank(self, line: str) -> bool:
        """Whether a line has no cell with a content. Zeros and Ctrl-Z are what a broken write leaves behind."""
        return not line.strip(f'{self.separator}{self.quote}"\0\x1a \t\r\n')

    def __str__(self) -> str:
        parted = f"separated by {_NAMES.get(self.separator, repr(self.separator))}"
        quoted = f", quoted by {self.quote}" if self.quote else ""
        decimal = ", with decimal commas" if self.decimal == "," else ""
        thousands = f", with {_NAMES[self.thousands]} between thousands" if self.thousands else ""
        doubt = "" if self.is_shown else " (no cell shows which)"
        return f"{parted}{quoted}{decimal}{thousands}{doubt}, {self.encoding}"

    def with_marks(self, marks: Marks) -> "Dialect":
        """The same with other signs within numbers."""
        return replace(self, decimal=marks.decimal, thousands=marks.thousands, is_shown=marks.is_shown)


PLAIN = Dialect()


class Head(NamedTuple):
    """The header of a file.

    Attributes:
        names: of its columns as its rows have them; a name is "" where only the rows have the column.
        line: the header as it stands in the file; a row that repeats it holds no record.
        dialect: how the rows are written.
        size: bytes up to the end of the header.
    """

    names: tuple[str, ...]
    line: bytes
    dialect: Dialect
    size: int


class _Lines(NamedTuple):
    """The first lines of a text: the header, and some below it."""

    header: str
    rows: list[str]
    raw: bytes
    size: int
    stated: str


def head_of(first: bytes, source: str = "the text") -> Head:
    """The header of a text that begins with ``first``, and its dialect; without names where it has no header.

    Raises:
        SourceError: the line of names is longer than ``files.header`` allows; ``source`` is the name of the file.
    """
    lines = _first_lines(first)
    limits.held().require("header", len(lines.raw), source, "bytes of the line of names are")
    if not lines.header.strip():
        return Head((), b"", PLAIN, lines.size)
    separator = lines.stated or _separator(lines.header)
    loose = Dialect(separator, "'" if lines.header.strip().startswith("'") else '"')
    rows = [_cells(loose, row) for row in lines.rows]
    header = _cells(loose, lines.header)
    quote = loose.quote if _is_quoted(loose, lines.rows) or _holds_separators(loose, lines.rows, len(header)) else ""
    evidence = Evidence(separator)
    evidence.add(cell for row in rows for cell in row)
    dialect = Dialect(separator, quote, encoding=encodings.encoding_of(first)).with_marks(evidence.marks())
    names = _named(header, rows)
    return Head(tuple(names), lines.raw, dialect, lines.size)


def size_of_head(first: bytes) -> int:
    """How many bytes of a text that begins with ``first`` lie above its rows."""
    return _first_lines(first).size


def _first_lines(first: bytes) -> _Lines:
    """The header and the lines below it, without blank lines, comments and a stated separator above."""
    size, stated, comment = 0, "", ("", b"", 0)
    while size < len(first):
        end = first.find(b"\n", size) + 1 or len(first)
        raw, begin, size = first[size:end], size, end
        line = encodings.text(raw).removeprefix("\ufeff").rstrip("\r\n")
        if found := _STATED.fullmatch(line):
            stated = found[1]
        elif line.lstrip().startswith(COMMENT):
            comment = (line.lstrip("# "), raw, end)
        elif line.strip():
            rows = _rows(first, size)
            if comment[0] and _is_header(comment[0], line, stated):
                return _Lines(comment[0], [line, *rows], comment[1], begin, stated)
            return _Lines(line, rows, raw, size, stated)
    return _Lines(comment[0], [], comment[1], size, stated)


def _rows(first: bytes, start: int) -> list[str]:
    """Some lines below the header that are neither blank nor comments."""
    block = first[start : start + (1 << 18)]
    whole = block if start + len(block) == len(first) else block[: block.rfind(b"\n") + 1]
    lines = map(encodings.text, whole.split(b"\n", SNIFFED)[:SNIFFED])
    return [line for line in lines if not PLAIN.is_blank(line) and not line.lstrip().startswith(COMMENT)]


def _is_header(comment: str, line: str, stated: str) -> bool:
    """Whether a comment is the header: it has as many cells as the row of numbers below it."""
    dialect = Dialect(stated or _separator(comment), '"')
    cells = _cells(dialect, line)
    return len(cells) > 1 and len(cells) == len(_cells(dialect, comment)) and any(map(_is_number, cells))


def are_values(names: Sequence[str]) -> bool:
    """Whether what should be names are values: most are numbers, and one of them comes twice, as zeros do."""
    numbers = [name for name in names if _is_number(name)]
    return 2 * len(numbers) > len(names) and len({*numbers}) < len(numbers)


def _is_number(cell: str) -> bool:
    return _POINT.fullmatch(cell) is not None or cell.lstrip("+-").isdecimal()


def _separator(header: str) -> str:
    """What separates the most names; a comma where nothing does."""
    return max(SEPARATORS, key=lambda separator: len(_cells(Dialect(separator, '"'), header)))


def _cells(dialect: Dialect, line: str) -> list[str]:
    try:
        return dialect.cells(line)
    except csv.Error:
        return []


def _is_quoted(loose: Dialect, rows: Sequence[str]) -> bool:
    """Whether each row has a quoted cell: a single one may be a stray quote."""
    mark = re.escape(loose.quote)
    cell = re.compile(
        rf"(?:^|{re.escape(loose.separator)}) *{mark}[^{mark}]*{mark} *(?:$|{re.escape(loose.separator)})"
    )
    return bool(rows) and all(cell.search(row.rstrip("\r\n")) for row in rows)


def _holds_separators(loose: Dialect, rows: Sequence[str], width: int) -> bool:
    """Whether a row is as wide as the header only if its quotes are heeded, as one with ``"1,234"`` is."""
    bare = replace(loose, quote="")
    quoted = (row for row in rows if loose.quote in row)
    return any(len(_cells(loose, row)) == width < len(_cells(bare, row)) for row in quoted)


def _named(header: list[str], rows: Sequence[list[str]]) -> list[str]:
    """The header as wide as the rows are: some tools end the rows alone with a separator, or name no row numbers."""
    widths = Counter(len(row) for row in rows)
    width = widths.most_common(1)[0][0] if widths else len(header)
    usual = [row for row in rows if len(row) == width]
    extra = width - len(header)
    if extra > 0 and not any(cell for row in usual for cell in row[len(header) :]):
        return [*header, *[""] * extra]
    if extra == 1 and len({row[0] for row in usual}) == len(usual) > 1:
        return ["", *header]
    if extra < 0 and not any(header[extra:]):
        return header[:extra]
    return header
