"""Kills a watch again and again while a log grows, and counts how often each of its records was judged.

::

    python -m benchmarks.watch_kills --kills 10

It takes the champion of the project that it is run in, as ``benchmarks.watch`` does. A writer appends to a log and
rotates it now and then, as Zeek does. The watch is killed with SIGKILL at random moments, from its first second on, and
started again. The last one ends when it has judged everything. ``judged_over_kills`` is there for other programs.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.watch import EXAMPLE, project

ROOT = Path(__file__).parents[1]
SCORED = Path("data/scored")
LONGEST = 12.0  # seconds until a watch is killed


@dataclass
class Found:
    """What became of the records of a log.

    Attributes:
        written: how many there are.
        kills: how often a watch was killed.
        judged: (part of the log, row in it) -> how often it was judged.
        alerts: keys of the alerts, in all tables.
    """

    written: int
    kills: int
    judged: Counter[tuple[str, int]] = field(default_factory=Counter)
    alerts: list[str] = field(default_factory=list)

    @property
    def is_once(self) -> bool:
        """Whether each record was judged once, and each alert is there once."""
        once = {*self.judged.values()} <= {1} and len(self.alerts) == len({*self.alerts})
        return once and self.judged.total() == self.written

    def __str__(self) -> str:
        most = max(self.judged.values(), default=0)
        judged = f"{self.judged.total():,} judged, each at most {most} times"
        end = "once each" if self.is_once else "NOT once each"
        return f"{self.kills} kills: {self.written:,} records, {judged}; {len(self.alerts):,} alerts; {end}"


def main() -> int:
    """Run it from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--rate", type=int, default=500, help="records a second")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project(Path.cwd(), Path(folder))
        found = judged_over_kills(Path(folder), Path.cwd() / EXAMPLE, given.kills, given.rate, given.seed)
    print(found)
    return 0 if found.is_once else 1


def judged_over_kills(folder: Path, example: Path, kills: int, rate: int = 500, seed: int = 0) -> Found:
    """Watch a log that grows and is rotated, and kill the watch so many times.

    Args:
        folder: a project with a champion, see ``benchmarks.watch.project``.
        example: a CSV, whose records are written again and again.
        kills: how many.
        rate: records that are written a second.
        seed: of the moments.
    """
    rng, log = np.random.default_rng(seed), folder / "logs" / "flows.csv"
    log.parent.mkdir()
    log.write_bytes(example.read_bytes().splitlines(keepends=True)[0])
    with started(log, folder):  # what is renamed before the first watch has begun is not its business
        _until_begun(folder, 0)
    with writing(log, example, rate) as writer:
        for _ in range(kills):
            with started(log, folder) as process:
                time.sleep(float(rng.uniform(0.5, LONGEST)))
                process.send_signal(signal.SIGKILL)
    found, before = Found(writer.written, kills), (folder / "watch.jsonl").stat().st_size
    with started(log, folder) as process:
        _until_judged(folder, before)
        process.send_signal(signal.SIGTERM)
        process.wait()
    return _counted(folder, found)


class Writer:
    """Appends to a log, and rotates it every few seconds."""

    def __init__(self, log: Path, example: Path, rate: int) -> None:
        self.log, self.rate, self.written = log, rate, 0
        self.header, *self.lines = example.read_bytes().splitlines(keepends=True)
        self.over = threading.Event()

    def run(self) -> None:
        """Write until it is over."""
        begun, turned = time.monotonic(), time.monotonic()
        while not self.over.wait(0.05):
            due = int((time.monotonic() - begun) * self.rate)
            with self.log.open("ab") as file:
                file.write(b"".join(self.lines[row % len(self.lines)] for row in range(self.written, due)))
            self.written = due
            if time.monotonic() - turned > 7:
                self.log.rename(self.log.with_name(f"flows.{due:012d}.csv"))
                self.log.write_bytes(self.header)
                turned = time.monotonic()


@contextmanager
def writing(log: Path, example: Path, rate: int) -> Iterator[Writer]:
    """A log that grows while the block runs."""
    writer = Writer(log, example, rate)
    thread = threading.Thread(target=writer.run)
    thread.start()
    try:
        yield writer
    finally:
        writer.over.set()
        thread.join()


@contextmanager
def started(log: Path, folder: Path) -> Iterator[subprocess.Popen]:
    """A watch of a log; it is gone when the block ends."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "flows.watch", str(log)]
    with (
        (folder / "watch.jsonl").open("ab") as told,
        subprocess.Popen(command, cwd=folder, stderr=told, env=environment) as process,
    ):
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def _until_judged(folder: Path, before: int, patience: float = 600.0) -> None:
    """Wait until the last watch, whose log begins at a byte, has begun and finds nothing more."""
    _until_begun(folder, before)
    begun, size = time.monotonic(), -1
    while time.monotonic() - begun < patience and (now := (folder / "watch.jsonl").stat().st_size) != size:
        size = now
        time.sleep(15)  # longer than the settle time of a rotated log


def _until_begun(folder: Path, before: int) -> None:
    """Wait until a watch, whose log begins at a byte, has begun."""
    while b'"started"' not in (folder / "watch.jsonl").read_bytes()[before:]:
        time.sleep(0.1)


def _counted(folder: Path, found: Found) -> Found:
    for path in (folder / SCORED).glob("*.parquet"):
        table = pq.read_table(path, columns=["source_file", "row"])
        found.judged.update(zip(table["source_file"].to_pylist(), table["row"].to_pylist(), strict=True))
    for path in (folder / SCORED / "alerts").glob("*.parquet"):
        found.alerts += pq.read_table(path, columns=["alert"])["alert"].to_pylist()
    return found


if __name__ == "__main__":
    sys.exit(main())
