"""What the shipped detector was chosen by: seen families that had no part in the training, one after the other.

    python -m benchmarks.choice ../shared/data/cicids2017_improved [--seeds 2]

Each family of the seen attacks is left out of train in turn. Densities are fitted on the benign train rows, heads on
those and the other families; the tails of both on the benign calibration records; the family's train records are ranked
against the benign ones of val. No unseen attack and no test record has a part. Mean AUROC over the families, the worst,
and the mean recall at a realised FPR of 1 % on val; mean and standard deviation over seeds, which draw the splits.
"""

import argparse
import itertools
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.encoders import LEAST, Drawing, heading, mapped, read, show
from pipeline.detectors import DETECTORS, Detector
from pipeline.evidence import FUSIONS, Evidence, Tail
from pipeline.features import Recipe
from pipeline.metrics import auroc, tpr_at_fpr
from pipeline.registry import build

DERIVED = ("bytes_per_packet", "packets_per_second")
RECIPES = {
    "sizes": Recipe(scaling="quantile", derive=DERIVED),
    "and ratios": Recipe(scaling="quantile", derive=(*DERIVED, "ratios")),
}
DENSITIES: dict[str, tuple[str, dict[str, Any]]] = {
    "neighbour": ("knn", {"neighbours": 1}),
    "whitened": ("knn", {"neighbours": 1, "metric": "whitened"}),
    "mixture": ("gmm", {}),
    "forest": ("isolation_forest", {}),
}
HEADS = {"8 leaves": {"leaves": 8}, "31 leaves": {"leaves": 31, "share": 1.0, "l2": 0.0}}

Scores = dict[str, NDArray[np.float64]]
Row = dict[str, float]


def fitted(name: str, settings: dict[str, Any], x: NDArray[np.float32], y: NDArray[np.bool_]) -> Detector:
    """A detector in closed form."""
    detector = build(DETECTORS, name, features=x.shape[1], **settings)
    detector.initialise_labelled(torch.from_numpy(x), torch.from_numpy(y.astype(np.int64)))
    return detector


def surprises(detector: Detector, drawing: Drawing, rows: NDArray[np.float32]) -> Evidence:
    """Of rows, by the tail of the benign calibration records."""
    value = mapped(detector.score, rows).astype(np.float64)
    return Evidence(value, Tail.fit(mapped(detector.score, drawing.x["calibration"])).surprise(value))


def judged(y: NDArray[np.bool_], score: NDArray[np.float64]) -> tuple[float, float]:
    """AUROC, and recall at a realised FPR of 1 %."""
    return auroc(y, score) or 0.0, tpr_at_fpr(y, score, 0.01) or 0.0


def inner(drawing: Drawing) -> dict[str, Row]:
    """Combination -> its figures."""
    found: dict[str, list[tuple[float, float]]] = {}
    train, families = drawing.x["train"], drawing.families
    benign, val = families == "benign", drawing.x["val"][drawing.attack["val"] == "benign"]
    densities = {
        name: fitted(kind, settings, train[benign], families[benign] != "benign")
        for name, (kind, settings) in DENSITIES.items()
    }
    names, counts = np.unique(families, return_counts=True)
    for family in names[(counts >= LEAST) & (names != "benign")]:
        rows = np.concatenate([val, train[families == family]])
        y, kept = np.arange(len(rows)) >= len(val), families != family
        said = {name: surprises(each, drawing, rows) for name, each in densities.items()}
        heads = {
            name: surprises(fitted("boosting", settings, train[kept], ~benign[kept]), drawing, rows)
            for name, settings in HEADS.items()
        }
        for name, each in (said | heads).items():
            found.setdefault(name, []).append(judged(y, each.surprise))
        for head, density, fusion in itertools.product(heads, said, ("fisher", "max", "harmonic")):
            score = FUSIONS[fusion]({"density": said[density], "head": heads[head]})
            found.setdefault(f"{head}, {density}, {fusion}", []).append(judged(y, score))
    return {name: _row(pairs) for name, pairs in found.items()}


def _row(pairs: list[tuple[float, float]]) -> Row:
    aurocs, recalls = zip(*pairs, strict=True)
    return {
        "mean AUROC": 100 * statistics.mean(aurocs),
        "worst": 100 * min(aurocs),
        "recall at 1 %": 100 * statistics.mean(recalls),
    }


def main() -> None:
    """Print the table of one folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    records = read(given.folder)
    for title, recipe in RECIPES.items():
        tables = [inner(Drawing(records, seed, recipe, "benign")) for seed in range(given.seeds)]
        shown = [*next(iter(tables[0].values()))]
        print(f"\n{title}")
        heading(shown)
        for name in tables[0]:
            show(name, [table[name] for table in tables], shown)


if __name__ == "__main__":
    main()
