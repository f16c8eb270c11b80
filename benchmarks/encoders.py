"""Encoders and losses of stage 1 on real records: does the shape of seen attacks help to find unseen ones?

    python -m benchmarks.encoders ../shared/data/cicids2017_improved [--seeds 2] [--steps 600]
        [--encoders residual_mlp ...] [--losses dccl ...]

Shares and balancing are those of ``params.yaml``; features are the published ones under quantile scaling by all train
rows, with indicators and without ratios, and attempts are left out; a seed draws splits, weights and batches. Unseen:
bot, infiltration and both slow DoS
tools. AUROC in %: of the margin on the seen attacks of val, then on test_unseen, pooled, by attack, and the mean over
attacks; then of the distance to the 5th nearest benign train record in the features, in the latent z, and in z beside
the features x, each standardised, pooled and mean over attacks. Seconds are those of the training.

``--inner`` is for choices, which must not see these figures: each family of the seen attacks is left out of the
training in turn, and the margin ranks its train records against the benign ones of val; mean and worst over families.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import settings
from pipeline.base.errors import CollapseError
from pipeline.base.registry import build
from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.schema import FEATURE_NAMES, PROVENANCE
from pipeline.evaluation.metrics import auroc
from pipeline.models.base import Batch
from pipeline.models.detectors.knn import KNN
from pipeline.models.encoders.base import Encoder
from pipeline.models.encoders.losses.registry import LOSSES
from pipeline.models.encoders.registry import ENCODERS
from pipeline.models.scoring import ROWS_AT_ONCE, in_batches
from pipeline.models.training import fit
from pipeline.preprocessing import splits
from pipeline.preprocessing.derived import Columns
from pipeline.preprocessing.features import Features
from pipeline.preprocessing.recipe import Recipe, content_hash

UNSEEN = ("bot", "infiltration", "dos_slowloris", "dos_slowhttptest")
SHARES = {"train": 0.6, "val": 0.1, "calibration": 0.1, "test_seen": 0.1, "test_unseen": 0.1}
RECIPE = replace(settings.RECIPE, scaling="quantile", fill="indicator")
LEAST = 20  # train records that a family needs to be left out by --inner
START = {"cnn_transformer": {"start": "discriminant"}}

Floats = NDArray[np.float32]
Row = dict[str, float]


def _column(column: pa.ChunkedArray) -> NDArray[Any]:
    words = pa.types.is_dictionary(column.type) or pa.types.is_string(column.type)
    return np.asarray(column.cast(pa.string()).to_pylist(), dtype=object) if words else column.to_numpy()


def fitted(columns: Columns, mask: NDArray[np.bool_], recipe: Recipe) -> Features:
    """Features of the rows under a mask."""
    return Features.fit([{name: column[mask] for name, column in columns.items()}], int(mask.sum()), recipe)


class Drawing:
    """Records, features (n, F) and attack names (n,) of each split, and the balanced train rows."""

    def __init__(self, records: pa.Table, seed: int, recipe: Recipe = RECIPE, fit_on: str = "train") -> None:
        names = [name for name in records.column_names if name not in PROVENANCE]
        columns = {name: _column(records.column(name)) for name in names}
        recipe, _ = recipe.within(names, FEATURE_NAMES)
        attack, families = (
            np.asarray(records.column(name).cast(pa.string()).to_pylist(), dtype=object)
            for name in ("attack", "family")
        )
        split = splits.assign(attack, content_hash(columns, recipe), UNSEEN, SHARES, seed=seed)
        rows = {name: split == code for code, name in enumerate(splits.SPLITS)}
        features = fitted(columns, rows["train"], recipe)
        if fit_on == "benign":
            every = replace(recipe, drop_constant=False)
            features = features.scaled_as(fitted(columns, rows["train"] & (attack == "benign"), every))
        x = np.stack([*features.map(columns).values()], 1)
        self.records = {name: records.filter(pa.array(mask)) for name, mask in rows.items()}
        self.x = {name: x[mask] for name, mask in rows.items()}
        self.attack = {name: attack[mask] for name, mask in rows.items()}
        self.families = families[rows["train"]].astype(str)
        self.balanced = splits.balance(self.attack["train"], seed)

    def batch(self, split: str, rows: NDArray[np.bool_] | slice = slice(None)) -> Batch:
        """Some rows of a split for a trainer."""
        y = torch.tensor((self.attack[split][rows] != "benign").astype(np.int64))
        return Batch(torch.from_numpy(self.x[split][rows]), y, 1.0 - 2 * y)

    def benign(self) -> Floats:
        """The benign train rows."""
        return self.x["train"][self.attack["train"] == "benign"]


def read(folder: Path) -> pa.Table:
    """All records but those of attacks that reached nothing."""
    table = pa.concat_tables(chunk.records for chunk in CICIDS2017(folder).read())
    return table.filter(pc.invert(table.column("attempted").fill_null(False)))


def trained(
    drawing: Drawing, pair: tuple[str, str], seed: int, steps: int, left_out: str = ""
) -> tuple[Encoder, float]:
    """An encoder after its training without the attacks of a family, and the seconds that it took."""
    (encoder, loss), kept = pair, drawing.families != left_out
    train = drawing.batch("train", drawing.balanced & kept)
    torch.manual_seed(seed)
    goal = build(LOSSES, loss)
    model = build(ENCODERS, encoder, features=train.x.shape[1], loss=goal, **START.get(encoder, {}))
    model.initialise(train.x, train.y)
    plan = replace(
        settings.FIT, epochs=1, min_steps=steps, batch_size=256, learning_rate=1e-3, weight_decay=1e-2, input_noise=0.1,
        seed=seed, device="cpu",
    )  # fmt: skip
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        fit(model, train, drawing.batch("val"), plan, Path(folder), progress=False)
    seconds = time.perf_counter() - started
    z = torch.from_numpy(mapped(model, train.x.numpy()))
    model.centre(z, train.y)
    try:
        model.verify(z, train.y)
    except CollapseError as error:
        print(f"{encoder} {loss} seed {seed}: {error}\n")
    return model, seconds


def mapped(function: Callable[[Tensor], Tensor], x: Floats) -> Floats:
    """``function`` of the rows of x, (n, F)."""
    return in_batches(function, x, ROWS_AT_ONCE, "cpu")


def ranked(attack: NDArray[np.object_], score: Floats) -> Row:
    """AUROC in % on all, by attack, and the mean over attacks."""
    benign = attack == "benign"
    row = {
        str(name): 100 * (auroc(attack[taken] != "benign", score[taken]) or 0.0)
        for name in sorted({*attack} - {"benign"})
        for taken in [benign | (attack == name)]
    }
    return row | {"macro": statistics.mean(row.values()), "pooled": 100 * (auroc(~benign, score) or 0.0)}


def neighbours(benign: Floats, rows: Floats) -> Floats:
    """(n,) distance of rows to the 5th nearest of the benign ones."""
    knn = KNN(benign.shape[1])
    knn.fit(torch.from_numpy(benign))
    return mapped(knn.score, rows)


def inner(drawing: Drawing, pair: tuple[str, str], seed: int, steps: int) -> Row:
    """AUROC in % of the margin for each seen family that had no part in the training, their mean and the worst."""
    row = {}
    benign = drawing.x["val"][drawing.attack["val"] == "benign"]
    names, counts = np.unique(drawing.families, return_counts=True)
    for name in names[(counts >= LEAST) & (names != "benign")]:
        model, _ = trained(drawing, pair, seed, steps, str(name))
        x = np.concatenate([benign, drawing.x["train"][drawing.families == name]])
        row[str(name)] = 100 * (auroc(np.arange(len(x)) >= len(benign), mapped(model.score, x)) or 0.0)
    return row | {"mean": statistics.mean(row.values()), "worst": min(row.values())}


def judged(drawing: Drawing, encoder: Encoder) -> Row:
    """The figures of one training."""
    benign, unseen, names = drawing.benign(), drawing.x["test_unseen"], drawing.attack["test_unseen"]
    row = {"val": ranked(drawing.attack["val"], mapped(encoder.score, drawing.x["val"]))["pooled"]}
    row |= ranked(names, mapped(encoder.score, unseen))
    for space, function in (("z", encoder), ("z, x", lambda x: torch.cat([encoder(x), x], 1))):
        nearest = ranked(names, neighbours(mapped(function, benign), mapped(function, unseen)))
        row |= {f"knn {space} {which}": nearest[which] for which in ("pooled", "macro")}
    return row


def mean_and_spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    if len(values) < 2:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def show(name: str, rows: list[Row], shown: list[str]) -> None:
    """A line of the table: means over the seeds with their standard deviation."""
    cells = (mean_and_spread([row[key] for row in rows]) if key in rows[0] else "" for key in shown)
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print the table of one folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--encoders", nargs="+", choices=ENCODERS, default=["residual_mlp"])
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=list(LOSSES))
    parser.add_argument("--inner", action="store_true")
    given = parser.parse_args()
    records = read(given.folder)
    drawings = [Drawing(records, seed) for seed in range(given.seeds)]
    pairs = [(encoder, loss) for encoder in given.encoders for loss in given.losses]
    for drawing in drawings:
        names = drawing.attack["test_unseen"]
        counts = {str(name): int((names == name).sum()) for name in sorted({*names})}
        print(f"{drawing.balanced.sum()} balanced train records, test_unseen {counts}")
    (choose if given.inner else compare)(drawings, pairs, given.steps)


def choose(drawings: list[Drawing], pairs: list[tuple[str, str]], steps: int) -> None:
    """The table of ``--inner``."""
    shown: list[str] = []
    for pair in pairs:
        rows = [inner(drawing, pair, seed, steps) for seed, drawing in enumerate(drawings)]
        if not shown:
            shown = [*rows[0]]
            heading(shown)
        show(", ".join(pair), rows, shown)


def compare(drawings: list[Drawing], pairs: list[tuple[str, str]], steps: int) -> None:
    """The table of the unseen attacks."""
    features = [
        ranked(drawing.attack["test_unseen"], neighbours(drawing.benign(), drawing.x["test_unseen"]))
        for drawing in drawings
    ]
    knn = [f"knn {space} {which}" for space in ("z", "z, x") for which in ("pooled", "macro")]
    shown = ["val", "pooled", *(name for name in UNSEEN if name in features[0]), "macro", *knn, "seconds"]
    heading(shown)
    show("neighbours in the features", features, shown)
    for pair in pairs:
        rows = []
        for seed, drawing in enumerate(drawings):
            model, seconds = trained(drawing, pair, seed, steps)
            rows.append(judged(drawing, model) | {"seconds": seconds})
        show(", ".join(pair), rows, shown)


def heading(shown: list[str], first: str = "encoder, loss") -> None:
    """The first two lines of a table."""
    print(f"\n| {first} | {' | '.join(shown)} |\n|---|{'---:|' * len(shown)}", flush=True)


if __name__ == "__main__":
    main()
