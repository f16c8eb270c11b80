"""The alarm as it is deployed: recall and realised false alarms at the calibrated thresholds, for each seed.

    python -m benchmarks.deployed ../shared/data/cicids2017_improved [--seeds 0 1 2 3 4] [--kinds cross split]
        [--set preprocess.attempted=exclude ...]

ingest runs once, and preprocess to calibrate for each seed, which draws splits and fits, and each kind of calibration,
as the pipeline runs them with the settings of ``params.yaml``, in a temporary folder. All figures are in %.

First what the calibrated thresholds do: at p99 the recall of the attacks of test_unseen (also at p99.9), of the bots
among them and of the seen attacks of test_seen, and F1 with as many attacks as benign records; the false alarms at p99
and at p99.9 on the benign records of both test splits, and whether the exact interval (Clopper, Pearson, 1934) at 95 %
holds the level.
Then, in the column "own 1 %", the recall that the ranking would allow with a threshold that is read from the test's own
benign records. ``CPU-s`` is the processor time of stage2.
"""

import argparse
import contextlib
import importlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray
from scipy.stats import beta

from pipeline import config
from pipeline.artifacts import paths
from pipeline.artifacts.models import read_model
from pipeline.artifacts.samples import read_samples
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.prediction import Prediction
from pipeline.evaluation.metrics import tpr_at_fpr
from pipeline.settings.sections import SECTIONS
from pipeline.stages.reports.report import Report

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("preprocess", "stage1", "stage2", "calibrate")
LEVELS = {"p99": 0.01, "p99.9": 0.001}
COLUMNS = (
    *("kind", "seed", "n", "unseen", "at p99.9", "bots", "seen", "F1 1:1", "FPR p99", "95 %", "holds", "FPR p99.9"),
    *("own 1 %", "CPU-s"),
)
HEAD = f"| {' | '.join(COLUMNS)} |"


class NoRun:
    """Stands for a tracked run; whatever is logged is forgotten."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *values, **named: None


def run(*stages: str) -> float:
    """Run the bodies of stages in the working folder; processor seconds that they took."""
    started = time.process_time()
    for stage in stages:
        folder = paths.REPORTS / stage
        folder.mkdir(parents=True, exist_ok=True)
        body = getattr(importlib.import_module(f"pipeline.stages.{stage}"), stage)
        body(config.load(SECTIONS[stage]), Report(folder, NoRun()))  # type: ignore[arg-type]
    return time.process_time() - started


def write(params: dict[str, Any], **settings: Any) -> None:
    """Write params.yaml into the working folder, with ``settings`` by their dotted names."""
    for name, value in settings.items():
        *sections, key = name.split(".")
        place = params
        for section in sections:
            place = place[section]
        place[key] = value
    config.PARAMS.write_text(yaml.safe_dump(params))


def exact(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """The Clopper-Pearson interval of a share, k of n."""
    low = float(beta.ppf((1 - level) / 2, k, n - k + 1)) if k else 0.0
    return low, float(beta.ppf((1 + level) / 2, k + 1, n - k)) if k < n else 1.0


def judged(split: str, calibration: Calibration) -> tuple[NDArray[np.str_], Prediction]:
    """Attack names of a test split, and what is said of its records."""
    samples = read_samples(paths.SCORES, split)
    return samples.attack.astype(str), Prediction.of(calibration, *samples.x.T)


def figures() -> dict[str, Any]:
    """What the thresholds in the working folder do."""
    calibration = Calibration.load(*read_model(paths.THRESHOLDS))
    (seen, said_seen), (unseen, said_unseen) = (judged(name, calibration) for name in ("test_seen", "test_unseen"))
    benign = np.concatenate([seen == "benign", unseen == "benign"])
    flags = {name: np.concatenate([each.flagged[name] for each in (said_seen, said_unseen)]) for name in LEVELS}
    alarms, attack = said_unseen.flagged["p99"], unseen != "benign"
    bots = unseen == "bot"
    found = {
        "n": calibration.reference.size,
        "recall": alarms[attack].mean(),
        "strict": said_unseen.flagged["p99.9"][attack].mean(),
        "bots": alarms[bots].mean() if bots.any() else np.nan,
        "seen": said_seen.flagged["p99"][seen != "benign"].mean(),
        "own": tpr_at_fpr(attack, said_unseen.score, 0.01),
        "benign": int(benign.sum()),
        **{f"false.{name}": int(flags[name][benign].sum()) for name in LEVELS},
    }
    fpr = found["false.p99"] / found["benign"]
    return found | {"f1": 2 * found["recall"] / (1 + found["recall"] + fpr)}


def line(kind: str, seed: object, row: dict[str, Any]) -> str:
    """A line of the table."""
    shares = " | ".join(f"{100 * row[name]:.2f}" for name in ("recall", "strict", "bots", "seen", "f1"))
    fpr = [100 * row[f"false.{name}"] / row["benign"] for name in LEVELS]
    low, high = exact(row["false.p99"], row["benign"])
    holds = "yes" if low <= LEVELS["p99"] <= high else "no"
    return (
        f"| {kind} | {seed} | {row['n']:,} | {shares} | {fpr[0]:.2f} | {100 * low:.2f} to {100 * high:.2f} | {holds} | "
        f"{fpr[1]:.3f} | {100 * row['own']:.2f} | {row['seconds']:.0f} |"
    )


def pooled(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over the seeds, and all false alarms together."""
    whole = {name: statistics.mean(float(row[name]) for row in rows) for name in rows[0]}
    counts = {name: sum(row[name] for row in rows) for name in ("benign", *(f"false.{level}" for level in LEVELS))}
    return whole | counts | {"n": rows[0]["n"]}


def main() -> None:
    """Print a line for each kind and seed, and one for all seeds of a kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--kinds", nargs="+", choices=("cross", "split"), default=["cross", "split"])
    parser.add_argument("--dataset", default="cicids2017")
    parser.add_argument("--set", dest="settings", nargs="*", default=[], metavar="NAME=VALUE")
    given = parser.parse_args()
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    settings = {name: yaml.safe_load(value) for name, value in (each.split("=", 1) for each in given.settings)}
    settings |= {"ingest.dataset": given.dataset, "ingest.path": str(given.folder.resolve())}
    rows: dict[str, list[dict[str, Any]]] = {kind: [] for kind in given.kinds}
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch):
        write(params, **settings)
        run("ingest")
        print(f"{HEAD}\n|---|{'---:|' * (HEAD.count('|') - 2)}", flush=True)
        for seed in given.seeds:
            seeds = {"preprocess.seed": seed, "stage2.fit.seed": seed, "stage2.calibration.seed": seed}
            for number, kind in enumerate(given.kinds):
                write(params, **seeds, **{"stage2.calibration.kind": kind})
                if not number:
                    run(*STAGES[:2])
                seconds = run("stage2")
                run("calibrate")
                rows[kind].append(figures() | {"seconds": seconds})
                print(line(kind, seed, rows[kind][-1]), flush=True)
    for kind, found in rows.items():
        print(line(kind, "all", pooled(found)))


if __name__ == "__main__":
    sys.exit(main())
