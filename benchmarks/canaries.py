"""What canaries cost: they are asked when a process starts, and again after a minute.

::

    python -m benchmarks.canaries [--records 3525] [--repeats 7]

It trains the shipped model in a folder of its own. Each run is a process of its own that scores a file with
``alerts.silence.action`` as ``refuse`` and as ``off`` in turn. Then one process asks the canaries again and again.
CPU-s are seconds of processor time of the process and its children.
"""

import argparse
import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import yaml

from benchmarks.scoring import train
from benchmarks.start import records
from benchmarks.watch import EXAMPLE

ROOT = Path(__file__).parents[1]
TRAINED_ON = 20_000  # records
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}


def act(folder: Path, action: str) -> None:
    """Set ``alerts.silence.action`` of a project."""
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["alerts"]["silence"]["action"] = action
    path.write_text(yaml.safe_dump(params))


def scored(folder: Path, file: Path) -> float:
    """CPU-s of the scoring of a file that was not scored before."""
    shutil.rmtree(folder / "data" / "scored", ignore_errors=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "flows.cli", "score", str(file)]
    subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(after[:2]) - sum(before[:2])


def asked(repeats: int) -> dict[str, float]:
    """How many canaries there are; CPU-s of the first question in a process, and the median of those that follow."""
    from pipeline.serving import canary_check, loading

    _, bundle = loading.load("champion")
    found, known = [], bundle.canaries()
    for _ in range(repeats + 1):
        started = time.process_time()
        faults = canary_check.faults(bundle)
        found.append(time.process_time() - started)
        if faults:
            raise SystemExit(" ".join(faults))
    attacks = 0 if known is None else int(known.is_attack.sum())
    return {"attacks": attacks, "first": found[0], "later": median(found[1:])}


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=3525)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        print(json.dumps(asked(given.repeats)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder, file = Path(name), Path(name) / "flows.csv"
        train(folder, TRAINED_ON)
        with file.open("w", newline="") as opened:
            csv.writer(opened).writerows(records(ROOT / EXAMPLE, given.records))
        costs: dict[str, list[float]] = {"refuse": [], "off": []}
        for _ in range(given.repeats):
            for action, found in costs.items():
                act(folder, action)
                found.append(scored(folder, file))
        command = [sys.executable, "-m", "benchmarks.canaries", "--inside", "--repeats", str(given.repeats)]
        done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, check=True)
        inside = json.loads(done.stdout)
    print(f"{given.records:,} records, {given.repeats} runs each, CPU-s")
    for action, found in costs.items():
        print(f"score, action {action}: {median(found):.2f} ({min(found):.2f} to {max(found):.2f})")
    print(f"{inside['attacks']} planted attacks: {inside['first']:.4f} at first, {inside['later']:.4f} later")


if __name__ == "__main__":
    main()
