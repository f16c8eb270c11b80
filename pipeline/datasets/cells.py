"""The cells of a CSV that are no plain numbers: how tools spell a missing value and infinity, and how rows end."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.marks import GROUPED
from pipeline.datasets.nulls import NO_NUMBER, WORDS

if TYPE_CHECKING:
    import pandas as pd  # few files need it, and each process that reads files would wait for it

# Microsoft's C library spells 1/0 and 0/0 so; the zeros depend on the number of decimals that were asked for.
_C_INFINITY, _C_UNDEFINED = rb"1\.#INF0*", rb"-?1\.#(?:IND|QNAN|SNAN)0*"
_INFINITE = re.compile(r"([-+]?)(?:inf|infinity|1\.#inf0*|\u221e)", re.IGNORECASE)
_UNDEFINED = re.compile(r"[-+]?1\.#(?:ind|qnan|snan)0*", re.IGNORECASE)
_HEXADECIMAL = re.compile(r"0[xX][0-9a-fA-F]{1,13}")
# Spreadsheets spell some missing values with the sign that begins a comment.
_COMMENT = re.compile(
    rb"^(?!(?:%s)(?:[^\w]|$))#[^\r\n]*" % b"|".join(re.escape(text.encode()) for text in WORDS if text.startswith("#")),
    re.MULTILINE,
)
BLANK = frozenset({"", '""', "''"})


def respelt(lines: bytes) -> bytes:
    """Lines in which the infinite and undefined numbers of Microsoft's C library are spelt as others spell them."""
    if b"1.#" not in lines:
        return lines
    return re.sub(_C_INFINITY, b"inf", re.sub(_C_UNDEFINED, b"nan", lines))


def numbers(
    cells: "pd.Series[str]", decimal: str = ".", thousands: str = ""
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(n,) the numbers that cells spell, NaN for a missing one; and (n,) which cells spell none.

    Args:
        cells: (n,) texts, or null.
        decimal: what separates the whole part of a number from its fraction.
        thousands: what stands between groups of three digits; "" for nothing.
    """
    import pandas as pd

    bare = _plain(cells.str.strip(" \"'\t"), decimal, thousands)
    values = pd.to_numeric(bare, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan).copy()
    faulty = np.isnan(values) & cells.notna().to_numpy()
    for place in np.flatnonzero(faulty):
        number = _odd(cells.iloc[place])
        if number is not None:
            values[place], faulty[place] = number, False
    return values, faulty


def _plain(bare: "pd.Series[str]", decimal: str, thousands: str) -> "pd.Series[str]":
    """Numbers with a decimal point and nothing between thousands; what may be read in two ways stays unreadable."""
    if decimal == "." and not thousands:
        return bare
    other = "." if decimal == "," else ","
    grouped = bare.str.fullmatch(GROUPED[other].pattern, na=False)
    plain = bare.str.replace(other, "" if thousands else "?", regex=False).where(grouped, bare)
    return plain.str.replace(",", ".", regex=False) if decimal == "," else plain


def plain(cells: Sequence[str], decimal: str, thousands: str) -> list[str]:
    """(n,) cells in the form in which ``numbers`` reads them."""
    import pandas as pd

    return _plain(pd.Series(cells, dtype=object), decimal, thousands).tolist() if cells else []


def fault(cell: str, decimal: str) -> str:
    """Why a cell that ``numbers`` cannot read is none."""
    is_either = decimal == "," and GROUPED["."].fullmatch(cell.strip(" \"'\t")) is not None
    return f"{cell!r} may have thousands or decimals behind its point" if is_either else f"{cell!r} is not a number"


def _odd(cell: str) -> float | None:
    """The number that a cell spells in an unusual way; None for none."""
    text = cell.strip(" \"'\t")
    if cell.strip() in BLANK or (text and text.lower() in NO_NUMBER) or _UNDEFINED.fullmatch(text):
        return float("nan")
    if _HEXADECIMAL.fullmatch(text):
        return float(int(text, 16))
    infinite = _INFINITE.fullmatch(text)
    return float(f"{infinite[1]}inf") if infinite else None


def is_odd(cell: str) -> bool:
    """Whether a cell is a number that is spelt in an unusual way, a missing one included."""
    return _odd(cell) is not None


def with_wide_comments(lines: bytes, surplus: bytes) -> bytes:
    """Lines in which each comment ends with ``surplus``: too many cells for a record, however many it had."""
    if not lines.startswith(b"#") and b"\n#" not in lines:
        return lines
    return _COMMENT.sub(rb"\g<0>" + surplus, lines)


def without_returns(lines: bytes, instead: bytes) -> tuple[bytes, dict[int, bytes]]:
    """Lines in which ``instead`` stands for each one with a carriage return in it, and those by their places.

    Some tools end lines with several carriage returns in front of the line feed; these are cut off.
    """
    if lines.count(b"\r") == lines.count(b"\r\n"):
        return lines, {}
    found = [line.rstrip(b"\r") for line in lines.split(b"\n")]
    odd = {place: line for place, line in enumerate(found) if b"\r" in line}
    return b"\n".join(instead if place in odd else line for place, line in enumerate(found)), odd


def without_headers(lines: bytes, header: bytes, instead: bytes) -> tuple[bytes, frozenset[int]]:
    """Lines in which ``instead`` stands for each one that repeats the header, and the places of those."""
    bare = _bare(header)
    at = lines.find(bare) if bare else -1
    parts, places, done, row = [], set(), 0, 0
    while at >= 0:
        begin, end = lines.rfind(b"\n", 0, at) + 1, lines.find(b"\n", at)
        end = len(lines) if end < 0 else end
        if _bare(lines[begin:end]) == bare:
            row += lines.count(b"\n", done, begin)
            parts += [lines[done:begin], instead]
            places.add(row)
            done = end
        at = lines.find(bare, end)
    return (b"".join([*parts, lines[done:]]) if places else lines), frozenset(places)


def _bare(line: bytes) -> bytes:
    """A line without what may stand around it: a byte-order mark, spaces, its end."""
    return line.strip(b"\xef\xbb\xbf \t\r\n")


def trimmed(lines: bytes, surplus: Mapping[int, int], separator: str) -> bytes:
    """Lines of which some lose the blank cells at their end.

    Args:
        lines: of the block.
        surplus: place of a line -> how many cells it loses.
        separator: stands between cells.
    """
    found = lines.split(b"\n")
    for place, cells in surplus.items():
        found[place] = separator.encode().join(found[place].rstrip(b" \r").split(separator.encode())[:-cells])
    return b"\n".join(found)
