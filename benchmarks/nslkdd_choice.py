"""How the settings of GRAnD in ``benchmarks.nslkdd`` were chosen: on rows of KDDTrain+ alone.

    python -m benchmarks.nslkdd_choice ../shared/data/nslkdd --seeds 5

First, how early a model tells the hidden attacks apart: their AUROC among the training rows, 20 % hidden, after 1 to 8
epochs without updates. Then the AUROC on 20,000 labelled rows of KDDTrain+ that no training row is drawn from, for the
fences that can be asked for and for both likelihoods. No row of KDDTest+ is read.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.adbench import Split
from benchmarks.nslkdd import BATCH
from benchmarks.nslkdd_rows import Records, draw, features, read
from benchmarks.settings import FIT
from pipeline.calibration.confidence import Binary
from pipeline.calibration.thresholds.evt import EVT
from pipeline.evaluation.metrics import auroc
from pipeline.models.base import Batch
from pipeline.models.detectors.free_energy import Likelihood
from pipeline.models.detectors.grand import GRAnD
from pipeline.models.scoring import ROWS_AT_ONCE, in_batches
from pipeline.models.training import Updates, fit

BENIGN, HELD_OUT = 20_000, 20_000
EARLY, EPOCHS = (1, 2, 4, 8), 20
ALPHAS, SHARES = (0.75, 1.0, 1.25, 1.5), (0.0, 0.1, 0.2)


def split(known: Records, share: float, seed: int) -> Split:
    """Training rows with hidden attacks, and labelled rows beside them."""
    rows = draw(known.y, share, BENIGN, np.random.default_rng(seed))
    rest = np.setdiff1d(np.arange(len(known.y)), rows)
    held = np.random.default_rng(1000 + seed).permutation(rest)[:HELD_OUT]
    train, other = known.at(rows), known.at(held)
    x = features(train.columns, other.columns)
    return Split(x[0], train.y, x[1], other.y)


def judged(
    data: Split, seed: int, likelihood: Likelihood, epochs: int, updates: Updates | None = None
) -> tuple[float, float]:
    """AUROC in %, of the hidden attacks among the training rows, and on the rows beside them."""
    torch.manual_seed(seed)
    settings = {"margin": 10.0, "margin_per": "record", "unknown": "ignore", "standardise": False}
    model = GRAnD(data.x_train.shape[1], likelihood=likelihood, **settings)  # type: ignore[arg-type]
    x = torch.from_numpy(data.x_train)
    cut = round(0.95 * len(x))
    train, val = (Batch(part, torch.zeros(len(part)), torch.ones(len(part))) for part in (x[:cut], x[cut:]))
    training = replace(
        FIT, epochs=epochs, batch_size=BATCH, learning_rate=1e-3, optimizer="adam", schedule="constant", seed=seed,
        keep="last", device="cpu",
    )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="nslkdd-") as folder:
        fit(model, train, val, training, Path(folder), progress=False, updates=updates)
    pairs = ((data.y_train, data.x_train), (data.y_test, data.x_test))
    within, beside = (auroc(y, in_batches(model.score, rows, ROWS_AT_ONCE, "cpu")) for y, rows in pairs)
    return 100 * (within or np.nan), 100 * (beside or np.nan)


def fence(alpha: float, warm_up: int) -> Updates:
    """Updates after each epoch from ``warm_up`` on."""
    return Updates(EVT(q=0.01, u="lower", alpha=alpha), Binary(), every_n_epochs=1, warm_up=warm_up, max_share=1.0)


def lines(known: Records, seeds: int) -> Iterator[str]:
    """Both tables."""
    hidden = [split(known, SHARES[-1], seed) for seed in range(seeds)]
    yield f"| likelihood | {' | '.join(f'{each} epochs' for each in EARLY)} |\n|---|{'---:|' * len(EARLY)}"
    for likelihood in ("gaussian", "bernoulli"):
        cells = [[judged(each, i, likelihood, epochs)[0] for i, each in enumerate(hidden)] for epochs in EARLY]
        yield f"| {likelihood} | {' | '.join(map(_cell, cells))} |"
    heads = " | ".join(f"{100 * share:g} %" for share in SHARES)
    yield f"\n| likelihood, warm-up, alpha | {heads} |\n|---|{'---:|' * len(SHARES)}"
    tried: list[tuple[str, Likelihood, Callable[[], Updates | None]]] = [
        (f"bernoulli, 2, {alpha:g}", "bernoulli", lambda alpha=alpha: fence(alpha, 2)) for alpha in ALPHAS
    ]
    tried += [(f"gaussian, 1, {alpha:g}", "gaussian", lambda alpha=alpha: fence(alpha, 1)) for alpha in (1.0, 1.5)]
    tried += [(f"{kind}, no updates", kind, lambda: None) for kind in ("bernoulli", "gaussian")]
    for name, likelihood, updates in tried:
        cells = [
            [judged(split(known, share, seed), seed, likelihood, EPOCHS, updates())[1] for seed in range(seeds)]
            for share in SHARES
        ]
        yield f"| {name} | {' | '.join(map(_cell, cells))} |"


def _cell(values: list[float]) -> str:
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def main() -> None:
    """Measure, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5, help="at least 2")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for line in lines(read(given.folder, "KDDTrain+"), given.seeds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
