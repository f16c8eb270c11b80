"""Where the records of a project lie: a file, a folder or a zip, or a list of them.

A list takes in what arrives over time, say one folder for each day. Its files are read as those of one folder are: one
path after the other, with the same columns.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from pipeline.base.errors import SourceError
from pipeline.datasets.sources import Source
from pipeline.datasets.suffixes import ARCHIVE

Where: TypeAlias = Path | tuple[Path, ...]


def where_of(given: str | Path | Sequence[str | Path]) -> Where:
    """Paths from texts; a list of one is that path."""
    if isinstance(given, str | Path):
        return Path(given)
    found = tuple(map(Path, given))
    return found[0] if len(found) == 1 else found


def shown(where: Where | str | Sequence[str]) -> str:
    """One path or several, or addresses, for messages."""
    return str(where) if isinstance(where, Path | str) else ", ".join(map(str, where))


def title(where: Where) -> str:
    """The name of the file or folder without its suffixes; of several, that of the first."""
    first = where if isinstance(where, Path) else where[0]
    return first.name.partition(".")[0]


def is_one_file(path: Path) -> bool:
    """Whether a path names one file of records, which may be called anything."""
    return path.is_file() and not path.name.lower().endswith(ARCHIVE)


def sources_under(where: Where, find: Callable[[Path], list[Source]]) -> list[Source]:
    """The sources of each path, in the order of the list.

    A file that has the name of an earlier one gets its folder in front of its name, or the archive that holds it. Then
    the records of the two stay apart, and those of the earlier file keep their ids.

    Args:
        where: one path or several.
        find: gives the sources under one path.

    Raises:
        SourceError: what is wrong with a path, with its place in the list; or two paths hold the same file.
    """
    if isinstance(where, Path):
        return find(where)
    _require_apart(where)
    found: dict[str, Source] = {}
    for number, path in enumerate(where, start=1):
        for source in _numbered(find, path, number, len(where)):
            apart = _within(path, source) if source.name in found else source
            if apart.name in found:
                raise SourceError(f"ingest.path, number {number} of {len(where)}: two files are called {apart.name}")
            found[apart.name] = apart
    return list(found.values())


def _numbered(find: Callable[[Path], list[Source]], path: Path, number: int, of: int) -> list[Source]:
    try:
        return find(path)
    except SourceError as error:
        raise SourceError(f"ingest.path, number {number} of {of}: {error}") from error


def _within(path: Path, source: Source) -> Source:
    folder = path.parent if path.is_file() else path
    holder = source.file if source.file.name.lower().endswith(ARCHIVE) else folder
    return replace(source, name=f"{holder.as_posix()}/{source.name}", place=f"{folder.as_posix()}/{source.place}")


def _require_apart(paths: tuple[Path, ...]) -> None:
    """Refuse a path that is another one or lies in it: its records would be read twice."""
    for number, path in enumerate(paths, start=1):
        for place, other in enumerate(paths, start=1):
            if place != number and path.resolve().is_relative_to(other.resolve()):
                raise SourceError(f"ingest.path: {path} (number {number}) lies in {other} (number {place}); name one")
