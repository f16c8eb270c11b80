"""SIGKILL at random moments: what is lost, and what comes twice.

::

    python -m benchmarks.kills [--victim deliverer] [--kills 50] [--seed 0] [--keep FOLDER]

Each victim is a program that works in a folder of its own. It runs once to its end, which is timed. Then it is started,
killed at a moment of that time that is drawn from the seed, and started again, as often as asked. Before each start
there is new work. At last it runs to its end again, and what reached the other sides is counted. A table has a row for
each: the kills, what should have arrived, what is lost, and what came twice. The program ends with 1 where something is
lost, or came twice to a side that must get everything once.

``deliverer`` hands alerts over to the spools of all sinks and delivers them. Its other sides are two logs, one of which
is renamed now and then as logrotate does it, a table, and receivers of syslog (TCP) and webhooks in this process. These
two can only get an alert at least once; they know it by its key.

``scorer`` scores each new file of a folder with a small model, and hands its alerts to a log. Its other sides are the
tables of scored records and that log: each record must be judged once, and each alert must stand there once.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.victims import CHILDREN, READY, ROOT, SECRET, VICTIMS, Side, Victim


def run(victim: Victim, kills: int) -> list[Side]:
    """Kill a victim so often, let it end, and count."""
    with victim.surrounded():
        victim.prepare(0)
        longest, hit = _ended(victim), 0
        for round_ in range(1, kills + 1):
            victim.prepare(round_)
            hit += _killed(victim, longest)
        before = ", ".join(f"{side.name} {len(side.arrived):,}" for side in victim.sides())
        victim.prepare(kills + 1)
        _ended(victim)
        name = type(victim).__name__
        print(
            f"{name}: {hit} of {kills} kills in {longest:.1f} s of work; before the last start: {before}",
            file=sys.stderr,
        )
        return victim.sides()


def _ended(victim: Victim) -> float:
    """Start it and let it end; returns the seconds that its work took."""
    with started(victim) as process:
        began = time.monotonic()
        if process.wait():
            raise SystemExit(f"{type(victim).__name__} failed when nobody killed it")
        return time.monotonic() - began


def _killed(victim: Victim, longest: float) -> bool:
    """Start it, and kill it in so many seconds; returns whether it was still at work."""
    with started(victim) as process:
        time.sleep(victim.random.uniform(0.0, longest))
        was_working = process.poll() is None
        process.kill()
    return was_working


@contextmanager
def started(victim: Victim) -> Iterator[subprocess.Popen[str]]:
    """The program at work."""
    around = {**os.environ, "PYTHONPATH": str(ROOT), SECRET: "secret"}
    with subprocess.Popen(
        victim.command(), cwd=victim.folder, env=around, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.strip() == READY:
                break
        yield process


def table(victim: str, kills: int, sides: Sequence[Side]) -> str:
    """The rows of the table, in Markdown."""
    head = ["| victim | kills | other side | keys | lost | came twice | promise |", "|---|---:|---|---:|---:|---:|---|"]
    rows = [
        f"| {victim} | {kills} | {side.name} | {len(side.expected):,} | {side.lost:,} | {side.doubled:,} "
        f"| {'once' if side.is_once else 'at least once'}: {'kept' if side.is_kept else 'broken'} |"
        for side in sides
    ]
    return "\n".join([*head, *rows])


def main() -> int:
    """Kill, count, print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--victim", choices=VICTIMS, action="append", help="default: all")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for what the victims leave; default: one that is removed")
    parser.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        CHILDREN[chosen.child]()
        return 0
    kept = True
    with tempfile.TemporaryDirectory() as temporary:
        for name in chosen.victim or VICTIMS:
            folder = (chosen.keep or Path(temporary)).resolve() / name
            folder.mkdir(parents=True, exist_ok=True)
            sides = run(VICTIMS[name](folder, random.Random(chosen.seed)), chosen.kills)
            print(table(name, chosen.kills, sides))
            kept = kept and all(side.is_kept for side in sides)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
