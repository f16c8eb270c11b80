"""Cells of a CSV that people open in a spreadsheet: no text in them is a formula."""

import re
from typing import Any, Final

from pipeline.base.escaping import printable

# What a spreadsheet takes for a formula. It is text here: what is a number stays one.
# Source: "CSV Injection", OWASP (owasp.org/www-community/attacks/CSV_Injection).
_FORMULA: Final = re.compile(r"'*[=+\-@\uff1d\uff0b\uff0d\uff20].", re.DOTALL)
_NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-](inf|nan)", re.ASCII)


def in_cell(value: Any) -> Any:
    """What stands in a cell: a text that a spreadsheet would compute gets an apostrophe before it; numbers stay."""
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    safe = printable(value)
    return f"'{safe}" if _FORMULA.match(safe) else safe


def from_cell(text: str) -> str:
    """The word that ``in_cell`` has put into a cell."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
