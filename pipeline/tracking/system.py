"""System metrics: what MLflow's own monitors see, sampled in a thread and logged through the one door.

MLflow's own loop ends for good when a server does not answer once. This module imports MLflow, which takes seconds.
"""

import logging
import threading
from collections.abc import Callable, Mapping

from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

SECONDS_BETWEEN_SAMPLES = 2.0

_log = logging.getLogger(__name__)


class Monitor:
    """Processor, memory, disk, network and NVIDIA GPUs, every few seconds.

    Args:
        log: takes values by name and their step.
        step: of the first sample.
    """

    SIGN = "system/cpu_utilization_percentage"  # every sample has it

    def __init__(self, log: Callable[[Mapping[str, float], int], None], step: int) -> None:
        self._monitors: list[BaseMetricsMonitor] = [CPUMonitor(), DiskMonitor(), NetworkMonitor(), *_gpus()]
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


def _gpus() -> list[BaseMetricsMonitor]:
    try:
        return [GPUMonitor()]
    except Exception as error:  # no driver, no library, no card: each says so in its own way
        _log.debug("no GPU metrics: %s", error)
        return []
