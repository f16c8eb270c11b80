"""What stage 2 costs, by the code of one checkout or of several, and whether their scores are the same.

    python -m benchmarks.stage2 PROJECT [--code . ../before] [--rounds 1]

PROJECT is a folder in which the stages before have run. Its data are copied, so nothing in it changes. Processor
seconds are those of the whole process, imports among them; the best round counts. Scores are compared with those of the
first code, over all splits and both detectors.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

NEEDED = ("params.yaml", "dvc.yaml")


def run(project: Path, code: Path) -> tuple[float, float, dict[str, pd.DataFrame]]:
    """Processor seconds, peak memory in GB, and the scores of each split."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        shutil.copytree(project / "data", folder / "data", ignore=shutil.ignore_patterns("registered", "scores"))
        for name in NEEDED:
            shutil.copy(project / name, folder)
        env = os.environ | {"PYTHONSAFEPATH": "1", "PYTHONPATH": str(code.resolve())}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "pipeline.stages.stage2"], cwd=folder, env=env, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        scores = {path.stem: pd.read_parquet(path) for path in sorted((folder / "data" / "scores").glob("*.parquet"))}
    spent = sum(getattr(after, name) - getattr(before, name) for name in ("ru_utime", "ru_stime"))
    return spent, after.ru_maxrss / 1e6, scores


def differing(first: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame]) -> tuple[int, int, float]:
    """How many scores differ, of how many, and the largest difference relative to the score."""
    pairs = [
        (first[split][name].to_numpy(float), other[split][name].to_numpy(float))
        for split in first
        for name in ("detector", "head")
        if name in first[split]
    ]
    one, two = (np.concatenate(each) for each in zip(*pairs, strict=True))
    return int((one != two).sum()), one.size, float((np.abs(one - two) / np.maximum(np.abs(one), 1e-9)).max())


def table(project: Path, codes: Sequence[Path], rounds: int) -> None:
    """Print one line for each code."""
    first = None
    best = {code: float("inf") for code in codes}
    lines = {}
    for _ in range(rounds):
        for code in codes:
            spent, memory, scores = run(project, code)
            first = scores if first is None else first
            best[code] = min(best[code], spent)
            differ, of, most = differing(first, scores)
            lines[code] = f"{memory:.2f} | {differ:,} of {of:,} | {most:.1e}"
    print("| code | CPU-s | peak, GB, of all so far | scores that differ from the first | most, relative |")
    print("|---|---:|---:|---:|---:|")
    for code in codes:
        print(f"| {code} | {best[code]:.1f} | {lines[code]} |")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--code", type=Path, nargs="+", default=[Path()])
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    table(options.project, options.code, options.rounds)


if __name__ == "__main__":
    main()
