"""What retention would remove: one item for each thing that goes as a whole, with its size and how to remove it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DAY: Final = 86_400.0  # seconds


@dataclass(frozen=True)
class Removal:
    """Something that is older, or more, than the settings say.

    Attributes:
        what: the kind of it, in plural; one of the rules of retention.
        name: of this one.
        size: in bytes.
        remove: removes it; returns whether it did, which it does not where another process uses it.
        count: how many files it is, for what goes by the thousand.
    """

    what: str
    name: str
    size: int
    remove: Callable[[], bool]
    count: int = 1


def size_of(paths: Iterable[Path]) -> int:
    """Bytes of files, and of all files in folders; what is absent has none."""
    found = (file for path in paths for file in (path.rglob("*") if path.is_dir() else [path]))
    return sum(file.lstat().st_size for file in found if file.is_file() or file.is_symlink())


def before(days: int, now: float) -> float | None:
    """The moment, in seconds since 1970, that is this many days ago; None for 0 days, which keep everything."""
    return now - days * DAY if days else None
