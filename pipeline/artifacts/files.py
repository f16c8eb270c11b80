"""Small files: bytes, JSON, logs of JSON lines and CSV."""

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.base import durable
from pipeline.base.csv_cells import from_cell, in_cell
from pipeline.base.errors import ArtifactError

atomic = durable.atomic
whole_folder = durable.whole_folder


def write_bytes(path: Path, content: bytes) -> None:
    """Write a small file."""
    with atomic(path) as temporary, temporary.open("wb") as stream:
        stream.write(content)


def write_json(path: Path, value: Any) -> None:
    """Write JSON that people read too; NaN and Infinity are refused."""
    write_bytes(path, encode_json(value))


def encode_json(value: Any) -> bytes:
    """JSON as the content of a file."""
    return (json.dumps(value, indent=2, allow_nan=False) + "\n").encode()


def read_bytes(path: Path) -> bytes:
    """Read a small file.

    Raises:
        ArtifactError: the file is absent.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error


def sha256_of(path: Path) -> str:
    """Of the bytes of a file, in hexadecimal digits.

    Raises:
        ArtifactError: the file is absent.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        ArtifactError: the file is absent or no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:  # the last one of thousands of brackets
        raise unreadable(path, error) from error


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Append one line of JSON to a log that only grows, whole or not at all, whoever else appends to it.

    Raises:
        ArtifactError: the file cannot be written.
    """
    with durable.refusals(path):
        durable.append(path, value)


def append_lines(path: Path, values: Iterable[Mapping[str, Any]]) -> None:
    """Append some lines of JSON to a log; all are on the disk when this returns, and none where it fails.

    Raises:
        ArtifactError: the file cannot be written.
    """
    with durable.refusals(path):
        durable.append_all(path, values)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a log that ``append_line`` wrote, oldest first; none where it is absent. A torn line is left out."""
    return durable.lines(path)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows that have the same keys, for people: no text is a formula, see ``base.escaping``."""
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        names = list(rows[0]) if rows else []
        writer = csv.writer(stream)
        writer.writerow(map(in_cell, names))
        writer.writerows([in_cell(row[name]) for name in names] for row in rows)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV that people or ``write_csv`` have written, as texts.

    Raises:
        ArtifactError: the file is absent or no CSV.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            names = [from_cell(name) for name in next(csv.reader(stream), [])]
            rows = csv.DictReader(stream, names, restval="")
            return [{name: from_cell(row[name]) for name in names} for row in rows]
    except (OSError, ValueError, csv.Error) as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> ArtifactError:
    """The error of a file that is absent or damaged, with its remedy."""
    told = " ".join(str(error).split())  # a library may take several lines
    state = "is absent" if not path.exists() else f"cannot be read ({told})"
    return ArtifactError(f"{path}: {state}; run `dvc repro` to make it again")
