"""The shipped confidence updates, on records of which a few patterns make most: they must not ruin a model."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from pipeline.base.registry import build
from pipeline.calibration.confidence import CONFIDENCES
from pipeline.calibration.thresholds.registry import THRESHOLDS
from pipeline.datasets.nslkdd import NSLKDD
from pipeline.evaluation.metrics import auroc
from pipeline.models.base import Batch
from pipeline.models.detectors.registry import DETECTORS
from pipeline.models.training import History, Updates, fit
from pipeline.preprocessing.features import Features
from tests.settings import fit_with, recipe_with

ROOT = Path(__file__).parents[3]
RECORDS = ROOT.parent / "shared" / "data" / "nslkdd" / "KDDTrain+.txt.gz"
BENIGN, TESTED = 8000, 8000

pytestmark = pytest.mark.skipif(not RECORDS.exists(), reason=f"needs {RECORDS.name}, the published training file")


@pytest.fixture(scope="module")
def drawn() -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Training rows with a tenth of hidden attacks, most of them copies, as in KDD-99; test rows and their labels."""
    data = NSLKDD(RECORDS)
    chunks = [chunk.records for chunk in data.read()]
    y = np.concatenate([chunk["y"].to_numpy() for chunk in chunks]).astype(np.int64)
    columns = {c.name: np.concatenate([chunk[c.name].to_pandas().to_numpy() for chunk in chunks]) for c in data.columns}
    rng = np.random.default_rng(0)
    order = rng.permutation(len(y))
    pool, tested = order[TESTED:], order[:TESTED]
    train = np.concatenate([copies(pool[y[pool] == 0], BENIGN, rng), copies(pool[y[pool] == 1], BENIGN // 9, rng)])
    parts = [{name: values[rows] for name, values in columns.items()} for rows in (rng.permutation(train), tested)]
    fitted = Features.fit(parts[:1], len(train), recipe_with(drop=(), derive=(), scaling="unit"))
    x, z = (torch.from_numpy(np.stack(list(fitted.map(part).values()), 1).astype(np.float32)) for part in parts)
    return x, z, y[tested]


def copies(rows: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    weight = rng.pareto(0.6, len(rows))
    return rng.choice(rows, n, p=weight / weight.sum())


def shipped(name: str) -> Updates:
    given = yaml.safe_load((ROOT / "params.yaml").read_text())["stage2"]["confidence"]
    model = DETECTORS[name]
    every = model.every_n_epochs
    return Updates(
        build(THRESHOLDS, model.strategy, **given.get(model.strategy, {})),
        build(CONFIDENCES, model.rule),
        every_n_epochs=every,
        warm_up=model.warm_up or every,
        max_share=given["max_share"],
        max_unknown_share=model.max_unknown_share,
        undo=given["undo"],
    )


def ranked(
    name: str, drawn: tuple[torch.Tensor, torch.Tensor, np.ndarray], folder: Path, updates: Updates | None
) -> float:
    x, z, y = drawn
    torch.manual_seed(0)
    model = build(DETECTORS, name, features=x.shape[1])
    model.fit(x)
    cut = len(x) * 9 // 10
    train, val = (Batch(part, torch.zeros(len(part)), torch.ones(len(part))) for part in (x[:cut], x[cut:]))
    settings = fit_with(epochs=10, batch_size=256, learning_rate=1e-3, optimizer="adam", patience=3, device="cpu")
    history: History = fit(model, train, val, settings, folder, updates=updates, progress=False)
    assert (history.updates_seen > 0 or history.undone) if updates else history.updates_seen == 0
    with torch.no_grad():
        return 100 * (auroc(y, model.score(z).numpy()) or 0)


@pytest.mark.parametrize("name", [name for name, model in DETECTORS.items() if model.updated])
def test_shipped_updates_cost_at_most_a_point(
    name: str, drawn: tuple[torch.Tensor, torch.Tensor, np.ndarray], tmp_path: Path
) -> None:
    without = ranked(name, drawn, tmp_path / "without", None)
    assert ranked(name, drawn, tmp_path / "with", shipped(name)) > without - 1
