"""Which sign separates the fraction of a number, and which separates its thousands.

``1,234`` may be both. Other cells tell: ``1,234,567`` and ``1,234.5`` have commas between thousands, ``0,5`` and
``1.234,5`` have decimal commas. Where no cell of the file tells, a comma stands between thousands if commas separate
the cells, and is a decimal one otherwise; that nothing shows it is said.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

SIGNS: Final = {",": ".", ".": ","}  # a sign -> the one that stands for the other thing beside it
GROUPED: Final = {
    sign: re.compile(rf"[-+]?[1-9]\d{{0,2}}(?:{re.escape(sign)}\d{{3}})+(?:{re.escape(other)}\d*)?")
    for sign, other in SIGNS.items()
}
_DECIMAL: Final = {sign: re.compile(rf"[-+]?\d*{re.escape(sign)}\d+(?:[eE][-+]?\d+)?") for sign in SIGNS}

ADDRESS: Final = 3  # points of an IPv4 address, which looks like thousands


class Marks(NamedTuple):
    """The signs within numbers.

    Attributes:
        decimal: separates the whole part of a number from its fraction.
        thousands: stands between groups of three digits; "" for none.
        is_shown: whether a cell shows it; otherwise each such cell might be read in the other way.
    """

    decimal: str = "."
    thousands: str = ""
    is_shown: bool = True


class Evidence:
    """What cells show of the signs, gathered some at a time.

    Args:
        separator: of the cells.
    """

    def __init__(self, separator: str) -> None:
        self.separator = separator
        self.decimal: Counter[str] = Counter()  # sign -> cells in which it can only be decimal
        self.thousands: Counter[str] = Counter()  # sign -> cells in which it can only stand between thousands
        self.either: Counter[str] = Counter()  # sign -> cells in which it may be both

    def add(self, cells: Iterable[str]) -> None:
        """Look at some cells."""
        for cell in cells:
            for sign, other in SIGNS.items():
                if sign not in cell:
                    continue
                if sign == "." and cell.count(".") == ADDRESS and "," not in cell:
                    continue
                if GROUPED[sign].fullmatch(cell):
                    sure = cell.count(sign) > 1 or other in cell
                    (self.thousands if sure else self.either)[sign] += 1
                elif _DECIMAL[sign].fullmatch(cell):
                    self.decimal[sign] += 1

    def marks(self) -> Marks:
        """What follows from the cells so far."""
        commas = self.decimal[","] + self.thousands["."]
        points = self.decimal["."] + self.thousands[","]
        if commas > points:
            return Marks(",", "." if self.thousands["."] else "")
        if self.thousands[","] or (self.either[","] and points):
            return Marks(".", ",")
        if not self.either[","]:
            return Marks()
        return Marks(".", ",", False) if self.separator == "," else Marks(",", "", False)


def cells_with_signs(block: bytes, separator: str) -> Iterator[str]:
    """The numbers of a text that have a comma or a point; where commas separate cells, those in quotes alone."""
    edge = rb"[\"']" if separator == "," else rb"(?:^|[\"']|%s)" % re.escape(separator.encode())
    end = rb"[\"']" if separator == "," else rb"(?:\r?$|[\"']|%s)" % re.escape(separator.encode())
    for found in re.finditer(rb"%s\s*([-+]?\d*[.,][\d.,]*)\s*(?=%s)" % (edge, end), block, re.MULTILINE):
        yield found[1].decode()
