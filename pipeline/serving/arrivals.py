"""Files with new records, as they lie where they came in: which there are, what they hold, who still writes them."""

import fcntl
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pipeline.artifacts import paths
from pipeline.artifacts.files import sha256_of
from pipeline.base.errors import ArtifactError, RejectedError, SchemaError, SourceError, near_miss
from pipeline.base.escaping import printable
from pipeline.datasets.packets.rules import LABELS
from pipeline.datasets.suffixes import INCOMING, NAMED

QUIET: Final = 60.0  # seconds without a change after which a file is whole, where nothing tells who has it open
LONGEST: Final = 80  # characters of a file's name in a key


@dataclass(frozen=True)
class Incoming:
    """A file with new records.

    Attributes:
        path: where it lies.
        name: below the folder that was named, else the name of the file, as ``errors.printable`` shows it.
        sha256: of its bytes.
    """

    path: Path
    name: str
    sha256: str

    def key(self, version: int) -> str:
        """What its judged records are called."""
        return key_of(self.name, self.sha256, version)


def key_of(name: str, sha256: str, version: int) -> str:
    """What the judged records of a file are called."""
    return f"{re.sub(r'[^A-Za-z0-9.+_]+', '-', name)[-LONGEST:]}-{sha256}-v{version}"


def listed(path: Path) -> list[Path]:
    """The tables under ``path``, one or a folder of them, in the order of their names; none where a folder holds none.

    What this project writes is passed over, and so are labels beside captures and what is hidden: others write under
    such names. A pipe, a socket or a device is no table, whatever its name: who opens a pipe waits until somebody
    writes into it.

    Raises:
        SourceError: it is absent, or a file of another kind.
    """
    if not path.exists():
        siblings = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise SourceError(f"{path}: no such file or folder{near_miss(path.name, siblings)}")
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    if not path.is_dir() and not path.is_file():
        raise SourceError(f"{path}: is no file of records, but a pipe, a socket or a device")
    suffixes = INCOMING if path.is_dir() else (*INCOMING, *NAMED)
    found = [file for file in files if file.name.lower().endswith(suffixes) and not _is_passed_over(file, path)]
    if not found and path.is_file():
        raise SourceError(f"{path}: is no table of records; read are {', '.join(INCOMING)} files")
    return found


def find(path: Path) -> list[Incoming]:
    """The files with new records under ``path``, one or a folder of them, in the order of their names.

    Raises:
        SourceError: it is absent, holds no such file, or one of them cannot be read.
    """
    found = [identify(file, path) for file in listed(path)]
    if not found:
        raise SourceError(f"{path}: holds no table of records; read are {', '.join(INCOMING)} files")
    return found


def identify(file: Path, root: Path) -> Incoming:
    """A file that was found under ``root``, and its content.

    Raises:
        SourceError: it cannot be read.
    """
    return Incoming(file, _name(file, root), content_hash(file))


def content_hash(file: Path) -> str:
    """sha256 of the bytes of a file, in hexadecimal digits.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        return sha256_of(file)
    except ArtifactError as error:
        raise SourceError(f"{file}: cannot be read ({error}); check its rights or fetch it again") from error


def is_growing(file: Path) -> bool:
    """Whether a process of this machine has the file open to write, or, where that cannot be known, changed it lately.

    It asks for a read lease, which the kernel refuses while a writer has the file open; see fcntl(2). That needs a file
    of this user in a file system that has leases.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY)
    except OSError:
        return False  # the reader says what is wrong
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)  # what a writer that comes now sends; it does no harm
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return 0 <= time.time() - os.fstat(descriptor).st_mtime < QUIET
    finally:
        os.close(descriptor)
    return False


def has_changed(file: Incoming) -> bool:
    """Whether a file is gone, still growing, or no longer what it was when it was found."""
    try:
        return is_growing(file.path) or content_hash(file.path) != file.sha256
    except SourceError:
        return not file.path.exists()


def blames_file(error: Exception) -> bool:
    """Whether an error of ``score`` is the fault of the file: not of the disk, of its rights, or of this program."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno is not None:
            return False
        cause = cause.__cause__
    return isinstance(error, SourceError | SchemaError | RejectedError)


def _is_passed_over(file: Path, root: Path) -> bool:
    own = (paths.SCORED.resolve(), paths.QUARANTINE.resolve(), paths.WATCH.resolve())
    hidden = any(part.startswith(".") for part in _name(file, root).split("/"))
    labels = file.name.lower().endswith(LABELS)
    return hidden or labels or any(file.resolve().is_relative_to(folder) for folder in own)


def _name(file: Path, root: Path) -> str:
    return printable(file.name if file == root else file.relative_to(root).as_posix())
