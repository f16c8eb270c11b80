"""Who scores a content: one process at a time, whatever version of the model it has.

::

    data/scored/claims/SHA256.lock      held while a file with these bytes is looked up and scored

So of two processes with a promotion between them, the second one finds what the first one has scored. A process that is
killed lets go of its claims.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pipeline.base import durable
from pipeline.serving import own_model

ROOM: Final = "claims"


@contextmanager
def claimed(sha256: str, waits: bool = True) -> Iterator[bool]:
    """Hold the right to score a content; False where another process has it and this one does not wait.

    Args:
        sha256: of the bytes.
        waits: whether to wait until the other process is done.

    Raises:
        ArtifactError: the claim cannot be written.
    """
    path = own_model.scored() / ROOM / f"{sha256}.lock"
    with durable.refusals(path, "free some space or check its rights"):
        durable.make_private(own_model.scored())
        durable.make_folder(path.parent)
        lock = _locked(path, waits)
    if lock is None:
        yield False
        return
    try:
        yield True
    finally:
        with suppress(FileNotFoundError):
            path.unlink()  # whoever waits for it sees that, and makes a new one
        os.close(lock)


def _locked(path: Path, waits: bool) -> int | None:
    """The open lock, None where another process holds it."""
    while True:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if waits else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(lock)
            return None
        except OSError:  # not every file system can lock
            return lock
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(lock).st_ino:
                return lock
        os.close(lock)
