"""Lines of a stream as micro-batches: whole lines below the header that says what they mean."""

from dataclasses import dataclass
from typing import Final

LONGEST: Final = 16 << 20  # bytes without the end of a line
_COMMENT, _OBJECT = b"#", (b"{", b"[")


@dataclass(frozen=True)
class Batch:
    """Some lines of a stream.

    Attributes:
        name: of its file: it says which part of the stream this is, and later parts sort behind it.
        content: the header and the lines.
        lines: how many there are, the header apart.
    """

    name: str
    content: bytes
    lines: int


@dataclass
class Header:
    """The header of a stream, kept from the first lines on, and put above all others.

    A log of Zeek has comment lines, a CSV has one line of names, and an object of JSON in each line needs none. A new
    header of Zeek in the midst of the lines takes the place of the one before.

    Attributes:
        text: the header; empty for JSON, and before the first line.
        kind: ``zeek``, ``csv`` or ``json``; "" before the first line.
    """

    text: bytes = b""
    kind: str = ""

    def above(self, lines: bytes) -> tuple[bytes, int]:
        """The lines of a batch below their header, and how many of them are no header or comment."""
        if not self.kind:
            self.kind = _kind(lines)
            if self.kind == "csv":
                head, _, lines = lines.partition(b"\n")
                self.text = head + b"\n"
        whole = self.text + lines
        if self.kind != "zeek":
            return whole, lines.count(b"\n")
        comments = lines.count(b"\n#") + lines.startswith(_COMMENT)
        if comments:
            self._follow(lines)
        return whole, lines.count(b"\n") - comments

    def _follow(self, lines: bytes) -> None:
        """Remember the last header among lines of Zeek."""
        for line in lines.splitlines(keepends=True):
            if line.startswith(b"#separator"):
                self.text = line
            elif line.startswith(_COMMENT) and not line.startswith((b"#close", b"#open")):
                self.text += line


def _kind(lines: bytes) -> str:
    start = lines.lstrip()[:1]
    return "zeek" if start == _COMMENT else "json" if start in _OBJECT else "csv"


def cut(text: bytes, most: int) -> tuple[bytes, bytes]:
    """The first whole lines of a text, at most so many, and the rest."""
    end, n = 0, 0
    while n < most:
        at = text.find(b"\n", end)
        if at < 0:
            break
        end, n = at + 1, n + 1
    return text[:end], text[end:]
