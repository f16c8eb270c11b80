"""Training and scoring on one GPU, and on the CPU beside it: the encoder, MAF, RADON and GRAnD as they are shipped.

    python -m benchmarks.gpu [--seconds 8] [--params params.yaml]

Models and batches are those of params.yaml, records are random. Training is ``fit`` as a stage calls it, and its speed
is the median over the epochs after the first, of the training part alone. Scoring is what stages 1 and 2 do with rows
of a file: NumPy arrays in and out, so that the way to the GPU and back counts. Each figure takes about ``--seconds``,
the whole less than five minutes. Without a GPU it says so and measures the CPU.
"""

import argparse
import math
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.training import rows
from pipeline import config
from pipeline.base.registry import build
from pipeline.models.base import Model
from pipeline.models.detectors.registry import DETECTORS
from pipeline.models.encoders.losses.registry import LOSSES
from pipeline.models.encoders.registry import ENCODERS
from pipeline.models.scoring import ROWS_AT_ONCE, in_batches, in_parts
from pipeline.models.training import FitSettings, fit
from pipeline.settings.sections import SECTIONS

FEATURES, LATENT = 71, 32
EPOCHS = 4  # the first one warms up
FEWEST = 4  # batches in an epoch
MOST_ROWS = 2_000_000


@dataclass(frozen=True)
class Subject:
    """A model to measure.

    Attributes:
        name: of the plug-in.
        width: its columns.
        make: gives it in its starting state.
        maps: what the stage computes of each row.
        settings: of its training.
    """

    name: str
    width: int
    make: Callable[[], Any]
    maps: str
    settings: FitSettings


def subjects(params: Path) -> list[Subject]:
    """The encoder on features, the MAF on latents, and the autoencoders on features."""
    first, second = (config.load(SECTIONS[name], params) for name in ("stage1", "stage2"))
    encoder = first.settings("cnn_transformer", {*ENCODERS, *LOSSES})

    def made_encoder() -> Model:
        loss = build(LOSSES, "dccl", **first.settings("dccl", {*ENCODERS, *LOSSES}))
        return build(ENCODERS, "cnn_transformer", features=FEATURES, loss=loss, **encoder)

    def made(name: str, width: int) -> Subject:
        own = second.settings(name, DETECTORS)
        return Subject(name, width, lambda: build(DETECTORS, name, features=width, **own), "scores", second.fit)

    detectors = [made(name, LATENT if name == "maf" else FEATURES) for name in ("maf", "radon", "grand")]
    return [Subject("cnn_transformer", FEATURES, made_encoder, "forward", first.fit), *detectors]


def training_speed(subject: Subject, device: str, seconds: float) -> float:
    """Records/s of ``fit``."""
    speed, count = 0.0, FEWEST * subject.settings.batch_size
    for epochs in (2, EPOCHS):  # the first fit finds how many rows an epoch of the second one has
        plan = replace(
            subject.settings,
            device=device,
            devices=1,
            nodes=1,
            epochs=epochs,
            min_steps=0,
            patience=0,
            select="val_loss",
        )
        torch.manual_seed(0)
        data, val, model = rows(count, subject.width), rows(plan.batch_size, subject.width), subject.make()
        if hasattr(model, "fit"):
            model.fit(data.x)
        else:
            model.initialise(data.x, data.y)
        with tempfile.TemporaryDirectory() as folder:
            history = fit(model, data, val, plan, Path(folder), progress=False)
        speed = statistics.median(row.records_per_s for row in history.rows[1:])
        count = min(max(math.ceil(speed * seconds / EPOCHS), FEWEST * plan.batch_size), MOST_ROWS)
    return speed


def scoring_speed(subject: Subject, device: str, seconds: float) -> float:
    """Records/s of arrays in and out, the median of some rounds."""
    torch.manual_seed(0)
    model = subject.make()
    data = rows(ROWS_AT_ONCE, subject.width)
    if hasattr(model, "fit"):
        model.fit(data.x)
    model.to(device).eval()
    function = getattr(model, subject.maps)
    parted = function if subject.maps == "scores" else lambda x: in_parts(function, x, ROWS_AT_ONCE)
    x, speeds, deadline = data.x.numpy(), list[float](), time.perf_counter() + seconds
    while len(speeds) < 3 or time.perf_counter() < deadline:
        started = time.perf_counter()
        in_batches(parted, x, ROWS_AT_ONCE, device)
        speeds.append(len(x) / (time.perf_counter() - started))
        if speeds[-1] * seconds / 5 > 2 * len(x) < MOST_ROWS:  # too few rows for this device
            x = np.concatenate([x, x])
            speeds.clear()
    return statistics.median(speeds)


def devices() -> dict[str, str]:
    """What there is to measure: PyTorch's name of a device -> what it is."""
    cpu = {"cpu": f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"}
    return ({"cuda": torch.cuda.get_device_name(0)} if torch.cuda.is_available() else {}) | cpu


def table(subjects: list[Subject], found: dict[str, str], seconds: float) -> Iterator[str]:
    """The lines of the table, each as soon as it is measured."""
    yield "| model | work | " + " | ".join(f"{name}, records/s" for name in found) + " | ratio |"
    yield "|---|---|" + "---:|" * (len(found) + 1)
    for subject in subjects:
        for work, measure in (("training", training_speed), ("scoring", scoring_speed)):
            speeds = [measure(subject, name, seconds) for name in found]
            ratio = f"{speeds[0] / speeds[-1]:.1f}" if len(speeds) > 1 else ""
            yield f"| {subject.name} | {work} | " + " | ".join(f"{speed:,.0f}" for speed in speeds) + f" | {ratio} |"


def main() -> None:
    """Print what was measured, and on what."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=8.0, help="for each figure, about")
    parser.add_argument("--params", type=Path, default=config.PARAMS, help="the settings of models and trainings")
    given = parser.parse_args()
    found, started = devices(), time.perf_counter()
    if "cuda" not in found:
        print("no GPU: PyTorch finds none here, so the CPU alone is measured")
    for name, what in found.items():
        print(f"{name}: {what}")
    print(f"torch {torch.__version__}\n")
    for line in table(subjects(given.params), found, given.seconds):
        print(line, flush=True)
    print(f"\n{time.perf_counter() - started:.0f} s in all")


if __name__ == "__main__":
    main()
