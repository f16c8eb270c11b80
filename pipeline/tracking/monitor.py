"""System metrics: of the host as MLflow's own monitors see it, of the GPUs of this process, and of its process tree.

::

    system/cpu_utilization_percentage ...      the host
    system/gpu_{i}_utilization_percentage ...  each GPU that CUDA_VISIBLE_DEVICES leaves to this process, {i} from 0
    system/process_cpu_percentage              this process and those that it started; 100 is one core
    system/process_cpu_seconds                 since they started
    system/process_memory_megabytes            resident memory; pages that they share count once for each
    system/process_count                       how many there are

They are sampled in a thread and logged through the one door: MLflow's own loop ends for good when a server does not
answer once. This module imports MLflow, which takes seconds.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import psutil
from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

from pipeline.base import escaping

SECONDS_BETWEEN_SAMPLES = 2.0

_log = escaping.log(__name__)


class Monitor:
    """Processor, memory, disk and network of the host, this process's GPUs and its tree, every few seconds.

    Args:
        log: takes values by name and their step.
        step: of the first sample.
    """

    SIGN = "system/cpu_utilization_percentage"  # every sample has it

    def __init__(self, log: Callable[[Mapping[str, float], int], None], step: int) -> None:
        self._monitors: list[BaseMetricsMonitor] = [
            CPUMonitor(),
            DiskMonitor(),
            NetworkMonitor(),
            ProcessTree(),
            *_gpus(),
        ]
        self._log, self._step = log, step
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample_on, daemon=True, name="system metrics")

    def start(self) -> None:
        """Begin to sample."""
        self._thread.start()

    def finish(self) -> None:
        """Sample for the last time."""
        self._ended.set()
        self._thread.join()
        self._sample()

    def _sample_on(self) -> None:
        while not self._ended.wait(SECONDS_BETWEEN_SAMPLES):
            try:
                self._sample()
            except Exception as error:  # the stage is worth more than its system metrics
                _log.warning("no more system metrics: %s: %s", type(error).__name__, error)
                return

    def _sample(self) -> None:
        for monitor in self._monitors:
            monitor.collect_metrics()
        seen = [monitor.aggregate_metrics() for monitor in self._monitors]
        self._log({f"system/{name}": value for each in seen for name, value in each.items()}, self._step)
        self._step += 1
        for monitor in self._monitors:
            monitor.clear_metrics()


class ProcessTree(BaseMetricsMonitor):  # type: ignore[misc]  # mlflow has no types
    """This process and all that it started and that still run."""

    def __init__(self) -> None:
        super().__init__()
        self._root = psutil.Process()
        self._last = time.monotonic(), self._look()[0]

    def collect_metrics(self) -> None:
        """Take one sample."""
        seconds, memory, count = self._look()
        now, (then, before) = time.monotonic(), self._last
        self._last = now, seconds
        sample = {
            "process_cpu_percentage": 100 * max(seconds - before, 0.0) / max(now - then, 1e-3),
            "process_cpu_seconds": seconds,
            "process_memory_megabytes": memory / 1e6,
            "process_count": float(count),
        }
        for name, value in sample.items():
            self._metrics[name].append(value)

    def aggregate_metrics(self) -> dict[str, float]:
        """The mean of each metric since the last call of ``clear_metrics``."""
        return {name: round(sum(values) / len(values), 2) for name, values in self._metrics.items()}

    def _look(self) -> tuple[float, int, int]:
        """Processor seconds, bytes of resident memory, and number of processes."""
        seconds, memory, count = 0.0, 0, 0
        for process in (self._root, *self._root.children(recursive=True)):
            try:
                with process.oneshot():
                    seconds += sum(process.cpu_times()[:4])  # with those of the children that have ended
                    memory += process.memory_info().rss
                count += 1
            except psutil.Error:  # it ended while it was looked at
                continue
        return seconds, memory, count


def _gpus() -> list[BaseMetricsMonitor]:
    """A monitor of the GPUs that this process may use; none where it may use none."""
    try:
        monitor = GPUMonitor()
        monitor.gpu_handles = visible(monitor.gpu_handles, os.environ.get("CUDA_VISIBLE_DEVICES"))
    except Exception as error:  # no driver, no library, no card: each says so in its own way
        _log.debug("no GPU metrics: %s", error)
        return []
    monitor.num_gpus = len(monitor.gpu_handles)
    return [monitor] if monitor.gpu_handles else []


def visible(handles: Sequence[Any], named: str | None) -> list[Any]:
    """The GPUs, of all of this machine in their order, that ``CUDA_VISIBLE_DEVICES`` names; all where it is not set.

    It names them by number or by the start of their UUID; a part of a GPU (MIG) is looked up by its whole UUID.
    """
    if named is None:
        return list(handles)
    import pynvml

    found = []
    for name in (each.strip() for each in named.split(",") if each.strip()):
        if name.startswith("MIG-"):
            found.append(pynvml.nvmlDeviceGetHandleByUUID(name))
        elif name.isdecimal():
            found += handles[int(name) : int(name) + 1]
        else:
            found += [each for each in handles if str(pynvml.nvmlDeviceGetUUID(each)).startswith(name)][:1]
    return found
