"""Rows as a table of Markdown, for pages, and as columns, for a terminal."""

from collections.abc import Mapping, Sequence

from pipeline.base import escaping
from pipeline.base.escaping import printable

Rows = Sequence[Mapping[str, object]]


def markdown(rows: Rows) -> str:
    """A table of Markdown; nothing for no rows."""
    if not rows:
        return ""
    return escaping.table(list(rows[0]), [[cell(value) for value in row.values()] for row in rows])


def columns(rows: Rows) -> str:
    """Columns as wide as what stands in them; nothing for no rows."""
    lines = (
        [[printable(name) for name in rows[0]], *([cell(value) for value in row.values()] for row in rows)]
        if rows
        else []
    )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def cell(value: object) -> str:
    """A number as people read it, and any other text on one line."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else printable(str(value))
