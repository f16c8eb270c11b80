"""Is a mark that the triage page acknowledged ever lost? The page is killed at random moments while marks come in.

::

    python -m benchmarks.triage_kills [--kills 50] [--seed 0]

Each round starts the page, marks alerts one after the other and kills it with signal 9 at a random moment. A table goes
to standard output: marks that were sent, acknowledged and found in ``data/labels.jsonl``, and lines that are no label.
The exit code is 1 if an acknowledged mark is missing.
"""

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

import httpx

from benchmarks import made_alerts
from pipeline.artifacts import labels, paths
from pipeline.artifacts.tables import read_table

ROOT = Path(__file__).parents[1]
SECRET = "the secret of a benchmark"
PER_ROUND = 200


def main() -> int:
    """Kill, count and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    drawn, counts = random.Random(given.seed), Counter[str]()
    acknowledged: list[int] = []
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        made_alerts.project(Path(folder))
        made_alerts.write(PER_ROUND * 5)
        (path,) = (paths.SCORED / "alerts").iterdir()
        rows = read_table(path, ["alert", "record_id"]).to_pylist()
        for number in range(given.kills):
            start = (number * PER_ROUND) % len(rows)
            _round(rows[start : start + PER_ROUND], drawn.uniform(0, 2), counts, acknowledged)
        there = Counter(label.record_id for label in labels.read())
        torn = paths.LABELS.with_name(f"{paths.LABELS.name}.torn")
        counts["torn lines set aside"] = len(torn.read_bytes().splitlines()) if torn.exists() else 0
    missing = sum((Counter(acknowledged) - there).values())
    counts |= Counter({"marks acknowledged": len(acknowledged), "marks in the log": there.total()})
    for name in ("kills", "marks sent", "marks acknowledged", "marks in the log", "torn lines set aside"):
        print(f"{name:28}{counts[name]:>8,}")
    print(f"{'acknowledged and lost':28}{missing:>8,}")
    return int(missing > 0)


def _round(rows: Sequence[dict[str, Any]], seconds: float, counts: Counter[str], acknowledged: list[int]) -> None:
    """Mark alerts until the page is killed after so many seconds."""
    with _served() as (address, process), httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
        client.post("/login", data={"name": "ada", "secret": SECRET})
        found = re.search(r'name="csrf" value="([^"]+)"', client.get("/").text)
        assert found
        killer = threading.Timer(seconds, lambda: process.send_signal(signal.SIGKILL))
        killer.start()
        for row in rows:
            form = {"csrf": found[1], "what": "benign", "alert": row["alert"], "back": "/"}
            counts["marks sent"] += 1
            try:
                assert client.post("/marks", data=form).status_code == 303
            except httpx.TransportError:
                break
            acknowledged.append(row["record_id"])
        killer.join()
        counts["kills"] += 1


@contextmanager
def _served() -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    env = os.environ | {"PYTHONPATH": str(ROOT), "FLOWSCULPT_TRIAGE_SECRET": SECRET}
    command = [sys.executable, "-m", "flows.triage", "--port", "0"]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline() if process.stdout else ""
            found = re.search(r"http://127\.0\.0\.1:\d+", said)
            assert found, said
            yield found[0], process
        finally:
            process.kill()


if __name__ == "__main__":
    sys.exit(main())
