"""The one door to Dask: partitions are worked on by the workers of a cluster, by the functions that run here otherwise.

Without an address, the workers are processes of this machine. They listen on 127.0.0.1 alone, and talk by TLS with a
certificate that is made for the one cluster, so that no other user of the machine can send them anything.

A partition stays known to the scheduler until its result was taken, so what a lost worker had is computed again. A
cluster whose software is not that of this process is refused, because its results could differ.
"""

import math
import os
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from pipeline.base.engine import Work
from pipeline.base.errors import ConfigError, EngineError
from pipeline.base.parallel import THREADS, cores
from pipeline.base.versions import PACKAGE, difference, versions

INSTALL: Final = "pip install --editable '.[dask]' --constraint constraints.txt"
AHEAD: Final = 2  # partitions for each thread of the workers, one that is worked on and one that waits
CONNECT: Final = 10.0  # seconds
ALONE: Final = 60.0  # seconds without a worker
LOOK: Final = 5.0  # seconds between two looks whether there are workers
REMEMBERED: Final = 8  # values that were sent to the workers
HERE: Final = "127.0.0.1"
SETTINGS: Final = {
    "distributed.admin.large-graph-warning-threshold": "1GB",  # a partition travels with its task, so it is not lost
    "distributed.comm.retry.count": 0,
    "distributed.comm.timeouts.connect": f"{CONNECT:.0f}s",
    # Dask's own choice gives memory back after each use, and a worker then spends most of its time on getting it anew.
    "distributed.nanny.pre-spawn-environ": {**dict.fromkeys(THREADS, "1"), "MALLOC_ARENA_MAX": "1"},
    "distributed.worker.memory.target": False,  # nothing that is pickled is stored
    "distributed.worker.memory.spill": False,
}


class Dask:
    """Works on a cluster, which is asked for when the first partition comes.

    Args:
        address: of the scheduler; "": processes of this machine.
        workers: how many of these; None: one for each core.
        files: ``ca``, ``certificate`` and ``key`` of TLS, for a scheduler that asks for it.

    Raises:
        ConfigError: Dask is not installed, or some of the files are named and others are not.
    """

    def __init__(self, address: str = "", workers: int | None = None, files: Mapping[str, str] | None = None) -> None:
        try:
            import distributed  # noqa: F401
        except ImportError as error:
            raise ConfigError(f"engine.use is dask, and Dask is not installed: {INSTALL}") from error
        self.address, self.workers = address, workers or cores()
        self.files = {name: path for name, path in (files or {}).items() if path}
        if self.files and len(self.files) < 3:
            raise ConfigError(f"engine.tls needs ca, certificate and key, given {', '.join(sorted(self.files))} alone")
        self._opened = ExitStack()
        self._client: Any = None
        self._looked, self._known = -math.inf, 1
        self._lost = ""  # what happened to a cluster that is gone
        self._shared: dict[int, tuple[Any, Any]] = {}  # of an object: the object, which must live on, and its task

    def mapped(self, work: Work, parts: Iterable[Any]) -> Iterator[Any]:
        """The result of each partition, in their order; ``AHEAD`` partitions are on their way for each thread.

        Raises:
            EngineError: the cluster does not answer, or is not like this process.
        """
        client = self._connected()
        told = versions()
        shared = [self._sent(value) for value in work.shared]
        waiting: deque[Any] = deque()
        try:
            for part in parts:
                waiting.append(client.submit(_done, told, work.first, work.then, part, *shared, pure=False))
                while len(waiting) >= AHEAD * self._threads():
                    yield self._result(waiting.popleft())
            while waiting:
                yield self._result(waiting.popleft())
        finally:
            if self._client is client and not self._lost:
                client.cancel([*waiting])

    def close(self) -> None:
        """Let the cluster go."""
        self._client = None
        self._shared.clear()
        self._opened.close()

    def _connected(self) -> Any:
        if self._lost:
            raise EngineError(self._lost)
        if self._client is None:
            self._client = self._connect()
            _require_same(self._client)
        return self._client

    def _connect(self) -> Any:
        import dask
        from distributed import Client, LocalCluster
        from distributed.versions import VersionMismatchWarning

        self._opened.enter_context(_as_found())
        self._opened.enter_context(dask.config.set(SETTINGS))
        try:
            if self.address:
                at: Any = self.address
                security = _security(self.files, self.address)
            else:
                place = {"host": HERE, "dashboard_address": f"{HERE}:0", "worker_dashboard_address": f"{HERE}:0"}
                size = {"n_workers": self.workers, "threads_per_worker": 1, "processes": True}
                at = self._opened.enter_context(LocalCluster(**place, **size, security=True, silence_logs=50))
                security = at.security
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", VersionMismatchWarning)  # _require_same compares more
                client = Client(at, timeout=CONNECT, security=security, direct_to_workers=True, set_as_default=False)
            self._opened.callback(client.close)
            client.wait_for_workers(1, timeout=ALONE)
        except (OSError, TimeoutError, ValueError) as error:
            raise self._away(f"does not answer ({error})") from error
        return client

    def _sent(self, value: Any) -> Any:
        """A task that gives a value; the same one where the same object was sent lately."""
        _, task = self._shared.pop(id(value), (None, None))
        task = task or self._client.submit(_given, value, pure=False)
        self._shared[id(value)] = value, task
        while len(self._shared) > REMEMBERED:
            del self._shared[next(iter(self._shared))]
        return task

    def _threads(self) -> int:
        """Of all workers, as they were some seconds ago; at least 1: a cluster may be without one for a while."""
        if time.monotonic() - self._looked > LOOK:
            self._looked, self._known = time.monotonic(), max(1, int(sum(self._workers().values())))
        return self._known

    def _workers(self) -> Mapping[str, int]:
        """The address of each worker, and its threads.

        Raises:
            EngineError: the scheduler went away.
        """
        try:
            return self._client.nthreads()  # type: ignore[no-any-return]
        except (OSError, CancelledError, TimeoutError) as error:
            raise self._away("went away") from error

    def _result(self, future: Any) -> Any:
        """The result of a task, as soon as it is there.

        Raises:
            EngineError: the scheduler or all workers went away, or the task has ended several workers.
        """
        from distributed import KilledWorker
        from distributed.comm import CommClosedError

        since = time.monotonic()
        while True:
            try:
                return future.result(timeout=LOOK)
            except KilledWorker as error:
                raise EngineError(
                    f"a partition has ended {error.allowed_failures + 1} workers, one after the other: they have too "
                    "little memory, or the machine ends them; their logs say why"
                ) from error
            except (CommClosedError, CancelledError) as error:
                raise self._away("went away") from error
            except TimeoutError as error:
                if future.status == "error":  # the task itself raised it
                    raise
                since = time.monotonic() if self._workers() else since
                if time.monotonic() - since > ALONE:
                    raise self._away(f"has had no worker for {ALONE:.0f} s") from error

    def _away(self, what: str) -> EngineError:
        """The error of a cluster that is gone; whoever asks again gets it at once."""
        which = f"the Dask scheduler at {self.address}" if self.address else "the Dask cluster on this machine"
        remedy = "start it again" if self.address else "look at the memory of this machine"
        self._lost = f"{which} {what}; nothing was stored: {remedy}, or set engine.use to local, and run this again"
        return EngineError(self._lost)


