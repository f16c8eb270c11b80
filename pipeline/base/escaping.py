r"""Foreign text on its way out: one door for each medium.

Whoever sends records chooses the names of files, columns, labels and words; analysts choose names and notes; a library
quotes any of them in an error. Such a text is shown as it is spelt, and can do nothing where it is shown::

    printable(text)      one line of a log, a tag, a sentence: ``\x1b`` instead of ESC, ``\n`` instead of a new line
    lines(text)          a message of ours that has several lines, or a page for a terminal
    in_markdown(text)    words on a page of Markdown; ``in_code``, ``fenced`` and ``table`` for the other places there
    on_terminal(page)    such a page where nobody lays it out
    in_figure(text)      words of a figure of matplotlib
    log(name)            a log whose messages are one line each

Cells of a CSV that people open in a spreadsheet have a door of their own, ``csv_cells``: stages read them again.

HTML is made by Jinja2, which escapes by itself; see ``reporting.html``.
"""

import html
import logging
import re
import traceback
from collections.abc import Iterable, Sequence
from typing import Any, Final

from pipeline.base.secrets import hidden

# Marks of Markdown and of its tables, and what GitHub's Markdown makes a link of without any mark.
_MARKS: Final = re.compile(
    r"[\\`*~\[\]|@]|:(?=//)|(?<=www)\.|(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])", re.ASCII | re.IGNORECASE
)
# What begins a heading, a list, a line across or a heading above it: the sign alone is escaped.
_OPENING: Final = re.compile(r"^( *(?:\d+(?=[.)](?:\s|$))|(?=#{1,6}(?:\s|$)|[+-](?:\s|$)|--|=+\s*$)))(.)", re.ASCII)
SPACES: Final = "\u00a0\u2009\u202f"  # as in "20 %", where no line may end; they do nothing else
_BACKTICKS: Final = re.compile(r"`+")


def printable(text: str) -> str:
    """A name or a reason that can be shown and sent anywhere: characters that are not printable become escapes.

    A line break in a name could forge a line of a log, ESC could redraw a terminal, and a sign that turns the direction
    of writing could hide the end of a name. Bytes that are not UTF-8 cannot be sent to a server at all.
    """
    if text.isprintable():  # as most are
        return text
    return "".join(char if char.isprintable() or char in SPACES else _escape(char) for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode()


def lines(text: str) -> str:
    """The same for a text of ours that has several lines: they stay lines."""
    return "\n".join(map(printable, text.split("\n")))


# Markdown.


class Markdown(str):
    """Words that are Markdown already: a cell of a table takes them as they are."""

    __slots__ = ()


def in_markdown(text: str) -> str:
    """Words on a page of Markdown: no HTML, no link, no emphasis, no heading, and no end of a cell."""
    return _OPENING.sub(lambda found: f"{found[1]}&#{ord(found[2])};", _words(text))


def strong(text: str) -> Markdown:
    """Words that stand out."""
    return Markdown(f"**{_words(text)}**")


def in_code(text: str) -> str:
    """A text as code on a page of Markdown, between as many backticks as it takes."""
    safe = printable(text)
    fence = "`" * (1 + max(map(len, _BACKTICKS.findall(safe)), default=0))
    pad = " " if safe.startswith("`") or safe.endswith("`") or not safe.strip() else ""
    return f"{fence}{pad}{safe}{pad}{fence}"


def fenced(text: str) -> str:
    """A text of several lines as a block of code."""
    safe = lines(text)
    fence = "`" * max(3, 1 + max(map(len, _BACKTICKS.findall(safe)), default=0))
    return f"{fence}\n{safe}\n{fence}"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], ruled: Sequence[str] = ()) -> str:
    """A table of Markdown.

    Args:
        header: a name for each column.
        rows: texts, one for each column.
        ruled: how each column is set, such as ``---:`` for numbers.
    """
    below = ruled or ["---"] * len(header)
    body = [[cell if isinstance(cell, Markdown) else _words(cell) for cell in row] for row in (header, *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (body[0], below, *body[1:]))


def on_terminal(page: str) -> str:
    """A page of Markdown as a terminal shows it: words as they are spelt."""
    return "\n".join(printable(html.unescape(line)) for line in page.split("\n"))


def _words(text: str) -> str:
    return _MARKS.sub(lambda found: f"&#{ord(found[0])};", html.escape(printable(text), quote=False))


# Figures.


def in_figure(text: str) -> str:
    """Words of a figure: no mathematics between dollars, nothing that SVG cannot hold, and always in the legend."""
    safe = lines(text).replace("$", r"\$")
    return f" {safe}" if safe.startswith("_") else safe  # matplotlib leaves such a name out of its legends


# Logs.


class Log(logging.LoggerAdapter[Any]):
    """Writes to a logger, or to another adapter, messages that are safe; a traceback below one is lines.

    Secrets are cut out of both.
    """

    def log(self, level: int, msg: object, *args: object, **given: Any) -> None:
        """See ``logging.Logger.log``."""
        if not self.isEnabledFor(level):
            return
        text = printable(hidden(str(msg) % args if args else str(msg)))
        if given.pop("exc_info", None):
            text = f"{text}\n{lines(hidden(traceback.format_exc().rstrip()))}"
        given["stacklevel"] = given.get("stacklevel", 1) + 1
        self.logger.log(level, "%s", text, **given)


def log(name: str) -> Log:
    """The log of a module, or of the whole program."""
    return Log(logging.getLogger(name))
