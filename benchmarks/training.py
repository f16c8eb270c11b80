"""Training speed of both stages at the published sizes, beside the plain PyTorch loop that does the same.

    python -m benchmarks.training [--seconds 20] [--device cpu]

The plain side is what one would write first: ``DataLoader(TensorDataset)`` with shuffling, PyTorch's own layers, masked
linear layers that mask their weight in each forward, the same optimiser, clipping and noise. This side is ``fit`` as
the stages call it, Lightning included. Rounds of both alternate, so that neighbours meet the same load of the machine;
the ratio is the median over the pairs of neighbours, with its quartiles beside it.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks.settings import FIT
from pipeline.models.base import Batch, Model
from pipeline.models.detectors.maf import MAF
from pipeline.models.encoders.cnn_transformer import CNNTransformer
from pipeline.models.encoders.losses.dccl import DCCL
from pipeline.models.training import FitSettings, fit

FEATURES, LATENT, BATCH = 71, 32, 512
ROUNDS = 11


class PlainEncoder(nn.Module):
    """The published encoder from PyTorch's layers."""

    def __init__(self) -> None:
        super().__init__()
        sizes = (1, 32, 16, 16, 16, 16)
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Conv1d(a, b, 2), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers, nn.Dropout(0.1), nn.MaxPool1d(2))
        self.project = nn.Linear(16, 64)
        self.position = nn.Parameter(torch.randn(1, 33, 64))
        self.transformer = nn.TransformerEncoder(nn.TransformerEncoderLayer(64, 4, 256, 0.1, batch_first=True), 3)
        self.norm = nn.LayerNorm(64)
        self.head = nn.Linear(64, LATENT)

    def forward(self, x: Tensor) -> Tensor:
        """Map a batch."""
        h = self.convolutions(x.unsqueeze(1)).transpose(1, 2)
        h = self.transformer(self.project(h) + self.position)
        return self.head(torch.relu(self.norm(h.mean(1))))

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss of a batch."""
        z = self(x)
        benign, attack = z[y == 0], z[y == 1]
        c_b, c_a = benign.mean(0), attack.mean(0)
        compact = ((benign - c_b) ** 2).sum(1).mean() + ((attack - c_a) ** 2).sum(1).mean()
        return 0.1 * compact + torch.relu(5.0 - ((c_b - c_a) ** 2).sum())


class MaskedLinear(nn.Linear):
    """A linear layer that masks its weight in each forward."""

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask.float())

    def forward(self, x: Tensor) -> Tensor:
        """Map a batch."""
        return nn.functional.linear(x, self.weight * self.mask, self.bias)


class PlainMAF(nn.Module):
    """The published MAF, layer by layer."""

    def __init__(self) -> None:
        super().__init__()
        first = MAF(LATENT, layers=1)  # the same connections in each layer, flipped between layers
        into, out = first.masks_in[0], first.masks_out[0]
        self.layers = nn.ModuleList(nn.Sequential(MaskedLinear(into), nn.ReLU(), MaskedLinear(out)) for _ in range(16))

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The loss of a batch."""
        ladj = torch.zeros(len(x), device=x.device)
        for layer in self.layers:
            s, t = layer(x).chunk(2, -1)
            s = torch.tanh(s)
            x = (x * torch.exp(s) + t).flip(-1)
            ladj = ladj + s.sum(-1)
        normal = torch.distributions.Normal(0.0, 1.0)
        return -(normal.log_prob(x).sum(-1) + ladj).mean()


@dataclass(frozen=True)
class Contest:
    """One stage: the same job for both sides."""

    name: str
    width: int
    plain: Callable[[], nn.Module]
    ours: Callable[[], Model]
    settings: FitSettings


def contests(device: str) -> list[Contest]:
    """Both stages at the published settings."""
    common = {"epochs": 1, "batch_size": BATCH, "schedule": "constant", "device": device}
    return [
        Contest(
            "stage 1, cnn_transformer",
            FEATURES,
            PlainEncoder,
            lambda: CNNTransformer(FEATURES, DCCL()),
            replace(FIT, learning_rate=3e-4, weight_decay=1e-2, optimizer="adamw", input_noise=0.1, **common),  # type: ignore[arg-type]
        ),
        Contest(
            "stage 2, maf",
            LATENT,
            PlainMAF,
            lambda: MAF(LATENT),
            replace(FIT, learning_rate=5e-4, optimizer="adam", **common),  # type: ignore[arg-type]
        ),
    ]


def rows(n: int, width: int) -> Batch:
    """Random records of two classes."""
    generator = torch.Generator().manual_seed(0)
    y = (torch.rand(n, generator=generator) < 0.7).long()
    return Batch(torch.randn(n, width, generator=generator) + y[:, None], y, torch.ones(n))


def plain_speed(contest: Contest, data: Batch, device: str) -> float:
    """Records/s of one epoch of the plain loop."""
    torch.manual_seed(0)
    model = contest.plain().to(device).train()
    settings = contest.settings
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    optimizer = kind(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    loader = DataLoader(TensorDataset(data.x, data.y), batch_size=BATCH, shuffle=True)
    started = time.perf_counter()
    for batch in loader:
        x, y = (column.to(device) for column in batch)
        noise = settings.input_noise * torch.randn_like(x) if settings.input_noise else 0.0
        loss = model.loss(x + noise, y)  # type: ignore[operator]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
        optimizer.step()
    if device == "cuda":
        torch.cuda.synchronize()
    return len(data.y) / (time.perf_counter() - started)


def our_speed(contest: Contest, data: Batch) -> float:
    """Records/s of one epoch of ``fit``."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        val = Batch(*(column[:BATCH] for column in data))
        history = fit(contest.ours(), data, val, contest.settings, Path(folder), progress=False)
    return history.rows[0].records_per_s


def compare(contest: Contest, seconds: float, device: str) -> None:
    """Print both sides: medians of the speeds, median and quartiles of the ratios of neighbouring rounds."""
    warm = rows(2 * BATCH, contest.width)
    speed = min(plain_speed(contest, warm, device), our_speed(contest, warm))
    data = rows(BATCH * max(3, round(speed * seconds / (2 * ROUNDS) / BATCH)), contest.width)
    pairs = []
    for number in range(ROUNDS):  # the side that begins alternates
        first = our_speed(contest, data) if number % 2 else None
        theirs = plain_speed(contest, data, device)
        pairs.append((theirs, first or our_speed(contest, data)))
    plain, ours = (statistics.median(side) for side in zip(*pairs, strict=True))
    low, middle, high = statistics.quantiles([mine / theirs for theirs, mine in pairs])
    print(f"| {contest.name} | plain loop | {plain:,.0f} | 1.00 | |")
    print(f"| {contest.name} | fit | {ours:,.0f} | {middle:.2f} | {low:.2f} to {high:.2f} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each stage, about")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    given = parser.parse_args()
    print(f"device {given.device}, {torch.get_num_threads()} threads, batch {BATCH}, torch {torch.__version__}\n")
    print("| stage | system | records/s | ratio | quartiles |\n|---|---|---:|---:|---|")
    for contest in contests(given.device):
        compare(contest, given.seconds, given.device)


if __name__ == "__main__":
    main()
