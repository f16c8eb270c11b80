"""What a command costs from its start to its end: the scoring of a small file, and the help of every command.

::

    python -m benchmarks.start [--records 3525] [--repeats 5]

It takes the champion of the project that it is run in, without any store of MLflow. The records are those of
``data/example/flows.csv``, again and again, each time with another duration, so that no two are copies. Variables that
set a number of threads are taken away. CPU-s are seconds of processor time of the command and its children.
"""

import argparse
import csv
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.watch import EXAMPLE, project
from flows.cli import PROGRAMS
from pipeline.base.parallel import THREADS

DURATION = "Flow Duration"


class Cost(NamedTuple):
    """Seconds that one run of a command took."""

    cpu: float
    wall: float


def records(example: Path, number: int) -> list[list[str]]:
    """A header and so many records, no two of them alike."""
    head, *rows = csv.reader(example.read_text().splitlines())
    place = [name.strip() for name in head].index(DURATION)
    longer = (
        [*row[:place], str(int(row[place]) + again), *row[place + 1 :]]
        for again in range(-(-number // len(rows)))
        for row in rows
    )
    return [head, *(row for row, _ in zip(longer, range(number), strict=False))]


def run(folder: Path, *given: str) -> tuple[Cost, str]:
    """What ``flowsculpt`` took in a folder, and what it printed."""
    environment = {name: value for name, value in os.environ.items() if name not in THREADS}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "flows.cli", *given]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(sum(after[:2]) - sum(before[:2]), wall), done.stdout


def scored(folder: Path, file: Path) -> tuple[Cost, str]:
    """What it took to score a file that was not scored before."""
    shutil.rmtree(folder / "data" / "scored", ignore_errors=True)
    return run(folder, "score", str(file))


def line(name: str, costs: list[Cost]) -> str:
    """A line of the table: medians, and the ranges."""
    columns = [
        f"{median(each):.2f} ({min(each):.2f} to {max(each):.2f})" for each in zip(*costs, strict=True)
    ]  # CPU-s and wall
    return f"| {name} | {' | '.join(columns)} |"


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=3525)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    source = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        folder, file = Path(name), Path(name) / "flows.csv"
        project(source, folder)
        with file.open("w", newline="") as opened:
            csv.writer(opened).writerows(records(source / EXAMPLE, given.records))
        found = [scored(folder, file) for _ in range(given.repeats)]
        alerts = re.findall(r"([\d,]+) alerts at", found[0][1])
        print("| command | CPU-s | s |\n|---|---:|---:|")
        print(line(f"score, {given.records:,} records, {' '.join(alerts)} alerts", [cost for cost, _ in found]))
        for command in ((), *((each,) for each in PROGRAMS)):
            costs = [run(folder, *command, "--help")[0] for _ in range(given.repeats)]
            print(line(" ".join((*command, "--help")), costs), flush=True)


if __name__ == "__main__":
    main()
