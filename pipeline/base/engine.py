"""Where partitions are worked on: in this process, or by the workers of a Dask cluster, to the same bytes.

A stage cuts its work into partitions and asks ``mapped`` for the results in their order. Each partition can be worked
on alone. Whoever starts a program says with ``using`` which engine that means; without it, it means this process.
Workers compute, and this process alone writes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from pipeline.base.parallel import in_order

LOCAL: Final = "local"
DASK: Final = "dask"


@dataclass(frozen=True)
class Work:
    """What is done to a partition.

    Attributes:
        first: partition -> what it holds. In this process, threads run it ahead of whoever takes the results.
        then: that -> the result; None: what ``first`` gives is the result. In this process, it runs in the thread of
            whoever takes the results, one partition after the other.
        shared: further arguments of the last of the two; a worker gets them once.
    """

    first: Callable[..., Any]
    then: Callable[..., Any] | None = None
    shared: Sequence[Any] = ()

    def done(self, part: Any, *shared: Any) -> Any:
        """The result of a partition."""
        return self.first(part, *shared) if self.then is None else self.then(self.first(part), *shared)


class Engine(Protocol):
    """Works on partitions."""

    def mapped(self, work: Work, parts: Iterable[Any]) -> Iterator[Any]:
        """The result of each partition, in their order; few partitions and results are in memory at a time."""
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class Local:
    """Works in this process."""

    def mapped(self, work: Work, parts: Iterable[Any]) -> Iterator[Any]:
        """The result of each partition, in their order."""
        if work.then is None:
            return in_order(lambda part: work.done(part, *work.shared), parts)
        return (work.then(each, *work.shared) for each in in_order(work.first, parts))

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class _InUse:
    """The engine of this process."""

    engine: Engine = field(default_factory=Local)


_IN_USE: Final = _InUse()


def mapped(
    first: Callable[..., Any], parts: Iterable[Any], then: Callable[..., Any] | None = None, shared: Sequence[Any] = ()
) -> Iterator[Any]:
    """The result of each partition, in their order, by the engine that is in use.

    Args:
        first: partition -> what it holds; called where the partition is worked on.
        parts: are drawn in the thread of the caller, a few of them ahead of the results.
        then: what is done to it there; see ``Work``.
        shared: further arguments of the last of the two.

    Raises:
        EngineError: the cluster does not answer, or is not like this process.
    """
    return _IN_USE.engine.mapped(Work(first, then, shared), parts)


def here(
    first: Callable[..., Any], parts: Iterable[Any], then: Callable[..., Any] | None = None, shared: Sequence[Any] = ()
) -> Iterator[Any]:
    """As ``mapped``, but in this process, whatever engine is in use."""
    return Local().mapped(Work(first, then, shared), parts)


@contextmanager
def using(
    use: str = LOCAL, address: str = "", workers: int | str = "auto", tls: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Work with an engine inside. A cluster is asked for when the first partition comes, and let go at the end.

    Args:
        use: ``local`` or ``dask``.
        address: of a Dask scheduler; "": workers on this machine.
        workers: how many of these; ``auto``: one for each core.
        tls: the files ``ca``, ``certificate`` and ``key``; none: what Dask's own configuration says.
    """
    engine = _of(use, address, workers, tls or {})
    try:
        with at_work(engine):
            yield
    finally:
        engine.close()


@contextmanager
def at_work(engine: Engine) -> Iterator[None]:
    """Work with an engine inside that stays open after it."""
    before, _IN_USE.engine = _IN_USE.engine, engine
    try:
        yield
    finally:
        _IN_USE.engine = before


def _of(use: str, address: str, workers: int | str, tls: Mapping[str, str]) -> Engine:
    if use == LOCAL:
        return Local()
    from pipeline.base.dask_engine import Dask

    return Dask(address, None if workers == "auto" else int(workers), tls)
