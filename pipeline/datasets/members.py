"""What an archive holds beside the records that are read: each such member is named, and none is passed over silently.

Where records are scored, a member that may hold records and is not read makes the whole file refused. Where they are
ingested, the user has chosen the archive: what is not read is listed among the rejected rows.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import pyarrow as pa

from pipeline.base.errors import SourceError
from pipeline.base.escaping import printable
from pipeline.datasets import archives
from pipeline.datasets.base import PASSED_OVER, REJECTED_SCHEMA, Chunk, Dataset, Part, given, record_schema
from pipeline.datasets.suffixes import ARCHIVE, INCOMING, PACKINGS

DOCUMENTS: Final = (".md", ".pdf", ".html", ".htm", ".jpg", ".png", ".svg", ".md5", ".sha1", ".sha256", ".arff")
METADATA: Final = {b"\x00\x05\x16\x07": "a description by macOS", b"\x00\x00\x00\x01Bud1": "a description by macOS"}
NESTED: Final = (ARCHIVE, *PACKINGS, ".tar", ".tgz", ".7z", ".rar")
MOST_NAMED: Final = 5
MOST_LISTED: Final = 20


def accounted(dataset: Dataset, to_score: bool) -> Iterator[Chunk]:
    """All chunks of a data set, and one more that lists the members of its archives that are not read.

    Args:
        dataset: what reads.
        to_score: whether a member that may hold records makes the archive refused.

    Raises:
        SourceError: such a member is there, or what the data set raises.
    """
    unread = _listed(dataset, to_score)
    yield from dataset.read()
    yield from unread


def partitions(dataset: Dataset, to_score: bool) -> Iterator[Part]:
    """What reads each of the chunks of ``accounted``; raises what that does."""
    unread = _listed(dataset, to_score)
    yield from dataset.partitions()
    yield from (partial(given, chunk) for chunk in unread)


def _listed(dataset: Dataset, to_score: bool) -> list[Chunk]:
    """A chunk without records that lists the members that are not read, if there are any."""
    rows = [row for archive, read in _archives(dataset).items() for row in _unread(archive, read, to_score)]
    empty = record_schema(dataset.columns).empty_table() if rows else None
    return [Chunk(empty, pa.Table.from_pylist(rows, REJECTED_SCHEMA))] if empty is not None else []


def _archives(dataset: Dataset) -> Mapping[Path, set[str]]:
    """Each archive -> the members that are read; where they are refused, the refusal names all members."""
    try:
        return dataset.archives()
    except SourceError as error:
        path = getattr(dataset, "path", None)
        if not isinstance(path, Path) or not path.is_file() or not path.name.lower().endswith(ARCHIVE):
            raise
        names = [printable(info.filename) for info in archives.members(path)]
        raise SourceError(f"{error}; the archive holds {', '.join(names[:MOST_LISTED]) or 'nothing'}") from error


def _unread(archive: Path, read: set[str], to_score: bool) -> list[dict[str, str | int]]:
    """Rows that name what is not read, each with the reason.

    Raises:
        SourceError: something of it may hold records, and they are to be scored.
    """
    found = {info.filename: _kind(archive, info.filename, info.file_size) for info in archives.members(archive)}
    unread = {name: kind for name, kind in found.items() if name not in read}
    doubtful = [f"{name!r} ({kind[1]})" for name, kind in unread.items() if kind[0]]
    if to_score and doubtful:
        more = f" and {len(doubtful) - MOST_NAMED:,} more" if len(doubtful) > MOST_NAMED else ""
        told = (
            f"{len(doubtful):,} of {len(found):,} members would not be read: {', '.join(doubtful[:MOST_NAMED])}{more}"
        )
        raise SourceError(f"{archive}: {told}; unpack it, and hand in each file by itself")
    rows = [_row(f"{archive.name}/{printable(name)}", kind[1]) for name, kind in unread.items()]
    comment = archives.comment(archive)
    return [*rows, *([_row(archive.name, f"a comment of {len(comment):,} bytes")] if comment else [])]


def _row(where: str, kind: str) -> dict[str, str | int]:
    return {"source_file": where, "row": 0, "column": "", "reason": f"{PASSED_OVER}{kind}", "text": ""}


def _kind(archive: Path, member: str, size: int) -> tuple[bool, str]:
    """Whether a member may hold records, and what it is."""
    low = member.lower()
    if not size:
        return False, "an empty file"
    with archives.open_member(archive, member)[0] as stream:
        begin = stream.read(8)
    for mark, told in METADATA.items():
        if begin.startswith(mark):
            return False, told
    if low.endswith(NESTED) and not low.endswith(INCOMING[:-1]):
        return True, "an archive within the archive"
    if low.endswith(DOCUMENTS):
        return False, "no table of records"
    if any(part.startswith(".") or part == "__macosx" for part in archives.plain(low).split("/")):
        return True, "a hidden file"
    return True, "no file of the kind that is read here"
