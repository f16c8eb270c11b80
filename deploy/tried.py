"""What was tried on the stack, and what held."""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import httpx

from pipeline.base.errors import FlowsculptError

HELD, FAILED, SKIPPED = "held", "FAILED", "not tried"
_WIDTH: Final = 58


@dataclass(frozen=True)
class Tried:
    """One line of the table."""

    what: str
    result: str
    note: str
    seconds: float


@dataclass
class Table:
    """All that was tried, in order."""

    rows: list[Tried] = field(default_factory=list)
    only: str = ""  # an expression: what has no match in its name is passed over, but for what all the rest needs

    def attempt(self, what: str, act: Callable[[], str], needed: bool = False) -> bool:
        """Try something and keep what became of it; whether it held.

        Args:
            what: is tried, in words.
            act: does it and says what was seen; it raises where it does not hold.
            needed: whether what follows needs it.
        """
        if not (needed or re.search(self.only, what)):
            return True
        begun = time.monotonic()
        try:
            result, note = HELD, act()
        except (FlowsculptError, AssertionError, httpx.HTTPError, OSError, LookupError) as error:
            result, note = FAILED, f"{type(error).__name__}: {error}".replace(r"\n", "\n")
        return self._add(Tried(what, result, note, time.monotonic() - begun))

    def skip(self, what: str, why: str) -> None:
        """Keep that something was not tried."""
        self._add(Tried(what, SKIPPED, why, 0.0))

    def _add(self, row: Tried) -> bool:
        self.rows.append(row)
        print(_line(row), flush=True)
        return row.result == HELD

    @property
    def failed(self) -> int:
        """How many things did not hold."""
        return sum(row.result == FAILED for row in self.rows)

    def __str__(self) -> str:
        sums = [f"{sum(row.result == each for row in self.rows)} {each}" for each in (HELD, FAILED, SKIPPED)]
        return "\n".join([*map(_line, self.rows), ", ".join(sums)])


def _line(row: Tried) -> str:
    first, *rest = row.note.splitlines() or [""]
    below = [f"    {line}" for line in rest] if row.result == FAILED else []
    return "\n".join([f"{row.result:9}  {row.what:{_WIDTH}}  {row.seconds:6.1f} s  {first}", *below])


def require(condition: object, said: str) -> None:
    """Raise where something does not hold.

    Raises:
        FlowsculptError: with what was said.
    """
    if not condition:
        raise FlowsculptError(said)
