"""Rows as a table of Markdown, for pages, and as columns, for a terminal."""

from collections.abc import Mapping, Sequence

Rows = Sequence[Mapping[str, object]]


def markdown(rows: Rows) -> str:
    """A table of Markdown; nothing for no rows."""
    if not rows:
        return ""
    cells = [[cell(value).replace("|", "\\|") for value in row.values()] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in (list(rows[0]), ["---"] * len(rows[0]), *cells))


def columns(rows: Rows) -> str:
    """Columns as wide as what stands in them; nothing for no rows."""
    lines = [list(rows[0]), *([cell(value) for value in row.values()] for row in rows)] if rows else []
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def cell(value: object) -> str:
    """A number as people read it, and anything else as it is."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
