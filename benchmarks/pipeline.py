"""The main job on the embedded records, and a run with nothing to do: time and peak memory of the process tree.

    python -m benchmarks.pipeline [--only NAME ...]

Run it from the project's folder, in an environment that is installed. The job is forced, so every stage runs: from a
warm process, and once more each in a fresh process. CPU-s are seconds of processor time of the command and its
children. Memory that processes share counts once.
"""

import argparse
import os
import resource
import subprocess
import sys
import time
from typing import NamedTuple

import psutil

from pipeline.base.warm import VARIABLE

JOB = [sys.executable, "-m", "flows.training", "--force"]
COMMANDS: dict[str, tuple[list[str], dict[str, str]]] = {
    "main job": (JOB, {}),
    "main job, fresh processes": (JOB, {VARIABLE: ""}),
    "dvc repro, nothing changed": ([sys.executable, "-m", "dvc", "repro"], {}),
}


class Cost(NamedTuple):
    """What a command took."""

    wall: float
    cpu: float
    gigabytes: float
    code: int


def measure(command: list[str], variables: dict[str, str]) -> Cost:
    """Seconds, processor seconds, the highest memory of the process and its descendants in GB, and the exit code."""
    before, start, highest = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter(), 0
    environment = os.environ | variables
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    while process.poll() is None:
        highest = max(highest, held(process.pid))
        time.sleep(0.2)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall, sum(after[:2]) - sum(before[:2]), highest / 1e9, process.returncode)


def held(pid: int) -> int:
    """Bytes, of the process and its descendants; one that ends meanwhile counts nothing."""
    total = 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in family:
        try:
            known = member.memory_full_info()
        except psutil.Error:
            continue
        total += getattr(known, "pss", known.rss)
    return total


def main() -> None:
    """Print one line for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=COMMANDS, default=list(COMMANDS))
    for name in parser.parse_args().only:
        cost = measure(*COMMANDS[name])
        figures = f"{cost.wall:7.1f} s {cost.cpu:7.1f} CPU-s {cost.gigabytes:6.2f} GB"
        print(f"{name:28} {figures}  exit code {cost.code}", flush=True)


if __name__ == "__main__":
    main()
