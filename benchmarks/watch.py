"""How soon a watch raises an alert, how many records a second it keeps up with, and whether its memory stays flat.

::

    python -m benchmarks.watch                            1,000 records/s for a minute: from a line to its alert
    python -m benchmarks.watch --rate 4000 --seconds 600  what it keeps up with, for ten minutes
    python -m benchmarks.watch --seconds 15               for trying
    python -m benchmarks.watch --contexts 300000 --rate 500   with a model that reads the past of hosts
    python -m benchmarks.watch --incidents 20             sinks get alerts and incidents, of stretches of 20 s

It takes the champion of the project that it is run in, puts it with the settings into a folder of its own, without any
store of MLflow, and lets one core judge there what a writer appends to a log at a steady rate. The records are those of
``data/example/flows.csv``, again and again. A line counts from the moment when it was written to the log, its alert
from the moment when the file that holds it was on the disk.

With ``--contexts N`` the model is trained here, on simulated logs of Zeek, with the shipped settings but for contexts.
N connections of the last ten minutes lie in its log already; only what is written after they are judged is measured.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import pyarrow.parquet as pq
import yaml

EXAMPLE = Path("data/example/flows.csv")
TICKS = 50  # times a second that lines are written
CONVERSATIONS = 5_000  # of the simulated logs
TIME = re.compile(rb'(.*"ts": ?)[0-9.]+(.*\n)')


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=int, default=1000, help="records a second")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--core", type=int, default=0, help="the core that judges")
    parser.add_argument("--contexts", type=int, default=0, help="records of the past; the model reads it then")
    parser.add_argument("--incidents", type=float, default=0.0, help="seconds of a stretch; a log gets incidents then")
    given = parser.parse_args()
    source = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        project(source, Path(folder), given.incidents, has_model=not given.contexts)
        lines = zeek(Path(folder)) if given.contexts else Lines.of_table(source / EXAMPLE)
        print(measured(lines, Path(folder), given.rate, given.seconds, given.core, given.contexts))


def project(source: Path, folder: Path, stretch: float = 0.0, has_model: bool = True) -> None:
    """Put the champion of a project, and its settings, into a folder without a store."""
    settings = yaml.safe_load((source / "params.yaml").read_text())
    settings["watch"]["port"] = 0
    if stretch:
        settings["watch"]["stretch"] = settings["watch"]["incidents"] = stretch
        settings["alerts"]["sinks"] |= {"active": ["eve"], "incidents": ["eve"]}
    (folder / "params.yaml").write_text(yaml.safe_dump(settings))
    if has_model:
        if not (source / "data" / "registered").is_dir():
            sys.exit(f"{source}: keeps no version; run `make run` in it first, or go to a project with a champion")
        shutil.copytree(source / "data" / "registered", folder / "data" / "registered")
        shutil.copy(source / "data" / "trusted_keys.json", folder / "data")


class Lines(NamedTuple):
    """Lines of a log, again and again: its name, its header, and what stands before and behind the time of each."""

    log: str
    header: bytes
    parts: list[tuple[bytes, bytes]]

    @classmethod
    def of_table(cls, path: Path) -> "Lines":
        """Lines of a table, which have no time."""
        header, *lines = path.read_bytes().splitlines(keepends=True)
        return cls(path.name, header, [(line, b"") for line in lines])

    def text(self, begin: int, end: int, times: np.ndarray) -> bytes:
        """Some lines, at their times."""
        chosen = (self.parts[row % len(self.parts)] for row in range(begin, end))
        return b"".join(
            head + (b"%.6f" % time if tail else b"") + tail for (head, tail), time in zip(chosen, times, strict=True)
        )


def zeek(folder: Path) -> Lines:
    """Train a model of simulated logs that reads contexts, make it the champion of a folder, and draw lines for it."""
    from benchmarks.champions import serve
    from benchmarks.context import trained
    from pipeline.datasets.synthetic.zeek_logs import write_logs

    write_logs(folder / "benign", CONVERSATIONS, 5, seed=0)
    bundle = trained(folder / "benign", "zeek")
    with chdir(folder):
        serve(bundle)
    logs = write_logs(folder / "other", CONVERSATIONS, 1, seed=1, form="json")
    found = (TIME.fullmatch(line) for log in logs for line in log.read_bytes().splitlines(keepends=True))
    return Lines("conn.log", b"", [(each[1], each[2]) for each in found if each])


def measured(lines: Lines, folder: Path, rate: int, seconds: float, core: int, past: int) -> str:
    """Watch a log that grows for some seconds; returns what was found."""
    log = folder / lines.log
    log.write_bytes(lines.header + lines.text(0, past, time.time() - 600.0 * (1 - np.arange(past) / max(past, 1))))
    with watching(log, folder, core) as process:
        seen = Seen(folder, (log.stat().st_size, past))
        until_judged(folder, past)
        with seen.looking():
            memory, cpu = process.memory_info().rss, sum(process.cpu_times()[:2])
            written = write(log, lines, rate, seconds, seen)
            behind = until_judged(folder, past + written.size)
            used = sum(process.cpu_times()[:2]) - cpu
        return seen.text(written, memory, process.memory_info().rss, used, behind, rate)


@contextmanager
def watching(log: Path, folder: Path, core: int) -> Iterator[psutil.Process]:
    """A watch of a log, on one core; it is ready when the block begins."""
    with (folder / "watch.jsonl").open("wb") as told:
        command = [sys.executable, "-m", "flows.watch", str(log)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[1])}
        started = subprocess.Popen(command, cwd=folder, stderr=told, env=environment)
        psutil.Process(started.pid).cpu_affinity([core])  # before it has threads
        try:
            while not any(each["event"] == "started" for each in events(folder)):
                if started.poll() is not None:
                    raise SystemExit((folder / "watch.jsonl").read_text())
                time.sleep(0.1)
            yield psutil.Process(started.pid)
        finally:
            started.send_signal(signal.SIGTERM)
            started.wait()


def events(folder: Path) -> list[dict]:
    """What the watch has logged so far."""
    lines = (folder / "watch.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def write(log: Path, lines: Lines, rate: int, seconds: float, seen: "Seen") -> np.ndarray:
    """Append lines at a steady rate; returns (n,) when each was written."""
    times, begun, done = [], time.time(), 0
    with log.open("ab", buffering=0) as file:
        while (now := time.time()) - begun < seconds:
            due = int((now - begun) * rate)
            if due > done:
                file.write(lines.text(done, due, np.full(due - done, time.time())))
                times.append(np.full(due - done, time.time()))
                done = due
                seen.ends.append((log.stat().st_size, seen.past + done))
            time.sleep(1 / TICKS)
    return np.concatenate(times)


def until_judged(folder: Path, n: int, patience: float = 600.0) -> float:
    """Wait until n records are judged; returns how many seconds that took."""
    begun = time.time()
    while time.time() - begun < patience:
        if sum(each["records"] for each in events(folder) if each["event"] == "judged") >= n:
            return time.time() - begun
        time.sleep(0.1)
    return float("inf")


class Seen:
    """When each alert was on the disk, and which line of the log it is of."""

    def __init__(self, folder: Path, start: tuple[int, int]) -> None:
        self.room, self.ends, self.past = folder / "data" / "scored" / "alerts", [start], start[1]
        self.at: list[tuple[float, str, np.ndarray]] = []
        self._known: set[str] = set()

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Look for new alerts in the background."""
        over = threading.Event()
        thread = threading.Thread(target=self._look, args=(over,))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            self._once()

    def _look(self, over: threading.Event) -> None:
        while not over.wait(0.2):
            self._once()

    def _once(self) -> None:
        for path in sorted(self.room.glob("*.[0-9]*.parquet")):
            if path.name in self._known:
                continue
            try:
                table, when = pq.read_table(path, columns=["source_file", "row"]), path.stat().st_mtime
            except (OSError, ValueError):
                continue  # the stretch has ended meanwhile
            self._known.add(path.name)
            if table.num_rows:
                self.at.append((when, table["source_file"][0].as_py(), table["row"].to_numpy()))

    def latencies(self, written: np.ndarray) -> np.ndarray:
        """(k,) seconds from a line to its alert, of lines that were not there at the start."""
        sizes, counts = np.array([0, *(size for size, _ in self.ends)]), np.array([0, *(n for _, n in self.ends)])
        found = []
        for when, name, rows in self.at:
            start = int(Path(name).stem.split("-")[-2])
            number = int(np.interp(start, sizes, counts)) + rows - 1 - self.past
            found.append(when - written[np.clip(number[number >= 0], 0, written.size - 1)])
        return np.concatenate(found) if found else np.zeros(0)

    def text(self, written: np.ndarray, before: int, after: int, used: float, behind: float, rate: int) -> str:
        """What was found, for people."""
        late = self.latencies(written)
        p50, p99, most = np.quantile(late, [0.5, 0.99, 1.0]) if late.size else (np.nan,) * 3
        return "\n".join(
            [
                f"records        {written.size:,} at {rate:,} a second",
                f"from a line to its alert, s: p50 {p50:.2f}, p99 {p99:.2f}, max {most:.2f} ({late.size:,} alerts)",
                f"judged to the end {behind:.1f} s after the last line",
                f"CPU            {used:.1f} s, {written.size / max(used, 1e-9):,.0f} records a CPU-second",
                f"memory         {before / 2**20:,.0f} MiB at the start, {after / 2**20:,.0f} MiB at the end",
                f"load           {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
            ]
        )


if __name__ == "__main__":
    main()
