"""What a watch counts of itself, as Prometheus reads it."""

import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from pipeline.serving import exposition
from pipeline.serving.exposition import Labels
from pipeline.serving.watching.stretch import Judged

ABOUT: Final = {
    "records_total": ("counter", "Records that were judged."),
    "alarms_total": ("counter", "Records that exceed a threshold."),
    "alarms_promised_total": ("counter", "Records that would exceed it if all were benign."),
    "alerts_total": ("counter", "Alerts that were raised."),
    "rejected_rows_total": ("counter", "Rows that could not be read."),
    "quarantined_total": ("counter", "Files and micro-batches that could not be judged."),
    "batches_total": ("counter", "Micro-batches that were judged."),
    "files_total": ("counter", "Whole files that were judged."),
    "recovered_records_total": ("counter", "Records of stretches that an earlier process had left."),
    "swaps_total": ("counter", "Times that another model took over."),
    "refused_models_total": (
        "counter",
        "Models that were refused: no trusted key vouches for them, or they are silent.",
    ),
    "lag_seconds": ("gauge", "For how long what has come was not judged to its end; 0: all is judged."),
    "behind": ("gauge", "Bytes of a log, or micro-batches of standard input, that wait."),
    "judging_seconds": ("gauge", "Seconds from reading the last micro-batch to its alerts."),
    "model_version": ("gauge", "Version of the model that judges."),
    "silent": (
        "gauge",
        "1 while the model that judges is silent: it misses its canaries, or raises no alert for too long.",
    ),
    "registry_away": ("gauge", "1 where the registry did not answer when it was last asked."),
    "last_file_timestamp_seconds": ("gauge", "When the last file or micro-batch was judged, seconds since 1970."),
    "started_timestamp_seconds": ("gauge", "When the watch began, seconds since 1970."),
}
PREFIX: Final = "flowsculpt_watch_"


class Gauges:
    """Numbers by name and labels; one thread writes, others read."""

    def __init__(self) -> None:
        self._values: dict[str, dict[Labels, float]] = defaultdict(dict)
        self._lock = threading.Lock()
        self.set("started_timestamp_seconds", time.time())
        self.set("silent", 0.0)

    def add(self, name: str, value: float = 1.0, **labels: str) -> None:
        """Count on."""
        with self._lock:
            key = tuple(sorted(labels.items()))
            self._values[name][key] = self._values[name].get(key, 0.0) + value

    def set(self, name: str, value: float, **labels: str) -> None:
        """Say what is so now."""
        with self._lock:
            self._values[name][tuple(sorted(labels.items()))] = value

    def value(self, name: str, **labels: str) -> float:
        """What is so now; 0 where nothing was said."""
        with self._lock:
            return self._values[name].get(tuple(sorted(labels.items())), 0.0)

    def judged(self, found: Judged) -> None:
        """Count what became of a micro-batch or a file."""
        if found.refused:
            self.add("quarantined_total")
            return
        self.add("records_total", found.records)
        self.add("rejected_rows_total", found.rejected)
        self.add("alerts_total", found.alerts.num_rows)
        self._alarms("alarms_total", found.alarms)
        self._alarms("alarms_promised_total", found.expected)
        self.set("last_file_timestamp_seconds", time.time())
        if found.alerts.num_rows:
            self.set("silent", 0.0)

    def _alarms(self, name: str, counts: Mapping[str, float]) -> None:
        for level, count in counts.items():
            self.add(name, count, level=level)

    def text(self) -> str:
        """All of them, in Prometheus' text format, version 0.0.4."""
        with self._lock:
            values = {name: dict(found) for name, found in self._values.items()}
        return exposition.text(PREFIX, ABOUT, values)
