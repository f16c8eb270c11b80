"""Few file descriptors, little memory, and clocks that jump."""

import datetime as dates
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.injected import children
from benchmarks.injected.bench import Bench, Trial
from benchmarks.injected.children import KILLED, Ended

DESCRIPTORS: Final = 12
ABORTED: Final = "ended by SIGABRT"
MEGABYTES: Final = (256, 128, 64, 32, 16)
MINUTE, YEAR = 60.0, 365.25 * 86_400
JUMPS: Final = {"a minute": MINUTE, "ten minutes": 10 * MINUTE, "a year": YEAR, "ten years": 10 * YEAR}
LATE: Final = 3  # looks at the clock before it jumps, where it jumps meanwhile


def descriptors(bench: Bench, most: int, seed: int) -> Iterator[Trial]:
    """At most so many files can be open beside those that are open at the start: 12, then 11, and so on to none."""
    for spare in range(DESCRIPTORS, -1, -1):
        yield _tried(bench, "file descriptors", f"{spare} file descriptors", lambda spare=spare: _few(spare))


def _few(spare: int) -> None:
    look = os.open("/proc/self/fd", os.O_RDONLY)
    used = {int(name) for name in os.listdir(look)} - {look}  # noqa: PTH208 (a path cannot be read by its descriptor)
    os.close(look)
    free = [number for number in range(max(used) + spare + 2) if number not in used]
    resource.setrlimit(resource.RLIMIT_NOFILE, (free[spare], resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def memory(bench: Bench, most: int, seed: int) -> Iterator[Trial]:
    """So many megabytes of address space beyond what the programs and libraries take up.

    Where a C++ library gets no memory, it ends the process, which counts as a kill.
    """
    for size in MEGABYTES:
        yield _tried(bench, "address space", f"{size} MB of address space", lambda size=size: _little(size))


def _little(megabytes: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + (megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))


def clocks(bench: Bench, most: int, seed: int) -> Iterator[Trial]:
    """The clock of the process is wrong from the start, or jumps meanwhile; the next run has the right one."""
    for name, seconds in JUMPS.items():
        for sign, way in ((1, "forward"), (-1, "back")):
            for looks, when in ((0, "before"), (LATE, "meanwhile")):
                jump = (sign * seconds, looks)
                yield _tried(bench, "clock", f"{name} {way}, {when}", lambda jump=jump: shift(*jump))


def shift(seconds: float, looks: int) -> None:
    """Let every clock of this process that says what time it is jump, once it was looked at so often."""
    seen = iter(range(looks))
    real, moved = time.time, lambda: 0.0 if next(seen, None) is not None else seconds

    class Shifted(dates.datetime):
        @classmethod
        def now(cls, tz: dates.tzinfo | None = None) -> "Shifted":
            return cls.fromtimestamp(real() + moved(), tz)

        @classmethod
        def utcnow(cls) -> "Shifted":
            return cls.now(dates.UTC).replace(tzinfo=None)

    original = dates.datetime
    for module in [*sys.modules.values()]:
        known = vars(module) if module is not None and hasattr(module, "__dict__") else {}
        for name, value in [*known.items()]:
            if value is original and module.__name__.split(".")[0] in ("pipeline", "flows", "mlflow"):
                setattr(module, name, Shifted)
    time.time = lambda: real() + moved()
    time.time_ns = lambda: int(time.time() * 1e9)


def _tried(bench: Bench, kind: str, fault: str, before: Callable[[], None]) -> Trial:
    """The operation in a child that is limited first."""

    def act() -> Any:
        before()
        return bench.operation.act()

    bench.fresh()
    ended = children.run(act, bench.work)
    return Trial(kind, fault, bench.judged(Ended(KILLED, ended.said) if ended.said == ABORTED else ended))