@contextmanager
def _as_found() -> Iterator[None]:
    """Let new processes import this package, and leave the variables as they were.

    MLflow puts the code of each model that it loads before this package, and Dask sets variables for its processes.
    """
    own, before = str(PACKAGE.parent), dict(os.environ)
    sys.path.insert(0, own)
    try:
        yield
    finally:
        if own in sys.path:  # unless somebody has set the path anew
            sys.path.remove(own)
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def _security(files: Mapping[str, str], address: str) -> Any:
    """What Dask needs for TLS; where no files are named, Dask's own configuration says it.

    Raises:
        ConfigError: a file is absent, or nothing says any.
    """
    from distributed.security import Security

    if not files:
        said = Security()
        if address.startswith(("tls", "wss")) and said.get_connection_args("client").get("ssl_context") is None:
            raise ConfigError(f"engine.address is {address}, which needs the files of engine.tls, and none is named")
        return said
    for name, path in files.items():
        if not Path(path).is_file():
            raise ConfigError(f"engine.tls.{name}: {path} is no file")
    return Security(
        require_encryption=True,
        tls_ca_file=files["ca"],
        tls_client_cert=files["certificate"],
        tls_client_key=files["key"],
    )


# What runs on a worker.


def _given(value: Any) -> Any:
    return value


def _done(
    told: Mapping[str, str], first: Callable[[Any], Any], then: Callable[..., Any] | None, part: Any, *shared: Any
) -> Any:
    """The result of a partition, by a worker that has the versions of whoever asks."""
    if fault := difference(told, versions(), "a worker that came later"):
        raise EngineError(fault)
    return Work(first, then).done(part, *shared)


# Versions.


def _require_same(client: Any) -> None:
    """Refuse a cluster with other versions than this process.

    Raises:
        EngineError: with both versions.
    """
    module, mine = versions.__module__, versions()

    def told() -> Mapping[str, str]:  # is sent as it stands: a worker need not have this module
        import importlib
        from importlib import metadata

        try:
            return importlib.import_module(module).versions()  # type: ignore[no-any-return]
        except ImportError:
            pass
        found = {}
        for name in mine:
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                found[name] = "none"
        return found

    places = {"the scheduler": client.run_on_scheduler(told)}
    places |= {f"the worker {address}": theirs for address, theirs in client.run(told).items()}
    for place, theirs in places.items():
        if fault := difference(mine, theirs, place):
            raise EngineError(fault)
