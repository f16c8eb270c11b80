"""What the shipped detector was chosen by: seen attacks that had no part in the training, one after the other.

    python -m benchmarks.choice ../shared/data/cicids2017_improved [--seeds 4] [--port rarity]
    python -m benchmarks.choice ../shared/data/nslkdd --nslkdd

Each family of the seen attacks is left out of train in turn, and each attack of a family that has several. Densities
are fitted on the benign train rows, heads on those and the other attacks; the tails of both on the benign calibration
records; what was left out is ranked against the benign records of val, and once more with val and calibration
exchanged. No unseen attack and no test record has a part.

For families: mean AUROC, the worst, mean recall at a realised FPR of 1 % and of 0.1 %; for attacks, the others of whose
family are seen: mean AUROC and both recalls; then the mean of all. In %, mean and standard deviation over seeds, which
draw the splits. ``--port``: with the destination port among the features, as a ``number`` or as its ``rarity``.
"""

import argparse
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from benchmarks import settings
from benchmarks.encoders import LEAST, Drawing, heading, mapped, read, show
from pipeline.base.registry import build
from pipeline.calibration.fusion import FUSIONS, Score
from pipeline.calibration.surprisal import Surprisal
from pipeline.datasets.nslkdd import NSLKDD
from pipeline.evaluation.metrics import auroc, tpr_at_fpr
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.registry import DETECTORS

RECIPE = replace(settings.RECIPE, scaling="quantile", derive=("bytes_per_packet", "packets_per_second", "ratios"))
PORTS: dict[str, dict[str, Any]] = {"none": {}, "number": {"drop": ()}, "rarity": {"rarity": ("destination_port",)}}
DENSITIES: dict[str, tuple[str, dict[str, Any]]] = {
    "neighbour": ("knn", {"neighbours": 1}),
    "whitened": ("knn", {"neighbours": 1, "metric": "whitened"}),
    "mixture": ("gmm", {}),
    "ensemble": ("ensemble", {}),
    "and forest": (
        "ensemble",
        {"members": {"knn": {"neighbours": 1}, "gmm": {}, "isolation_forest": {}}},
    ),
}
HEADS: dict[str, dict[str, Any]] = {
    "before": {"families": "together", "trees": 200},  # as shipped before
    "together": {"families": "together"},
    "each": {"families": "each"},
    "both": {},
}
FUSED = ("fisher", "max")
BENIGN = ("val", "calibration")

Scores = dict[str, NDArray[np.float64]]  # of the rows of val, of calibration, and of what was left out
Row = dict[str, float]


def fitted(name: str, settings: dict[str, Any], x: NDArray[np.float32], y: NDArray[np.int64]) -> Detector:
    """A detector in closed form."""
    detector = build(DETECTORS, name, features=x.shape[1], **settings)
    detector.fit(torch.from_numpy(x), torch.from_numpy(y))
    return detector


def scores(detector: Detector, rows: dict[str, NDArray[np.float32]]) -> Scores:
    """Of all rows."""
    return {name: mapped(detector.score, x).astype(np.float64) for name, x in rows.items()}


def score_of(said: Scores, judge: str, against: str) -> Score:
    """Of the benign rows ``against`` which the others are ranked, and those, by the tail of the rows ``judge``."""
    value = np.concatenate([said[against], said["left out"]])
    return Score(value, Surprisal.fit(said[judge]).surprise(value))


def combined(densities: dict[str, Scores], heads: dict[str, Scores]) -> Iterator[tuple[str, float, float, float]]:
    """Each density, each head and each pair with its AUROC and recall at 1 % and 0.1 % FPR, twice."""
    for judge, against in (BENIGN, BENIGN[::-1]):
        said = {name: score_of(each, judge, against) for name, each in (densities | heads).items()}
        score = {name: each.surprise for name, each in said.items()}
        for head in heads:
            for density in densities:
                for fusion in FUSED:
                    both = {"detector": said[density], "head": said[head]}
                    score[f"{head}, {density}, {fusion}"] = FUSIONS[fusion](both)
        benign = len(next(iter(densities.values()))[against])
        for name, values in score.items():
            y = np.arange(len(values)) >= benign
            yield (name, auroc(y, values) or 0.0, *(tpr_at_fpr(y, values, fpr) or 0.0 for fpr in (0.01, 0.001)))


