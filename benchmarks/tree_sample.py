"""On how many rows a tree of the head is grown: what it costs, and what is found of attacks that were left out.

    python -m benchmarks.tree_sample [--records 200000] [--seeds 2]

Embedded records; each family of attacks is left out in turn. The trees learn the others together. They rank what was
left out against benign records that they have not seen, a quarter of all. AUROC, and recall at a realised FPR of 1 %
and of 0.1 %, in %: means over the families, with the standard deviation over the seeds, which draw the records and grow
the trees. Processor seconds are those of all fits of a seed.

Ways: all rows; the rows that the trees so far are not sure of (``growth.draw``; 20,000 is shipped); 60,000 that are
drawn evenly, once.
"""

import argparse
import time
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.trees import embedded
from pipeline.evaluation.metrics import auroc, tpr_at_fpr
from pipeline.models.detectors.boosting import Boosting

EVERY = 10**9
WAYS: Mapping[str, Mapping[str, int]] = {
    "all rows": {"sample": EVERY},
    "20,000 that are not sure (shipped)": {},
    "10,000 that are not sure": {"sample": 10_000},
    "5,000 that are not sure": {"sample": 5_000},
    "40,000 that are not sure": {"sample": 40_000},
    "60,000 drawn evenly": {"sample": EVERY, "max_rows": 60_000},
}


def found(x: Tensor, number: NDArray[np.int64], settings: Mapping[str, int], seed: int) -> list[float]:
    """Means over the families that are left out in turn: AUROC, both recalls; and processor seconds of all fits."""
    test = np.random.default_rng(seed).random(len(x)) < 0.25
    every, spent = [], 0.0
    for left_out in np.unique(number[number > 0]):
        rows = ~test & (number != left_out)
        start = time.process_time()
        head = Boosting(x.shape[1], families="together", seed=seed, **settings)
        head.fit_raw(x[rows], torch.from_numpy(number[rows]))
        spent += time.process_time() - start
        some = (test & (number == 0)) | (number == left_out)
        attack, score = number[some] > 0, head.score(x[some]).numpy().astype(np.float64)
        every.append([auroc(attack, score), tpr_at_fpr(attack, score, 0.01), tpr_at_fpr(attack, score, 0.001)])
    return [*(100 * np.mean(every, axis=0)), spent]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    measured: dict[str, list[list[float]]] = {name: [] for name in given.only}
    for seed in range(given.seeds):
        x, number = embedded(given.records, seed)
        for name in given.only:
            measured[name].append(found(x, number.numpy(), WAYS[name], seed))
    print("| rows of a tree | AUROC | recall at 1 % | recall at 0.1 % | CPU-s of all fits |")
    print("|---|---:|---:|---:|---:|")
    for name, seeds in measured.items():
        mean, spread = np.mean(seeds, axis=0), np.std(seeds, axis=0, ddof=min(1, given.seeds - 1))
        shown = " | ".join(f"{one:.1f} ± {other:.1f}" for one, other in zip(mean, spread, strict=True))
        print(f"| {name} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
