"""A JSON document whose figures can be shown, each with the place that it was taken from."""

from collections.abc import Callable
from html import escape
from typing import Any

from pipeline.reporting.figures import style

NONE = '<span class="none">–</span>'


class Document:
    """The content of a JSON file, or a part of it.

    Args:
        name: where the file lies.
        content: what it holds.
        base: keys that lead to the part; all paths start there.
    """

    def __init__(self, name: str, content: Any, base: tuple[str, ...] = ()) -> None:
        self.name = name
        self.content = content
        self.base = base

    def __call__(self, *path: str) -> Any:
        """What stands at ``path``; None where there is no such place."""
        place = self.content
        for key in (*self.base, *path):
            if not isinstance(place, dict) or key not in place:
                return None
            place = place[key]
        return place

    def at(self, *path: str) -> "Document":
        """The part at ``path``."""
        return Document(self.name, self.content, (*self.base, *path))

    def names(self, *path: str) -> list[str]:
        """The keys of the object at ``path``; none where there is no object."""
        place = self(*path)
        return list(place) if isinstance(place, dict) else []

    def share(self, *path: str) -> str:
        """A share in percent."""
        return self._shown(path, style.percent)

    def count(self, *path: str) -> str:
        """A number of records, rounded to whole ones."""
        return self._shown(path, lambda value: f"{value:,.0f}")

    def area(self, *path: str) -> str:
        """An area under a curve or an F1 in four digits, never rounded up to 1."""
        return self._shown(path, lambda value: f"{min(value, 0.9999) if value < 1 else value:.4f}")

    def interval(self, low: str = "low", high: str = "high") -> str:
        """From one share to another."""
        return f"{self._shown((low,), _bare)} to {self.share(high)}" if self(low) is not None else NONE

    def share_within(self, key: str, low: str = "low", high: str = "high") -> str:
        """A share above its interval."""
        return f"{self.share(key)}<small>{self.interval(low, high)}</small>"

    def area_within(self, key: str) -> str:
        """An area above its interval, whose keys end with ``_low`` and ``_high``."""
        low, high = self.area(f"{key}_low"), self.area(f"{key}_high")
        return f"{self.area(key)}<small>{low} to {high}</small>"

    def _shown(self, path: tuple[str, ...], text: Callable[[Any], str]) -> str:
        value = self(*path)
        if value is None:
            return NONE
        pointer = "".join(f"/{key.replace('~', '~0').replace('/', '~1')}" for key in (*self.base, *path))
        return f'<data value="{value!r}" title="{escape(f"{self.name}#{pointer}")}">{_unbroken(text(value))}</data>'


def percent(share: str) -> str:
    """A share that is a key, in percent."""
    return _unbroken(style.percent(float(share)))


def _unbroken(text: str) -> str:
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _bare(share: float) -> str:
    return style.percent(share).removesuffix(" %")
