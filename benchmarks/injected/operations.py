"""What faults are injected into: an operation acts through the door that its command uses, and can be looked at."""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline.base.errors import FlowsculptError

REFUSED: Final = "refused: "
_ID: Final = re.compile(r"\b[0-9a-f]{32}\b|\bm-[0-9a-f]{32}\b|\d{4}-\d\d-\d\dT\d{6}\+\d{4}")


@dataclass(frozen=True)
class Operation:
    """Something that writes.

    Attributes:
        name: in the table.
        world: makes the project that it works on, in the working folder.
        act: what a user would call.
        look: unit -> what the project's own readers say of it: a digest, a word, or ``refused:`` and the message.
        again: what a user calls behind a fault; None: the same.
        may_be_refused: units of several files, which may be neither old nor new behind a fault if readers refuse them.
        promised: units that are as they should be when the operation says that it is done; None: all.
        outside: beginnings of paths that stand for another machine, such as a server: no fault is injected there.
        meanwhile: what another process does at the same time.
        database: what several processes write to at once, where it is about that.
    """

    name: str
    world: Callable[[], None]
    act: Callable[[], Any]
    look: Callable[[], dict[str, str]]
    again: Callable[[], Any] | None = None
    may_be_refused: frozenset[str] = frozenset()
    promised: frozenset[str] | None = None
    outside: tuple[str, ...] = ()
    meanwhile: Callable[[], Any] | None = None
    database: str = ""


def files_below(folder: Path) -> dict[str, bytes]:
    """Name -> content of each file."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def digest(content: Any) -> str:
    """A short name of what something holds."""
    return hashlib.sha256(repr(content).encode()).hexdigest()[:16]


def of_path(path: Path) -> str:
    """A file, or a folder with all that is in it."""
    if path.is_dir():
        return digest(files_below(path))
    return digest(path.read_bytes()) if path.exists() else "absent"


def read(reader: Callable[[], Any]) -> str:
    """What a reader of the project says."""
    try:
        return digest(reader())
    except FlowsculptError as error:
        return f"{REFUSED}{error}"


def named(path: Path) -> str:
    """A path below a project, with ids and times of its name made alike."""
    return _ID.sub("*", path.as_posix())
