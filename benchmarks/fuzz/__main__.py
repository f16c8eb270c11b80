"""Odd input of every kind, made by Hypothesis: each must be taken, or refused in words.

::

    python -m benchmarks.fuzz [--minutes 10] [--kind params ...] [--seed 0] [--keep FOLDER]

A good file of each kind is changed: bytes at random, or one to three of its values. New values are of other types, of
odd sizes, or stand at odd places. The code that reads such a file from a user then reads this one. It **holds** where
it is taken, or refused with an error of this project. It **gives way** where anything else is raised, or where reading
takes more than 20 seconds. What gave way is made as small as Hypothesis can, and written to the folder of ``--keep``.
Put it into ``tests/contracts/odd`` once it is mended. The program ends with 1 where one gave way.
"""

import argparse
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, Phase, given, seed, settings

from benchmarks.fuzz.kinds import KINDS
from benchmarks.fuzz.odd import odd
from benchmarks.fuzz.trial import take

BATCH: Final = 200  # inputs between two looks at the clock


def fuzz(name: str, seconds: float, first: int, folder: Path, keep: Path | None) -> tuple[dict[str, int], str]:
    """Try a kind for so long; returns how many were taken and refused, and what gave way."""
    kind, counts, end, number = KINDS[name], {"taken": 0, "refused": 0}, time.monotonic() + seconds, first
    last = b""

    def holds(content: bytes) -> None:
        nonlocal last
        last = content
        counts[take(kind, content, folder)] += 1

    calm = settings(
        max_examples=BATCH,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    while time.monotonic() < end:
        number += 1
        try:
            seed(number)(calm(given(odd(kind))(holds)))()
        except Exception as error:  # whatever it is, it is what this looks for
            if keep:
                (keep / f"{name}-{number}{kind.suffix}").write_bytes(last)
            return counts, f"{type(error).__name__}: {str(error)[:300]}"
    return counts, ""


@contextlib.contextmanager
def _elsewhere() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        before, folder = Path.cwd(), Path(name)
        (folder / "params.yaml").touch()
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(before)


def main() -> int:
    """Run the benchmark from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=[*KINDS])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    chosen = parser.parse_args()
    keep = chosen.keep.resolve() if chosen.keep else None
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
    print("| kind | tried | taken | refused with a reason | gave way |\n|---|---:|---:|---:|---|")
    total, is_held = 0, True
    with _elsewhere() as folder:
        for name in chosen.kind:
            counts, why = fuzz(name, chosen.minutes * 60 / len(chosen.kind), chosen.seed * 10_000, folder, keep)
            tried = sum(counts.values()) + bool(why)
            total, is_held = total + tried, is_held and not why
            print(f"| {name} | {tried:,} | {counts['taken']:,} | {counts['refused']:,} | {why or 'none'} |", flush=True)
    print(f"\n{total:,} inputs.")
    return not is_held


if __name__ == "__main__":
    sys.exit(main())
