"""Long lists, a page at a time."""

from typing import NamedTuple, Self


class Pages(NamedTuple):
    """Which of several pages is shown, counted from 1."""

    at: int
    of: int
    total: int

    @classmethod
    def cut(cls, asked: str, total: int, each: int) -> tuple[Self, slice]:
        """The page that is asked for, or the nearest there is, and its part of ``total`` things."""
        last = max(1, -(-total // each))
        at = min(max(1, int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else 1), last)
        return cls(at, last, total), slice((at - 1) * each, at * each)