def folds(drawing: Drawing) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """What is left out, "family" or "attack", and its train rows."""
    attack = drawing.attack["train"].astype(str)
    for family in _frequent(drawing.families):
        of_family = drawing.families == family
        yield "family", of_family
        attacks = _frequent(attack[of_family])
        for name in attacks if len(set(attack[of_family])) > 1 else []:
            yield "attack", attack == name


def _frequent(names: NDArray[Any]) -> list[str]:
    found, counts = np.unique(names, return_counts=True)
    return [str(name) for name in found[counts >= LEAST] if name != "benign"]


def inner(drawing: Drawing) -> dict[str, Row]:
    """Combination -> its figures."""
    train, number = drawing.x["train"], np.unique(drawing.families, return_inverse=True)[1] + 1
    benign = drawing.families == "benign"
    number[benign] = 0
    rows = {name: drawing.x[name][drawing.attack[name] == "benign"] for name in BENIGN}
    none = np.zeros(int(benign.sum()), np.int64)
    models = {name: fitted(kind, settings, train[benign], none) for name, (kind, settings) in DENSITIES.items()}
    known = {name: scores(model, rows) for name, model in models.items()}
    found: dict[str, dict[str, list[tuple[float, ...]]]] = {}
    for kind, left_out in folds(drawing):
        out = {"left out": train[left_out]}
        densities = {name: known[name] | scores(model, out) for name, model in models.items()}
        kept = ~left_out
        heads = {
            name: scores(fitted("boosting", settings, train[kept], number[kept]), rows | out)
            for name, settings in HEADS.items()
        }
        twice: dict[str, list[tuple[float, ...]]] = {}
        for name, *figures in combined(densities, heads):
            twice.setdefault(name, []).append(tuple(figures))
        for name, each in twice.items():
            means = tuple(statistics.mean(values) for values in zip(*each, strict=True))
            found.setdefault(name, {}).setdefault(kind, []).append(means)
    return {name: _row(kinds) for name, kinds in found.items()}


def _row(kinds: dict[str, list[tuple[float, ...]]]) -> Row:
    row = {}
    for kind, figures in kinds.items():
        aurocs, *recalls = zip(*figures, strict=True)
        row[f"{kind}: AUROC"] = 100 * statistics.mean(aurocs)
        if kind == "family":
            row["worst"] = 100 * min(aurocs)
        for level, values in zip(("1 %", "0.1 %"), recalls, strict=True):
            row[f"{kind}: recall at {level}"] = 100 * statistics.mean(values)
    return row | {"mean": statistics.mean(row.values())}


def kdd(folder: Path) -> pa.Table:
    """A quarter of KDDTrain+, evenly spaced; KDDTest+ is not read."""
    table = pa.concat_tables(chunk.records for chunk in NSLKDD(folder / "KDDTrain+.txt.gz").read())
    return table.take(pa.array(range(0, table.num_rows, 4)))


def main() -> None:
    """Print the table of one folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--nslkdd", action="store_true", help="the folder is that of NSL-KDD")
    parser.add_argument("--port", choices=PORTS, default="none", help="how the features tell the destination port")
    given = parser.parse_args()
    recipe = replace(RECIPE, **PORTS[given.port])
    records = kdd(given.folder) if given.nslkdd else read(given.folder)
    tables = [inner(Drawing(records, seed, recipe, "benign")) for seed in range(given.seeds)]
    shown = [*next(iter(tables[0].values()))]
    heading(shown, "trees, density, fusion")
    for name in tables[0]:
        show(name, [table[name] for table in tables], shown)


if __name__ == "__main__":
    main()
