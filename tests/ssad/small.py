"""A small model and small images for the tests of ssad."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from pipeline import ssad

N, OUTLIERS = 60, 6


class Centre(nn.Module):
    """Learns the centre of what it is confident of; the score of an image is its squared distance to it."""

    def __init__(self) -> None:
        super().__init__()
        self.centre = nn.Parameter(torch.zeros(1, 2, 2))
        self.dropout = nn.Dropout(0.5)
        self.frozen = nn.Dropout(0.5).eval()
        self.trained: list[bool] = []
        self.judged: list[bool] = []

    def score(self, x: Tensor) -> Tensor:
        """(B,) of (B, 1, 2, 2)."""
        (self.trained if torch.is_grad_enabled() else self.judged).append(self.training)
        return (self.dropout(x) - self.centre).flatten(1).square().sum(1)


class Images(Dataset[Any]):
    """Makes each image when it is asked for, and remembers how many were asked for at once."""

    def __init__(self, n: int = N, outliers: int = OUTLIERS, labelled: bool = True, seed: int = 0) -> None:
        self.n, self.outliers, self.labelled, self.seed = n, outliers, labelled, seed
        self.at_once: list[int] = []

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, row: int) -> Any:
        image = torch.randn(1, 2, 2, generator=torch.Generator().manual_seed(1000 * self.seed + row))
        image = image + (8 if row < self.outliers else 0)
        return (image, int(row < self.outliers)) if self.labelled else image

    def __getitems__(self, rows: list[int]) -> list[Any]:
        self.at_once.append(len(rows))
        return [self[row] for row in rows]


class Losses(ssad.Weighted):
    """The objective, with the confidence that it was given in each step."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Tensor] = []

    def __call__(self, value: Tensor, confidence: Tensor) -> Tensor:
        if value.requires_grad:
            self.given.append(confidence.clone())
        return super().__call__(value, confidence)

    def __repr__(self) -> str:
        return "Losses()"


def updates(**changes: Any) -> ssad.Updates:
    """Every second epoch, one in ten rows anomalous."""
    base = {"strategy": ssad.Percentile(85, 90), "rule": ssad.Binary(), "every_n_epochs": 2, "warm_up": 2}
    return ssad.Updates(**(base | changes))


def train(out: Path, model: nn.Module | None = None, data: Any = None, **changes: Any) -> ssad.Result:
    """Six epochs of four steps on the CPU, into a folder alone."""
    base: dict[str, Any] = {"updates": updates(), "batch_size": 16, "max_epochs": 6, "accelerator": "cpu"}
    base |= {"optimizer": lambda parameters: torch.optim.SGD(parameters, 0.05), "mlflow": False}
    torch.manual_seed(0)
    plan = (base | changes).pop("updates")
    rest = {name: value for name, value in (base | changes).items() if name != "updates"}
    return ssad.train(model or Centre(), Images() if data is None else data, plan, out=out, **rest)


def column(path: Path, name: str) -> list[str]:
    """One column of a CSV."""
    rows = [line.split(",") for line in path.read_text().replace('"', "").splitlines()]
    return [row[rows[0].index(name)] for row in rows[1:]]


def same(first: ssad.Result, second: ssad.Result) -> bool:
    """Whether two trainings ended alike."""
    losses = [[row["train_loss"] for row in each.history] for each in (first, second)]
    return (
        losses[0] == losses[1]
        and first.thresholds == second.thresholds
        and np.array_equal(first.scores, second.scores)
        and np.array_equal(first.confidence, second.confidence)
    )
