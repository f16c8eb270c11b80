"""Work on several parts at once, in order and in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

WORKERS = 2


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
