"""The trees of the head: LightGBM against scikit-learn, in cost and in what they find.

    python -m benchmarks.trees cost [--rows 3000 50000 500000] [--rounds 2] [--ways LightGBM ...]
    python -m benchmarks.trees found ../shared/data/cicids2017_improved [--seeds 3] [--first 0] [--ways LightGBM ...]

``cost``: processor seconds of one set of trees on embedded records, benign against all attacks, and of its scores; the
best round counts. ``found``: each family of the seen attacks is left out of train in turn, then none. The trees rank
what was left out, or the seen attacks of val, against the benign records of val and calibration. No unseen attack and
no test record has a part. AUROC and recall at a realised FPR of 1 % and 0.1 %, in %, and processor seconds of the whole
fit, tails among it: mean and standard deviation over seeds, which draw the splits and grow the trees.

Ways: scikit-learn's trees, as shipped, which draw the rows of each tree where there are many; LightGBM on all rows.
There each split draws its share of the features, as in scikit-learn, or each tree does. LightGBM comes with the extra
``lightgbm``.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import encoders
from benchmarks.choice import RECIPE
from benchmarks.encoders import LEAST, Drawing, heading, show
from benchmarks.lightgbm_trees import Binned, Growth, Nodes
from pipeline.datasets.schema import FEATURE_NAMES, PROVENANCE
from pipeline.datasets.synthetic import Synthetic
from pipeline.evaluation.metrics import auroc, tpr_at_fpr
from pipeline.models.detectors.boosting import Boosting

PORT = replace(RECIPE, rarity=("destination_port",))
Row = dict[str, float]


class Finer(Growth):
    """255 bins, as scikit-learn has."""

    def parameters(self) -> dict[str, Any]:
        """Those of LightGBM."""
        return super().parameters() | {"max_bin": 255}


class PerTree(Finer):
    """Each tree draws its share of the features once."""

    def parameters(self) -> dict[str, Any]:
        """Those of LightGBM."""
        return super().parameters() | {"feature_fraction": self.share, "feature_fraction_bynode": 1.0}


class ByLightGBM(Boosting):
    """The head with LightGBM's trees, grown on rows that are binned once."""

    growing: type[Growth] = Growth

    def fit(self, x: Tensor, y: Tensor | None = None) -> None:
        """Grow the trees and fit the tails."""
        number = np.zeros(len(x), np.int64) if y is None else y.numpy()
        growth = self.growing(self.trees, self.leaves, self.learning_rate, self.share, self.l2, self.seed)
        rows, families = Binned(x.float().numpy(), number != 0, growth), self._groups(number)
        nodes = Nodes.of(rows.grow([~rows.attack | family for family in families]), self.trees)
        for name, array in nodes._asdict().items():
            setattr(self, name, torch.as_tensor(array).to(getattr(self, name)))
        self.start = torch.zeros(len(families))  # the first tree of each set has it
        self.fit_units(torch.from_numpy(self._left_out(rows, families)))

    def _left_out(self, rows: Binned, families: Sequence[NDArray[np.bool_]]) -> NDArray[np.float64]:
        """(n, G) log-odds of the benign rows by trees that grow without them, part by part."""
        benign = ~rows.attack
        if len(families) == 1:
            return np.zeros((int(benign.sum()), 1))  # the score is the log-odds themselves
        part = np.full(len(benign), -1)
        part[benign] = np.random.default_rng(self.seed).integers(self.parts, size=int(benign.sum()))
        odds = np.empty((len(benign), len(families)))
        for left_out in (part == number for number in np.unique(part[benign])):
            kept = benign & ~left_out
            models = rows.grow([kept | family for family in families])
            odds[left_out] = rows.odds(models, left_out) + np.log(kept.sum() / benign.sum())
        return odds[benign]


class WithFiner(ByLightGBM):
    """The same with 255 bins."""

    growing = Finer


class WithPerTree(ByLightGBM):
    """The same with 255 bins, and features drawn for each tree."""

    growing = PerTree


WAYS: dict[str, Callable[..., Boosting]] = {
    "scikit-learn": Boosting,
    "LightGBM": ByLightGBM,
    "LightGBM, 255 bins": WithFiner,
    "LightGBM, 255 bins, features drawn for each tree": WithPerTree,
}


@contextmanager
def processor() -> Iterator[list[float]]:
    """Puts the processor seconds of its body into the list."""
    spent: list[float] = []
    start = time.process_time()
    yield spent
    spent.append(time.process_time() - start)


