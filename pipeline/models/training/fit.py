"""Train a model: the one function that a stage calls."""

import contextlib
import hashlib
import inspect
import json
import logging
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pipeline.base.errors import ArtifactError, TrainingError
from pipeline.models.layers import Batch, Model, Scorer
from pipeline.models.training.batches import Batches
from pipeline.models.training.checkpoints import read
from pipeline.models.training.history import Epoch, History, OnEpoch
from pipeline.models.training.selection import kept
from pipeline.models.training.updates import OnUpdate, Updates
from pipeline.settings.training import FitSettings

if TYPE_CHECKING:
    from pipeline.models.training.learner import Learner

BESIDE = "reports"  # folder for files of a caller, beside the checkpoints


def fit(
    model: Model,
    train: Batch,
    val: Batch,
    settings: FitSettings,
    checkpoints: Path,
    *,
    on_epoch: OnEpoch | None = None,
    updates: Updates | None = None,
    on_update: OnUpdate | None = None,
    watched: Batch | None = None,
    progress: bool = True,
) -> History:
    """Train ``model``, which has ``loss(batch)``, and leave it with the weights that are kept, on the CPU, in eval.

    After an interruption the same call goes on behind the last whole epoch and ends with the same weights. What lies
    in ``checkpoints`` from another model, other settings or other data is removed. SIGTERM exits with code 143.

    Args:
        model: trained in place; a model without trainable parameters is left as it is.
        train: all training rows.
        val: all validation rows, which choose the epoch.
        settings: see there.
        checkpoints: folder of this training alone; ``best.safetensors`` stays in it. A caller may keep files in
            its folder ``BESIDE``; they are removed together with the checkpoint of another training.
        on_epoch: called after each epoch with its number and its row of the history.
        updates: of the confidence of the training records, for a model with ``score``; None leaves it as it is.
        on_update: called after each update.
        watched: validation rows of both classes, for a model with ``score``: the AUROC and F1 of each epoch are of
            them. They choose the epoch where ``settings.select`` is ``val_f1``, and decide whether an update is taken
            back where ``updates.undo`` is on.
        progress: show a bar on a terminal, a line for each epoch in a log.

    Raises:
        TrainingError: on an empty set, non-finite features, a device that is absent, a loss that is not finite, updates
            that no epoch would train on, or watched rows without both classes.
    """
    _refuse_useless(model, train, val)
    _refuse_impossible(model, settings, updates, watched)
    if not model.trainable:
        model.eval()
        return History((), -1)
    if updates:
        updates.refuse_too_late(settings.epochs_for(len(train.y)))
    from pipeline.models.training.learner import Learner

    fingerprint = _fingerprint(model, (train, val, *([watched] if watched else [])), settings, updates)
    learner = Learner(
        model,
        Batches(train, settings.batch_size, settings.seed),
        Batches(val, settings.batch_size, settings.seed),
        settings,
        fingerprint,
    )
    bar = progress and sys.stderr.isatty()
    learner.listeners = [
        listener for listener in (on_epoch, _print_epoch if progress and not bar else None) if listener
    ]
    learner.updates = updates
    learner.update_listeners = [on_update] if on_update else []
    learner.watched = watched
    resumed = _resumable(checkpoints, fingerprint)
    with _quiet(), torch.random.fork_rng(devices=[]):
        model.train()
        wait = _run(learner, checkpoints, resumed, bar)
    return _finish(learner, checkpoints, wait)


def _refuse_useless(model: Model, train: Batch, val: Batch) -> None:
    name = type(model).__name__
    for part, batch in (("training", train), ("validation", val)):
        if len(batch.y) == 0:
            raise TrainingError(f"{name}: the {part} set is empty; check ingest.path and preprocess.shares")
        bad = (~batch.x.isfinite().all(1)).nonzero()
        if len(bad):
            raise TrainingError(
                f"{name}: {len(bad)} of {len(batch.x)} rows of the {part} set hold NaN or Infinity, the first is row "
                f"{int(bad[0])}; check the policy for them in preprocess"
            )


def _refuse_impossible(model: Model, settings: FitSettings, updates: Updates | None, watched: Batch | None) -> None:
    name = type(model).__name__
    if (updates or watched) and not isinstance(model, Scorer):
        what = "confidence updates need" if updates else "AUROC and F1 need"
        raise TrainingError(f"{name}: has no score, which {what}")
    if watched and len(torch.unique(watched.y)) < 2:
        raise TrainingError(f"{name}: watched rows need benign records and attacks, and these are of one kind")
    if settings.select == "val_f1" and not watched:
        raise TrainingError(
            f"{name}: fit.select is 'val_f1', which needs validation rows of benign records and of known attacks; "
            "choose 'val_loss', or records with attacks that are not all in preprocess.unseen"
        )


