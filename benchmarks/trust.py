"""What the signatures cost: a small file is scored with and without the checks of the champion.

::

    python -m benchmarks.trust [--lines 1000] [--records 3525] [--repeats 7]

It trains the shipped model in a folder of its own, and signs it there. The log of promotions gets so many lines, each
signed. Each run is a process of its own, with the checks and without them in turn. CPU-s are seconds of processor time
of the process and its children.
"""

import argparse
import contextlib
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

from benchmarks.scoring import train
from benchmarks.start import records
from benchmarks.watch import EXAMPLE

ROOT = Path(__file__).parents[1]
TRAINED_ON = 20_000  # records
SCORE = """
import sys
from types import SimpleNamespace
if sys.argv[1] == "without":
    from pipeline.serving.trust import verification
    verification.require = lambda version, alias: None
    verification.model_of = lambda version, keys=None: SimpleNamespace(digest=version.digest)
from flows import score
sys.exit(score.main(sys.argv[2:]))
"""


def write_log(lines: int) -> None:
    """Decisions that moved nothing, signed in the working folder."""
    from pipeline.serving.trust import chain

    for number in range(lines):
        criteria = [{"name": f"criterion {each}", "champion": 0.5, "candidate": 0.5} for each in range(8)]
        chain.append({"decision": "refused", "model": "flowsculpt", "number": number, "criteria": criteria})


def scored(folder: Path, how: str, file: Path) -> float:
    """CPU-s of the scoring of a file that was not scored before."""
    shutil.rmtree(folder / "data" / "scored", ignore_errors=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", SCORE, how, str(file)]
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(after[:2]) - sum(before[:2])


def checked() -> dict[str, float]:
    """CPU-s of the checks alone, the first time in a process and the second, and of a log that is read thoroughly."""
    from pipeline.serving import champion
    from pipeline.serving.trust import chain, verification
    from pipeline.serving.version import Version

    about = champion.known("flowsculpt", "champion") or {}
    version = Version(about["number"], about["run_id"], about["digest"], about["tags"], (), "flowsculpt")
    found = {}
    for name in ("first", "second"):
        started = time.process_time()
        verification.require(version, "champion")
        found[name] = time.process_time() - started
    started = time.process_time()
    chain.read(thorough=True)
    return found | {"all lines": time.process_time() - started}


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--records", type=int, default=3525)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.inside:
        print(json.dumps(checked()))
        return
    with tempfile.TemporaryDirectory() as name:
        folder, file = Path(name), Path(name) / "flows.csv"
        train(folder, TRAINED_ON)
        with contextlib.chdir(folder):
            write_log(given.lines)
        with file.open("w", newline="") as opened:
            csv.writer(opened).writerows(records(ROOT / EXAMPLE, given.records))
        costs: dict[str, list[float]] = {"with": [], "without": []}
        for _ in range(given.repeats):
            for how, found in costs.items():
                found.append(scored(folder, how, file))
        command = [sys.executable, "-m", "benchmarks.trust", "--inside"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        inside = json.loads(
            subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True).stdout
        )
    print(f"{given.records:,} records, {given.lines:,} lines in the log, {given.repeats} runs each, CPU-s")
    for how, found in costs.items():
        print(f"score {how} the checks: {median(found):.2f} ({min(found):.2f} to {max(found):.2f})")
    print(", ".join(f"{name}: {value:.4f}" for name, value in inside.items()))


if __name__ == "__main__":
    main()
