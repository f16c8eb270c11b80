"""What the machine refuses, said for people: a full or broken disk, a folder that is gone, too few files or memory.

It also refuses what takes a library that is not installed.

Whoever writes through ``durable`` gets an error that names the file and the remedy. Much else can fail: a lock, a file
that is read, a database. A program wraps all that it does in ``refusals``. So none of this ends in a traceback, as if
the program were wrong.
"""

import errno
import getpass
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pipeline.base import extras
from pipeline.base.errors import FlowsculptError, MachineError
from pipeline.base.escaping import printable
from pipeline.base.temporary import TEMPORARY

REMEDIES: Final = {
    "free some space": (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    "look at the disk and at the system's log": (errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE, errno.ENOLCK),
    "check the rights of the folder, and whether it can be written": (errno.EROFS, errno.EACCES, errno.EPERM),
    "check whether its folder is there": (errno.ENOENT, errno.ENOTDIR),
    "allow more open files (`ulimit -n`)": (errno.EMFILE, errno.ENFILE),
    "give it more memory": (errno.ENOMEM,),
}
NO_THREAD: Final = "can't start new thread"  # as Python says it
_BY_NUMBER: Final = {number: remedy for remedy, numbers in REMEDIES.items() for number in numbers}


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what the machine refuses into an error for people; any other error stays as it is.

    Raises:
        MachineError: says what was refused, and what to do.
    """
    try:
        yield
    except (FlowsculptError, ConnectionError, TimeoutError):
        raise
    except Exception as error:
        if (said := reason(error)) is None:
            raise
        raise MachineError(said) from error


def reason(error: BaseException | None) -> str | None:
    """What the machine refused, by an error or one of those that led to it; None where it refused nothing."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, MemoryError):
            return f"memory is short ({printable(str(error)) or 'no more is given'}); give it more memory"
        if isinstance(error, RuntimeError) and str(error) == NO_THREAD:
            return f"{error}; give it more memory, or allow more threads, and run again"
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.ProgrammingError):
            return f"an SQLite database cannot be used ({error}); free some space, check its rights, and run again"
        if isinstance(error, ModuleNotFoundError) and (said := extras.lacking(error)):
            return said
        if isinstance(error, OSError) and error.errno in _BY_NUMBER:
            return f"{_named(error)}{os.strerror(error.errno)}; {_BY_NUMBER[error.errno]}, and run again"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def user() -> str:
    """The name of who runs this process; its number where it has none, as in a container."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.geteuid())


def _named(error: OSError) -> str:
    """The file that an error is about, as it is called when it is whole."""
    if not isinstance(error.filename, str | bytes | os.PathLike):
        return ""
    meant = Path(*(TEMPORARY.sub(r"\g<target>", part) for part in Path(os.fsdecode(error.filename)).parts))
    return f"{printable(str(meant))}: "
