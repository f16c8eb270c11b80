"""The main job on the embedded records, and a run with nothing to do: wall time and peak memory of the process tree.

    python -m benchmarks.pipeline [--skip-job]

Run it from the project's folder, in an environment that is installed. The job is forced, so every stage runs.
"""

import argparse
import subprocess
import sys
import time

import psutil

COMMANDS = {
    "main job": [sys.executable, "-m", "flows.training", "--force"],
    "dvc repro, nothing changed": [sys.executable, "-m", "dvc", "repro"],
}


def measure(command: list[str]) -> tuple[float, float, int]:
    """Seconds, the highest sum of resident memory of the process and its descendants in GB, and the exit code."""
    start, highest = time.perf_counter(), 0
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    while process.poll() is None:
        highest = max(highest, resident(process.pid))
        time.sleep(0.1)
    return time.perf_counter() - start, highest / 1e9, process.returncode


def resident(pid: int) -> int:
    """Bytes, of the process and its descendants; one that ends meanwhile counts nothing."""
    total = 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def main() -> None:
    """Print one line for each command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--skip-job", action="store_true")
    for name, command in COMMANDS.items():
        if name == "main job" and parser.parse_args().skip_job:
            continue
        seconds, gigabytes, code = measure(command)
        print(f"{name:28} {seconds:7.1f} s {gigabytes:6.2f} GB  exit code {code}")


if __name__ == "__main__":
    main()
