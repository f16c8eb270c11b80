"""Bricks of the page. Arguments called ``html`` or ``cells`` are markup; all others are text, and are escaped here."""

import base64
from collections.abc import Iterable, Sequence
from html import escape

from pipeline.reporting.page.cited import Document

BAR = 84  # width in pixels


def section(title: str, *html: str) -> str:
    """A heading and what stands below it."""
    return f"<section><h2>{escape(title)}</h2>{''.join(html)}</section>"


def paragraph(html: str, kind: str = "") -> str:
    """A paragraph."""
    return f"<p{_class(kind)}>{html}</p>"


def bullets(html: Iterable[str], kind: str = "") -> str:
    """A list."""
    return f"<ul{_class(kind)}>{''.join(f'<li>{each}</li>' for each in html)}</ul>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], words: int = 1) -> str:
    """A table.

    Args:
        header: text of each column.
        rows: their cells, markup.
        words: how many columns hold words, and are aligned to the left; the others hold numbers.
    """
    head = _row("th", [escape(name) for name in header], words)
    body = "".join(_row("td", cells, words) for cells in rows)
    return f'<div class="scroll"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'


def _row(tag: str, cells: Sequence[str], words: int) -> str:
    marked = (f"<{tag}{_class('number' * (i >= words))}>{cell}</{tag}>" for i, cell in enumerate(cells))
    return f"<tr>{''.join(marked)}</tr>"


def cards(html: Iterable[tuple[str, str, str]]) -> str:
    """Big figures: each a figure, what it is, and what is to be known beside it."""
    shown = "".join(f'<div class="card"><b>{value}</b>{name}<small>{note}</small></div>' for value, name, note in html)
    return f'<div class="cards">{shown}</div>'


def figure(svg: bytes, alt: str) -> str:
    """A picture of its own, so that styles and identifiers of several do not meet."""
    data = base64.b64encode(svg).decode()
    return f'<figure><img alt="{escape(alt)}" src="data:image/svg+xml;base64,{data}"></figure>'


def banner(html: str, tone: str) -> str:
    """A coloured note: tone ``good``, ``warn`` or ``bad``."""
    return f'<div class="banner {tone}">{html}</div>'


def badge(text: str, tone: str) -> str:
    """A word in a coloured frame."""
    return f'<span class="badge {tone}">{escape(text)}</span>'


def code(text: str) -> str:
    """A name as it stands in files; long ones may break anywhere."""
    return f"<code>{escape(text)}</code>"


def bar(of: Document, tone: str) -> str:
    """The share ``recall`` as a bar, with a line from ``low`` to ``high``; nothing where it is undefined."""
    if of("recall") is None:
        return ""
    filled, left, right = (round(BAR * of(key), 1) for key in ("recall", "low", "high"))
    return (
        f'<svg class="bar {tone}" width="{BAR}" height="12" viewBox="0 0 {BAR} 12" aria-hidden="true">'
        f'<rect class="rail" width="{BAR}" height="8" y="2" rx="2"/>'
        f'<rect class="fill" width="{filled}" height="8" y="2" rx="2"/>'
        f'<path class="reach" d="M{left} 6H{right}M{left} 3v6M{right} 3v6"/></svg>'
    )


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
