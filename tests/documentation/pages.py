"""The pages that people read, and the commands in them."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md", "data/README.md")
]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
FENCE = re.compile(r"^```([\w-]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`]+)`")
PROGRAMS = ("flowsculpt", "python", "make", "dvc", "prefect", "mlflow", "pytest")


def name(page):
    """As in ``docs/faq.md``."""
    return page.relative_to(ROOT).as_posix()


def text(page):
    return page.read_text(encoding="utf-8")


def blocks(page, language):
    """What stands in the fenced blocks of a language."""
    return [body for given, body in FENCE.findall(text(page)) if given == language]


def prose(page):
    """The page without its fenced blocks and comments."""
    return re.sub(r"<!--.*?-->", "", FENCE.sub("", text(page)), flags=re.DOTALL)


def spans(page):
    """What stands between backticks in a sentence or a cell, on one line."""
    return [re.sub(r"\s+", " ", span) for span in SPAN.findall(prose(page))]


def commands(page):
    """Each command in a block of the language sh, or between backticks, as words; variables before it are left out."""
    lines = [line for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
    lines += [span for span in spans(page) if span.partition(" ")[0] in PROGRAMS and " " in span]
    found = [shlex.split(line, comments=True) for line in lines]
    return [_without_variables(words) for words in found if words]


def _without_variables(words):
    while "=" in words[0]:
        words = words[1:]
    return words
