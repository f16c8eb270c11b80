"""Work on several parts at once, in order and in bounded memory, on the cores that this process has."""

import math
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

A = TypeVar("A")
B = TypeVar("B")

WORKERS = 2
THREADS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # by which a user sets the number
QUOTA: Final = Path(
    "/sys/fs/cgroup/cpu.max"
)  # of a container: microseconds of processor time, in so many of clock time


def cores(quota: Path = QUOTA) -> int:
    """How many cores this process may use: those that it may run on, and no more than its container's share."""
    able = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        spent, period = quota.read_text().split()
    except (OSError, ValueError):
        return able
    return able if spent == "max" else max(1, min(able, math.ceil(int(spent) / int(period))))


@contextmanager
def one_thread() -> Iterator[None]:
    """Give the libraries that are loaded one thread each inside, where the user has not said how many.

    What scores records computes on a few of them at a time. Threads that share so little wait for each other, and on a
    busy machine OpenMP's wait takes many times the processor time of the work.
    """
    if any(os.environ.get(name) for name in THREADS):
        yield
        return
    before = _threads()
    limit_threads(1)
    try:
        yield
    finally:
        for give, number in before:
            give(number)


def limit_threads(most: int | None = None) -> None:
    """Give no library that is loaded more threads than this process has cores.

    BLAS, OpenMP, PyTorch and Arrow count the cores of the machine, not the share of a container. A smaller number that
    is set already stays.

    Args:
        most: threads of each; by default as many as ``cores``.
    """
    most = cores() if most is None else most
    for give, number in _threads():
        if number > most:
            give(most)


def _threads() -> list[tuple[Callable[[int], object], int]]:
    """What sets the threads of each library that is loaded, and how many it has."""
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    found = [(each.set_num_threads, each.num_threads) for each in ThreadpoolController().lib_controllers]
    if torch := sys.modules.get("torch"):  # importing it, or Arrow, takes time
        found.append((torch.set_num_threads, torch.get_num_threads()))
    if arrow := sys.modules.get("pyarrow"):
        found.append((arrow.set_cpu_count, arrow.cpu_count()))
    return found


def in_order(function: Callable[[A], B], parts: Iterable[A], workers: int = WORKERS) -> Iterator[B]:
    """``map(function, parts)``, with ``workers`` threads ahead of whoever takes the results.

    At most ``workers`` + 1 results and parts are in memory. An error in a thread is raised where its result is due.

    Args:
        function: spends its time outside the interpreter lock, as numpy and pyarrow do.
        parts: are drawn in the thread of the caller.
        workers: how many threads.
    """
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[B]] = deque()
        for part in parts:
            waiting.append(pool.submit(function, part))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
