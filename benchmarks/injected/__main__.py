"""Faults injected into whatever writes: is anything lost, half-written, or left behind?

::

    python -m benchmarks.injected [--operations ingest ...] [--most 150] [--seed 0] [--folder FOLDER]

An operation is what a user would call: a stage, scoring, a promotion. It runs in a fork of a process that has imported
everything, on a fresh copy of a small project. ``strace`` lets one system call of it fail, or kills it there; each call
that writes in the project is such a fault, and where there are more than ``--most``, they are drawn in equal shares
from each system call. Then these must hold:

1. The operation ended well, was killed, or refused with a message for people. What it said it had done is there.
2. Each unit, which is a file, a folder of an artefact or what the registry says, is the old or the new one as a whole.
   A model of two files may be refused by its reader meanwhile.
3. One run in peace makes everything as it is without any fault, and no file is left that should not be there.

Other faults come to some of the operations, in ``--classes``: a disk that is full after some pages, a read-only folder,
a power cut (the image of a mounted disk is copied at a call), a folder that vanishes at a call, a clock that is wrong
by minutes or years, few file descriptors, little address space, eight writers of one database, and two at once.

A table has a row for each operation, and one for each class and operation; each fault that gave way has a line below.
The program ends with 1 if one did. It needs strace and the right to trace; what needs mounts is left out for all but
root, and says so.
"""

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.injected import registry
from benchmarks.injected.bench import Bench, Trial
from benchmarks.injected.writes import trials

HEAD = "| operation | faults | tried | held | gave way |\n|---|---|---:|---:|---:|"
Table = dict[str, list[Trial]]


def main(options: Sequence[str] | None = None) -> int:
    """Inject, judge, print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    classes = [*registry.CLASSES]
    parser.add_argument("--operations", nargs="*", choices=registry.NAMES, default=registry.NAMES, metavar="NAME")
    parser.add_argument("--classes", nargs="*", choices=classes, default=classes, metavar="NAME", help="default: all")
    parser.add_argument("--most", type=int, default=150, help="faults at system calls of each operation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="of the projects; default: a temporary one")
    given = parser.parse_args(options)
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        root = Path(folder).resolve()
        done = at_calls(given.operations, root, given.most, given.seed)
        others = of_classes(given.classes, root, given.seed)
    print(table(done | others))
    spent = os.times()
    seconds = spent.user + spent.system + spent.children_user + spent.children_system
    print(f"\n{seconds:,.0f} CPU-seconds", file=sys.stderr)
    return int(any(each.found.faults for trial in (done | others).values() for each in trial))


def at_calls(names: Sequence[str], root: Path, most: int, seed: int) -> Table:
    """Faults at the system calls of each operation."""
    done = {}
    for name in names:
        bench = Bench(registry.operation(name), root)
        bench.prepare()
        done[name] = [*trials(bench, most, seed)]
        print(summary(name, done[name]), file=sys.stderr, flush=True)
    return done


def of_classes(names: Sequence[str], root: Path, seed: int) -> Table:
    """All other faults."""
    done = {}
    for name in names:
        faults = registry.CLASSES[name]
        if why := faults.missing():
            print(f"{name}: left out, as {why}", file=sys.stderr)
            continue
        for operation in faults.operations:
            bench = Bench(operation, root)
            if not operation.database:
                bench.prepare()
            row_name = f"{name}: {operation.name}"
            done[row_name] = [*faults.inject(bench, faults.most, seed)]
            print(summary(row_name, done[row_name]), file=sys.stderr, flush=True)
    return done


def table(done: Table) -> str:
    """All of it, in Markdown, and a line for each fault that gave way."""
    rows = [row(name, found) for name, found in done.items()]
    everything = [each for found in done.values() for each in found]
    whole = f"| all | | {cells(everything)} |"
    lines = [line for name, found in done.items() for line in broken(name, found)]
    return "\n".join([HEAD, *rows, whole, *(["", *lines] if lines else [])])


def broken(name: str, found: Sequence[Trial]) -> list[str]:
    """A line for each fault that gave way."""
    faults = [(each.fault, each.found) for each in found if each.found.faults]
    return [f"- {name}: {fault}: {each.ended.end}; {'; '.join(each.faults)}" for fault, each in faults]


def row(name: str, found: Sequence[Trial]) -> str:
    """A line of the table."""
    kinds = Counter(each.kind for each in found)
    return f"| {name} | {', '.join(f'{kind} {count}' for kind, count in kinds.most_common())} | {cells(found)} |"


def cells(found: Iterable[Trial]) -> str:
    """Tried, held, gave way."""
    held = [not each.found.faults for each in found]
    return f"{len(held):,} | {sum(held):,} | {len(held) - sum(held):,}"


def summary(name: str, found: Sequence[Trial]) -> str:
    """How far it has come."""
    ends = Counter(each.found.ended.end for each in found)
    told = f"{row(name, found)}   {', '.join(f'{end} {count}' for end, count in ends.items())}"
    return "\n".join([told, *broken(name, found)])


if __name__ == "__main__":
    sys.exit(main())