def embedded(rows: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features, (n, F), of embedded records, and the number of the family of each, (n,), 0 for a benign one."""
    records = pa.concat_tables(chunk.records for chunk in Synthetic(records=rows, seed=seed).read())
    names = [name for name in records.column_names if name not in PROVENANCE]
    columns = {name: encoders._column(records.column(name)) for name in names}
    family = np.asarray(records.column("attack").cast(pa.string()).to_pylist(), dtype=object)
    benign, number = family == "benign", np.unique(family, return_inverse=True)[1] + 1
    features = encoders.fitted(columns, benign, PORT.within(names, FEATURE_NAMES)[0])
    x = np.stack([*features.map(columns).values()], 1).astype(np.float32)
    return torch.from_numpy(x), torch.from_numpy(np.where(benign, 0, number))


def cost(names: Sequence[str], sizes: Sequence[int], rounds: int) -> None:
    """Print the table of costs."""
    print("| rows | trees | fit, CPU-s | rows per CPU-second | scores per CPU-second |")
    print("|---:|---|---:|---:|---:|")
    for size in sizes:
        x, y = embedded(size)
        best = {name: [float("inf")] * 2 for name in names}
        for _ in range(rounds):
            for name in names:
                head = WAYS[name](x.shape[1], families="together")
                with processor() as fit:
                    head.fit(x, y)
                with processor() as score, torch.inference_mode():
                    head.score(x[:50_000])
                best[name] = [*map(min, best[name], (*fit, *score))]
        for name, (fit_s, score_s) in best.items():
            rates = f"{len(x) / fit_s:,.0f} | {len(x[:50_000]) / score_s:,.0f}"
            print(f"| {len(x):,} | {name} | {fit_s:.2f} | {rates} |", flush=True)


def judged(make: Callable[..., Boosting], drawing: Drawing, left_out: str | None, seed: int) -> Row:
    """The figures of one fit without a family; on the seen attacks of val where no family is left out."""
    benign = drawing.families == "benign"
    number = np.where(benign, 0, np.unique(drawing.families, return_inverse=True)[1] + 1)
    kept, x = drawing.families != left_out, drawing.x["train"]
    others = drawing.x["val"][drawing.attack["val"] != "benign"] if left_out is None else x[~kept]
    rows = [drawing.x[name][drawing.attack[name] == "benign"] for name in ("val", "calibration")]
    head = make(x.shape[1], seed=seed)
    with processor() as spent:
        head.fit(torch.from_numpy(x[kept]), torch.from_numpy(number[kept]))
    with torch.inference_mode():
        score = head.score(torch.from_numpy(np.concatenate([*rows, others]))).double().numpy()
    attack = np.arange(len(score)) >= sum(map(len, rows))
    recall = {f"recall at {fpr:.1%}": 100 * (tpr_at_fpr(attack, score, fpr) or 0.0) for fpr in (0.01, 0.001)}
    return {"AUROC": 100 * (auroc(attack, score) or 0.0), **recall, "CPU-s": spent[0]}


def found(ways: Sequence[str], folder: Path, seeds: Sequence[int]) -> None:
    """Print the table of what is found, once for each family as soon as it is known."""
    records = encoders.read(folder)
    drawings = [Drawing(records, seed, PORT, "benign") for seed in seeds]
    names, counts = np.unique(drawings[0].families, return_counts=True)
    frequent = [str(name) for name in names[counts >= LEAST] if name != "benign"]
    every: dict[str, list[list[Row]]] = {name: [] for name in ways}
    for family in (None, *frequent):
        for name in ways:
            rows = [judged(WAYS[name], drawing, family, seed) for seed, drawing in zip(seeds, drawings, strict=True)]
            if not every[name] and name == ways[0]:
                heading([*rows[0]], "left out, trees")
            show(f"{family or 'none: the seen attacks of val'}, {name}", rows, [*rows[0]])
            every[name].append(rows)
    for name, each in every.items():
        seed_means = [
            {key: float(np.mean([row[key] for row in rows])) for key in rows[0]} for rows in zip(*each[1:], strict=True)
        ]
        show(f"mean over the families left out, {name}", seed_means, [*seed_means[0]])


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    costs = commands.add_parser("cost")
    costs.add_argument("--rows", type=int, nargs="+", default=[3_000, 50_000, 500_000])
    costs.add_argument("--rounds", type=int, default=2)
    costs.set_defaults(run=lambda given: cost(given.ways, given.rows, given.rounds))
    finds = commands.add_parser("found")
    finds.add_argument("folder", type=Path)
    finds.add_argument("--seeds", type=int, default=3)
    finds.add_argument("--first", type=int, default=0, help="the first seed")
    finds.set_defaults(run=lambda given: found(given.ways, given.folder, range(given.first, given.first + given.seeds)))
    for command in (costs, finds):
        command.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    given = parser.parse_args()
    given.run(given)


if __name__ == "__main__":
    main()
