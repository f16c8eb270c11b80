"""Is a mark that the triage page acknowledged ever lost? The page is killed at random moments while marks come in.

::

    python -m benchmarks.triage_kills [--kills 50] [--seed 0]

Each round starts the page, marks alerts one after the other and kills it with signal 9 at a random moment. A table goes
to standard output: marks that were sent, acknowledged and found in ``data/labels.jsonl``, and lines that are no label.
The exit code is 1 if an acknowledged mark is missing.
"""

import argparse
import random
import sys
import tempfile
from collections import Counter
from contextlib import chdir
from pathlib import Path

from benchmarks import made_alerts
from pipeline.artifacts import labels, paths
from pipeline.artifacts.tables import read_table
from tests.end_to_end.triage import mark_until_killed, serving

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
            with serving(Path(folder)) as (address, process):
                part = rows[start : start + PER_ROUND]
                sent, said = mark_until_killed(address, process, part, drawn.uniform(0, 2))
            acknowledged += said
            counts.update({"kills": 1, "marks sent": sent})
        there = Counter(label.record_id for label in labels.read())
        torn = paths.LABELS.with_name(f"{paths.LABELS.name}.torn")
        counts["torn lines set aside"] = len(torn.read_bytes().splitlines()) if torn.exists() else 0
    missing = sum((Counter(acknowledged) - there).values())
    counts |= Counter({"marks acknowledged": len(acknowledged), "marks in the log": there.total()})
    for name in ("kills", "marks sent", "marks acknowledged", "marks in the log", "torn lines set aside"):
        print(f"{name:28}{counts[name]:>8,}")
    print(f"{'acknowledged and lost':28}{missing:>8,}")
    return int(missing > 0)


if __name__ == "__main__":
    sys.exit(main())
