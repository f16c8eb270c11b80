"""How many labelled records of an attack a head needs to find the others, and what is left where it has seen many.

    python -m benchmarks.ceiling ../shared/data/cicids2017_improved [--attacks bot] [--seeds 5]

The trees are the shipped ones, and the features, but for the rarity of the port; the densities have no part. Some
records of an attack, drawn by seed, are labelled and join the train rows; those that are left, no copies of the
labelled ones among them, are ranked against the benign rows of val. AUROC and recall at a realised FPR of 1 % and 0.1 %
in %, mean and standard deviation over seeds. With 0 labelled records the trees know the seen attacks alone; what they
find with many is what the features allow. The attacks are unseen ones, so that nothing may be chosen by this table.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from benchmarks.choice import RECIPE
from benchmarks.encoders import UNSEEN, Drawing, heading, mapped, read, show
from pipeline.base.samples import row_hash
from pipeline.evaluation.metrics import auroc, tpr_at_fpr
from pipeline.models.detectors.boosting import Boosting

LABELLED = (0, 5, 20, 100)
Row = dict[str, float]


def judged(drawing: Drawing, attack: str, labelled: int, seed: int) -> Row | None:
    """The figures where so many records of an attack are labelled; None where too few are left."""
    train, number = drawing.x["train"], np.unique(drawing.families, return_inverse=True)[1] + 1
    number[drawing.families == "benign"] = 0
    rows = drawing.x["test_unseen"][drawing.attack["test_unseen"] == attack]
    rows = rows[np.random.default_rng(seed).permutation(len(rows))]
    content = row_hash(list(rows.T))
    others = rows[labelled:][~np.isin(content[labelled:], content[:labelled])]
    if len(others) < 5:
        return None
    head = Boosting(train.shape[1])
    x = np.concatenate([train, rows[:labelled]])
    y = np.concatenate([number, np.full(labelled, number.max() + 1)])
    head.fit(torch.from_numpy(x), torch.from_numpy(y))
    benign = drawing.x["val"][drawing.attack["val"] == "benign"]
    score = mapped(head.score, np.concatenate([benign, others]))
    is_attack = np.arange(len(score)) >= len(benign)
    recalls = {f"recall at {fpr:.1%}": 100 * (tpr_at_fpr(is_attack, score, fpr) or 0.0) for fpr in (0.01, 0.001)}
    return {"others": float(len(others)), "AUROC": 100 * (auroc(is_attack, score) or 0.0), **recalls}


def main() -> None:
    """Print the table of one folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--attacks", nargs="+", default=list(UNSEEN))
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    records = read(given.folder)
    drawings = [Drawing(records, seed, RECIPE, "benign") for seed in range(given.seeds)]
    heading(["others", "AUROC", "recall at 1.0%", "recall at 0.1%"], "attack")
    for attack in given.attacks:
        for labelled in LABELLED:
            rows = [judged(drawing, attack, labelled, seed) for seed, drawing in enumerate(drawings)]
            if found := [row for row in rows if row is not None]:
                show(f"{attack}, {labelled} labelled", found, [*found[0]])


if __name__ == "__main__":
    main()
