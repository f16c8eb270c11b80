"""False alarms of each protocol, with one threshold for all records and with one for each protocol.

    python -m benchmarks.groups ../shared/data/cicids2017_improved [--seeds 5] [--column protocol]

The shipped features, but for the rarity of the port, and densities, without a head; thresholds of the fused score from
the benign calibration records, false alarms on the benign records of both test splits and of val. In %, for what was
promised at 1 % and 5 %, over all seeds together, which draw the splits.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

from benchmarks.choice import RECIPE, fitted
from benchmarks.encoders import Drawing, mapped, read
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.named_thresholds import group_names
from pipeline.calibration.prediction import Prediction

TESTS = ("val", "test_seen", "test_unseen")
NAMED = ("p99", "p95")

Counts = Counter[tuple[str, str, str]]  # (who decides, group, threshold, or "" for how many there are) -> records


def judged(drawing: Drawing, column: str, counts: Counts) -> None:
    """Add the benign records of one drawing and their false alarms."""
    benign = drawing.benign()
    model = fitted("ensemble", {}, benign, np.zeros(len(benign), np.int64))
    score = {name: mapped(model.score, drawing.x[name]).astype(np.float64) for name in ("calibration", *TESTS)}
    group = {name: group_names(drawing.records[name].column(column).to_pandas().to_numpy()) for name in score}
    zeros = np.zeros(len(score["calibration"]))
    whole = Calibration.fit(zeros, score["calibration"], "detector", [99, 95])
    own = Calibration.fit(zeros, score["calibration"], "detector", [99, 95], group=column, groups=group["calibration"])
    for name in TESTS:
        taken = drawing.attack[name] == "benign"
        for who, calibration in (("one for all", whole), ("one for each", own)):
            said = Prediction.of(calibration, score[name][taken] * 0, score[name][taken], groups=group[name][taken])
            counts.update((who, each, "") for each in group[name][taken])
            for threshold in NAMED:
                counts.update((who, each, threshold) for each in group[name][taken][said.flagged[threshold]])


def main() -> None:
    """Print the table of one folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--column", default="protocol")
    given = parser.parse_args()
    records, counts = read(given.folder), Counts()
    for seed in range(given.seeds):
        judged(Drawing(records, seed, RECIPE, "benign"), given.column, counts)
    print(f"| {given.column} | benign records | thresholds | 1 % promised | 5 % promised |\n|---|---:|---|---:|---:|")
    for who, group, threshold in sorted(counts):
        if not threshold:
            n = counts[who, group, ""]
            rates = " | ".join(f"{100 * counts[who, group, name] / n:.2f}" for name in NAMED)
            print(f"| {group} | {n:,} | {who} | {rates} |")


if __name__ == "__main__":
    main()
