"""RADON and GRAnD of the ``ssad`` 0.1.3 package, trained and scored in an environment of its own.

    echo FOLDER | path/to/its/python benchmarks/ssad_runner.py

Each line of the input names a folder, and "done" answers it. A folder holds what ``benchmarks.nslkdd`` wrote:
``train.npy`` (n, F) in [0, 1], ``test.npy`` and ``settings.json``. Left there are ``scores.npy``, higher = more
anomalous, and ``result.json``: the records/s of its training steps by the clock and by CPU time, the epochs that it
finished, and the error that stopped it, if any.

It gets the best that it can do as published: its dataloaders are read anew in each epoch, without which its updates
never reach its loss, and its rows come shuffled, as it does not shuffle. Nothing of it is mended.
"""

import json
import logging
import sys
import time
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.loggers import MLFlowLogger
from ssad import (
    Autoencoder,
    BinaryConfidence,
    CosineReconstructionModule,
    EVTThresholding,
    FreeEnergyScoringModule,
    SelfSupervisionDataModule,
    TriangularThresholding,
    VariationalAutoencoder,
)
from torch import Tensor
from torch.utils.data import Dataset


class Rows(Dataset):
    """Records without labels, as its data module wants them."""

    def __init__(self, x: np.ndarray) -> None:
        self.data = torch.from_numpy(x)
        self.labels = torch.zeros(len(x))

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.data[index], self.labels[index]

    def input_dim(self) -> int:
        """How many features."""
        return self.data.shape[1]


class Records(lightning.LightningDataModule):
    """The attributes that its callback reads, and the rows."""

    def __init__(self, x: np.ndarray, batch_size: int) -> None:
        super().__init__()
        self.train, self.batch_size, self.n_rows = Rows(x), batch_size, len(x)
        self.p_train, self.p_val, self.pa_train, self.pa_val, self.pa_test = 1.0, 0.0, 0.0, 0.0, 0.0

    def setup(self, stage: str) -> None:
        """Nothing: the rows are there."""


class Stopwatch(lightning.Callback):
    """Seconds and CPU-seconds of training steps alone; its updates and logs are not counted."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        """Start."""
        self.started, self.cpu_started = time.perf_counter(), time.process_time()

    def on_train_epoch_end(self, *_: Any) -> None:
        """Stop, before its own callback begins."""
        self.seconds.append(time.perf_counter() - self.started)
        self.cpu_seconds.append(time.process_time() - self.cpu_started)


def module(kind: str, features: int, settings: dict[str, Any]) -> lightning.LightningModule:
    """Its module of one kind with its own defaults for what is not a width."""
    every, hidden = settings["every_n_epochs"], list(settings["hidden"])
    if kind == "radon":
        model = Autoencoder(features, hidden, settings["latent"])
        return CosineReconstructionModule(model, every, BinaryConfidence(), TriangularThresholding())
    model = VariationalAutoencoder(features, settings["planar"], hidden, settings["latent"])
    return FreeEnergyScoringModule(model, settings["margin"], every, BinaryConfidence(), EVTThresholding())


def run(folder: Path) -> None:
    """Train, score, write."""
    settings = json.loads((folder / "settings.json").read_text())
    torch.set_num_threads(settings["threads"])
    lightning.seed_everything(settings["seed"], verbose=False)
    x = np.load(folder / "train.npy")
    learner, watch, error = module(settings["kind"], x.shape[1], settings), Stopwatch(), None
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=settings["epochs"],
        callbacks=[watch],
        logger=MLFlowLogger(tracking_uri=f"sqlite:///{folder}/mlflow.db", artifact_location=str(folder / "artifacts")),
        reload_dataloaders_every_n_epochs=1,
        limit_val_batches=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=folder,
    )
    try:
        trainer.fit(learner, SelfSupervisionDataModule(Records(x, settings["batch_size"])))
    except ValueError as stopped:  # its strategies refuse scores that rounding or an update made
        error = str(stopped)
    learner.eval()
    with torch.no_grad():
        parts = torch.from_numpy(np.load(folder / "test.npy")).split(4096)
        np.save(folder / "scores.npy", torch.cat([learner._prediction_score(part) for part in parts]).numpy())
    trained = len(x) * len(watch.seconds)
    speeds = {"records_per_s": trained / sum(watch.seconds), "records_per_cpu_s": trained / sum(watch.cpu_seconds)}
    result = speeds | {"epochs": len(watch.seconds), "error": error}
    (folder / "result.json").write_text(json.dumps(result))


def main() -> None:
    """One run for each line of the input."""
    logging.disable(logging.ERROR)
    answers, sys.stdout = sys.stdout, sys.stderr  # what the libraries print is no answer
    for line in sys.stdin:
        run(Path(line.strip()))
        print("done", file=answers, flush=True)


if __name__ == "__main__":
    main()
