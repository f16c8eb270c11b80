"""A JSON document whose figures are shown with the place that each was read from."""

from collections.abc import Callable
from typing import Any

from pipeline.reporting.figures import style
from pipeline.reporting.html import Markup

NONE = Markup('<span class="none">–</span>')


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
        """The value at ``path``; None where there is no such place."""
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

    def share(self, *path: str) -> Markup:
        """A share in percent."""
        return self._shown(path, style.percent)

    def count(self, *path: str) -> Markup:
        """A number of records, rounded to whole ones."""
        return self._shown(path, lambda value: f"{value:,.0f}")

    def decimal(self, *path: str) -> Markup:
        """A number with one digit behind the point."""
        return self._shown(path, lambda value: f"{value:,.1f}")

    def area(self, *path: str) -> Markup:
        """An area under a curve or an F1 in four digits, never rounded up to 1."""
        return self._shown(path, lambda value: f"{min(value, 0.9999) if value < 1 else value:.4f}")

    def interval(self, low: str = "low", high: str = "high") -> Markup:
        """From one share to another."""
        return (
            Markup("{} to {}").format(self._shown((low,), _bare), self.share(high)) if self(low) is not None else NONE
        )

    def share_within(self, key: str, low: str = "low", high: str = "high") -> Markup:
        """A share above its interval."""
        return Markup("{}<small>{}</small>").format(self.share(key), self.interval(low, high))

    def area_within(self, key: str) -> Markup:
        """An area above its interval, whose keys end with ``_low`` and ``_high``."""
        bounds = self.area(f"{key}_low"), self.area(f"{key}_high")
        return Markup("{}<small>{} to {}</small>").format(self.area(key), *bounds)

    def _shown(self, path: tuple[str, ...], text: Callable[[Any], str]) -> Markup:
        value = self(*path)
        if value is None:
            return NONE
        pointer = "".join(f"/{key.replace('~', '~0').replace('/', '~1')}" for key in (*self.base, *path))
        shown = Markup('<data value="{!r}" title="{}#{}">{}</data>')
        return shown.format(value, self.name, pointer, _unbroken(text(value)))


def percent(share: str) -> str:
    """A share that is a key, in percent."""
    return _unbroken(style.percent(float(share)))


def _unbroken(text: str) -> str:
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _bare(share: float) -> str:
    return style.percent(share).removesuffix(" %")
