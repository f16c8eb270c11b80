"""Lightning's trainer as it is used here: its checkpoints, its progress bar, and its silence otherwise."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Checkpoint, TQDMProgressBar

from pipeline.models.training import checkpoints
from pipeline.models.training.bulk import device_of

if TYPE_CHECKING:
    from pipeline.models.training.learner import Learner


class SafetensorsIO(CheckpointIO):  # type: ignore[misc]
    """Lightning's checkpoints as ``checkpoints`` writes them."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write the file."""
        checkpoints.write(checkpoint, Path(path))

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: Any = None) -> dict[str, Any]:
        """Read the file."""
        return checkpoints.read(Path(path))

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove the file."""
        Path(path).unlink(missing_ok=True)


class KeepBestAndLast(Checkpoint):  # type: ignore[misc]
    """``best.safetensors`` after each epoch that is the best so far, and ``last.safetensors`` after every epoch.

    The best one is written first. If the process dies in between, the epoch is trained again, with the same result.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_epoch_end(self, trainer: Trainer, pl_module: "Learner") -> None:
        """Write the files; every process has to call this."""
        if pl_module.improved:
            trainer.save_checkpoint(self.folder / "best.safetensors")
        trainer.save_checkpoint(self.folder / "last.safetensors")


class ProgressBar(TQDMProgressBar):  # type: ignore[misc]
    """A bar for each epoch of training, none for validation."""

    def init_validation_tqdm(self) -> Any:
        """A bar that is never drawn."""
        bar = super().init_validation_tqdm()
        bar.disable = True
        return bar


def trainer_of(learner: "Learner", folder: Path, bar: bool) -> Trainer:
    """The trainer of ``learner``, with checkpoints in ``folder`` and, if asked for, a progress bar."""
    settings = learner.settings
    callbacks: list[Any] = [KeepBestAndLast(folder)]
    if bar:
        callbacks.append(ProgressBar(refresh_rate=1))
    return Trainer(
        accelerator=_accelerator(settings.device),
        devices=settings.devices,
        num_nodes=settings.nodes,
        strategy=settings.strategy,
        precision=settings.precision,
        max_epochs=settings.epochs_for(len(learner.train_batches.data.y)),
        gradient_clip_val=None if settings.plain else settings.gradient_clip or None,
        callbacks=callbacks,
        plugins=[SafetensorsIO()],
        logger=False,
        enable_model_summary=False,
        enable_progress_bar=bar,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )


def _accelerator(device: str) -> str:
    return "gpu" if device_of(device).type == "cuda" else "cpu"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's advice: it concerns a data loader and a logger that are not used."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\.")
        warnings.filterwarnings("ignore", message=".*LeafSpec")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
