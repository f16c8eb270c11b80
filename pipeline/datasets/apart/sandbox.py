"""What a process that reads files of others gives up: the network, other programs, writing, more memory than is needed.

- A network namespace without a network, where the kernel gives one to this user; see unshare(2).
- A filter of system calls, where the kernel and the processor have it: no socket, no other program, no look into other
  processes; see seccomp(2). It holds for libraries in C, too.
- A hook of Python, in any case: it refuses sockets, other programs, and files opened to be written.

Files that this user may read can be read: the process needs them.
"""

import ctypes
import os
import platform
import resource
import sys
from typing import Any, Final

_NEW_USER, _NEW_NET = 0x10000000, 0x40000000
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
# Processor -> its number for the filter, and the system calls: socket, socketpair, connect, accept, accept4, bind,
# execve, execveat, ptrace, process_vm_readv, process_vm_writev.
_CALLS: Final[dict[str, tuple[int, tuple[int, ...]]]] = {
    "x86_64": (0xC000003E, (41, 53, 42, 43, 288, 49, 59, 322, 101, 310, 311)),
    "aarch64": (0xC00000B7, (198, 199, 203, 202, 242, 200, 221, 281, 117, 270, 271)),
}
_X32: Final = 0x40000000  # numbers from here on are those of another interface of x86_64
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050001  # the latter with EPERM
_EVENTS: Final = ("socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.system", "os.spawn", "pty.")
_WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES: Final = frozenset(
    f"os.{name}" for name in ("remove", "rename", "rmdir", "mkdir", "link", "symlink", "truncate")
)


class _Step(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.POINTER(_Step)))


def without_network() -> bool:
    """Leave the network, in a process with one thread; returns whether that could be done."""
    libc = ctypes.CDLL(None, use_errno=True)
    return any(libc.unshare(kind) == 0 for kind in (_NEW_NET, _NEW_USER | _NEW_NET))


def filtered() -> bool:
    """Let the kernel refuse system calls that reading needs not; returns whether it does."""
    known = _CALLS.get(platform.machine())
    if known is None or sys.platform != "linux":
        return False
    processor, calls = known
    steps = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 0, len(calls) + 2, processor),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, len(calls) + 1, 0, _X32),
    ]
    steps += [(_EQUAL, len(calls) - place, 0, call) for place, call in enumerate(calls)]
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    program = _Program(len(steps), (_Step * len(steps))(*(_Step(*step) for step in steps)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return False
    return int(libc.prctl(_SECCOMP, _FILTER, ctypes.byref(program), 0, 0)) == 0


def hooked() -> None:
    """Let Python refuse sockets, other programs, and writing."""
    sys.addaudithook(_refuse)


def _refuse(event: str, given: tuple[Any, ...]) -> None:
    writes = event == "open" and isinstance(given[2], int) and given[2] & _WRITES
    if event.startswith(_EVENTS) or event in _CHANGES or writes:
        raise PermissionError(f"{event}: a reader of files may not do that")


def bounded(memory: int) -> None:
    """Allow no more address space, and no memory image when it crashes."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (memory if hard == resource.RLIM_INFINITY else min(memory, hard), hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def within(seconds: int) -> None:
    """Allow so many more seconds of processor time."""
    used = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    most = int(used) + 1 + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