def _fingerprint(model: Model, data: Sequence[Batch], settings: FitSettings, updates: Updates | None) -> str:
    """Of whatever decides the outcome: settings, the code of the model, its start, the data."""
    digest = hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode())
    digest.update(f"{model!r}{updates!r}".encode())
    for part in model.modules():  # settings that no module's text tells
        plain = {key: value for key, value in vars(part).items() if isinstance(value, bool | int | float | str | tuple)}
        digest.update(repr(sorted({**plain, "training": None}.items())).encode())
    for module in sorted({type(part).__module__ for part in model.modules()}):
        with contextlib.suppress(OSError, TypeError):  # a class that was typed in has no source
            digest.update(inspect.getsource(sys.modules[module]).encode())
    for tensor in (*model.state_dict().values(), *(column for batch in data for column in batch)):
        digest.update(f"{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _resumable(folder: Path, fingerprint: str) -> Path | None:
    """The last checkpoint if it is of this very training; what is of another one is removed."""
    last = folder / "last.safetensors"
    with contextlib.suppress(ArtifactError):
        if read(last)["fingerprint"] == fingerprint:
            return last
    for file in (last, folder / "best.safetensors"):
        file.unlink(missing_ok=True)
    shutil.rmtree(folder / BESIDE, ignore_errors=True)
    return None


def _run(learner: "Learner", folder: Path, resumed: Path | None, bar: bool) -> Callable[[], Any]:
    """Train, and return what waits until all processes have come as far."""
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    if resumed:
        learner.on_load_checkpoint(read(resumed))
        if learner.ended:
            return lambda: None
    trainer = _trainer(learner, folder, bar)
    try:
        trainer.fit(learner, ckpt_path=resumed)
    except SIGTERMException:
        # A SystemExit with code 0: a stage that was killed would count as done.
        sys.exit(143)
    return trainer.strategy.barrier  # type: ignore[no-any-return]


def _trainer(learner: "Learner", folder: Path, bar: bool) -> Any:
    from lightning.pytorch import Trainer

    from pipeline.models.training.learner import KeepBestAndLast, ProgressBar, SafetensorsIO

    settings = learner.settings
    callbacks: list[Any] = [KeepBestAndLast(folder)]
    if bar:
        callbacks.append(ProgressBar(refresh_rate=1))
    return Trainer(
        accelerator=_accelerator(settings.device),
        devices=settings.devices,
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


def _print_epoch(epoch: int, row: dict[str, float]) -> None:
    print(
        f"epoch {epoch + 1}: train loss {row['train_loss']:.4f}, validation loss {row['val_loss']:.4f}, "
        f"{row['records_per_s']:,.0f} records/s",
        flush=True,
    )


def _accelerator(device: str) -> str:
    present = torch.cuda.is_available()
    if device == "cuda" and not present:
        raise TrainingError("device is 'cuda', but PyTorch finds no CUDA device; allowed here: 'auto', 'cpu'")
    return "cpu" if device == "cpu" or not present else "gpu"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's tips and advice, which speak of a data loader and a logger that are not used."""
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


def _finish(learner: "Learner", folder: Path, wait: Callable[[], Any]) -> History:
    """Load the weights that are kept; a training that is done leaves nothing to resume."""
    if learner.flat:
        learner.flat.release()
    state = read(folder / f"{learner.settings.keep}.safetensors")["state_dict"]
    learner.model.load_state_dict({name.removeprefix("model."): value for name, value in state.items()})
    learner.model.float().cpu().eval()  # whatever the precision of the training
    wait()  # until each process has read the weights
    (folder / "last.safetensors").unlink(missing_ok=True)
    chosen = kept(learner.rows, learner.settings)
    if chosen is None or (learner.updating and not chosen["updates"]):
        raise TrainingError(f"{type(learner.model).__name__}: confidence updates are on, but no epoch trained on one")
    return History(
        tuple(Epoch(**row) for row in learner.rows),
        chosen["epoch"],
        learner.train_batches.data.confidence.cpu().numpy(),
        chosen["updates"],
        tuple(learner.undone),
    )
