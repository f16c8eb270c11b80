"""A finding: what was looked at, whether it keeps a run from working, and what to do about it."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "blocks"]


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's page.

    Attributes:
        level: ``note``: works, but a person may want to know; ``blocks``: a run would fail.
        text: what was found.
        remedy: what to do, for all but ``ok``.
    """

    level: Level
    text: str
    remedy: str = ""


def ok(text: str) -> Finding:
    """Nothing to do."""
    return Finding("ok", text)


def note(text: str, remedy: str) -> Finding:
    """Worth knowing."""
    return Finding("note", text, remedy)


def blocks(text: str, remedy: str) -> Finding:
    """A run would fail."""
    return Finding("blocks", text, remedy)
