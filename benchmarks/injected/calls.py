"""The system calls that write within a folder, as a log of strace shows them."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

WRITING: Final = (
    *("open", "openat", "creat", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat", "link", "linkat", "symlink"),
    *(
        "symlinkat",
        "rename",
        "renameat",
        "renameat2",
        "write",
        "writev",
        "pwrite64",
        "pwritev",
        "pwritev2",
        "ftruncate",
    ),
    *("truncate", "fallocate", "copy_file_range", "sendfile", "fsync", "fdatasync", "sync_file_range", "msync"),
    *("chmod", "fchmod", "fchmodat", "utimensat", "close"),
)
OPENING: Final = ("open", "openat", "creat")
_LINE: Final = re.compile(r"^(?:(?P<pid>\d+) +)?(?P<call>\w+)\((?P<given>.*)$")
_PATH: Final = re.compile(r'(?<=[(, ])"(?P<text>(?:[^"\\]|\\.)*)"')
_FILE: Final = re.compile(r"(?:^|, )(?:AT_FDCWD|\d+)<(?P<path>(?:[^>\\]|\\.)*)>")
_OPENED: Final = re.compile(r"= (\d+)<")
_MADE: Final = re.compile(r"O_(?:WR|RDWR|CREAT|TRUNC|APPEND)")


@dataclass(frozen=True)
class Call:
    """A call that writes.

    Attributes:
        name: of the system call.
        number: how often its thread had made it by then, this one included; this is what strace counts.
        path: that it is about, below the folder.
        is_first: whether the first thread made it.
    """

    name: str
    number: int
    path: str
    is_first: bool = True


def within(log: str, folder: Path, first: int) -> Iterator[Call]:
    """The calls of a log that write in a folder, in their order.

    Args:
        log: what ``strace -y`` wrote.
        folder: in which the process worked.
        first: id of its first thread.
    """
    counts: Counter[tuple[int, str]] = Counter()
    written: set[tuple[str, str]] = set()  # descriptors that are open for writing, with their paths
    for line in log.splitlines():
        found = _LINE.match(line)
        if not found:
            continue
        thread, name, given = int(found["pid"] or first), found["call"], found["given"]
        counts[thread, name] += 1
        path = _path(name, given, folder)
        if path is None:
            continue
        if name in OPENING:
            descriptor = (_OPENED.search(given) or [None, ""])[1]
            written.discard((descriptor, path))
            if not _MADE.search(given):
                continue
            written.add((descriptor, path))
        if name == "close" and (given.split("<")[0], path) not in written:
            continue
        yield Call(name, counts[thread, name], path, thread == first)


def hit(log: str, folder: Path) -> str | None:
    """The path below the folder that the injected fault hit; None where it hit nothing there."""
    lines = [line for line in log.splitlines() if _LINE.match(line)]
    struck = [line for line in lines if "(INJECTED)" in line] or ("+++ killed" in log and lines[-1:]) or []
    for line in struck:
        found = _LINE.match(line)
        assert found is not None
        return _path(found["call"], found["given"], folder)
    return None


def _path(name: str, given: str, folder: Path) -> str | None:
    """The path below the folder that a call is about; None where it is about something else."""
    texts, files = _PATH.findall(f"({given}"), _FILE.findall(given)
    is_of_names = name not in ("write", "writev", "pwrite64", "pwritev", "pwritev2")
    named = texts[-1] if texts and is_of_names else ""
    base = files[0] if files else str(folder)
    path = os.path.normpath(os.path.join(base, named))  # noqa: PTH118 (names of strace)
    inside = f"{folder}{os.sep}"
    return path[len(inside) :].removesuffix(" (deleted)") if path.startswith(inside) else None
