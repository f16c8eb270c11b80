"""Train a model: the one function that a stage calls."""

import contextlib
import hashlib
import inspect
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pipeline.base.errors import ArtifactError, TrainingError
from pipeline.models.base import Batch, Model, Scorer
from pipeline.models.training import ranks
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
    """Train ``model`` and leave it with the kept weights, on the CPU, in evaluation mode.

    After an interruption the same call goes on after the last whole epoch and ends with the same weights. Checkpoints
    of another model, other settings or other data are removed. SIGTERM exits with code 143.

    Args:
        model: trained in place by its ``loss``; without trainable parameters it is left as it is.
        train: all training rows.
        val: all validation rows, which choose the epoch.
        settings: see there.
        checkpoints: folder of this training alone; ``best.safetensors`` stays in it. A caller may keep files in its
            folder ``BESIDE``; they are removed together with the checkpoint of another training.
        on_epoch: called after each epoch with its number and its row of the history.
        updates: of the confidence of the training records; they need a model with ``score``. None for none.
        on_update: called after each update.
        watched: validation rows of both classes, for the AUROC and F1 of each epoch; they need a model with ``score``.
            They choose the epoch if ``settings.select`` is ``val_f1``, and judge an update if ``updates.undo`` is on.
        progress: show a bar on a terminal, or a line for each epoch in a log.

    Raises:
        TrainingError: an empty set, non-finite features, an absent device, a loss that is not finite, updates that no
            epoch would train on, or watched rows of one class only.
    """
    _refuse_useless(model, train, val)
    _refuse_impossible(model, settings, updates, watched)
    if not model.trainable:
        model.eval()
        return History((), -1)
    ranks.refuse_impossible(settings)
    learner, bar = _learner(model, train, val, settings, updates, watched), progress and sys.stderr.isatty()
    shown = _print_epoch if progress and not bar else None
    learner.listeners = [listener for listener in (on_epoch, shown) if listener]
    learner.update_listeners = [on_update] if on_update else []
    return _trained(learner, checkpoints, bar)


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


def _learner(
    model: Model, train: Batch, val: Batch, settings: FitSettings, updates: Updates | None, watched: Batch | None
) -> "Learner":
    from pipeline.models.training.learner import Learner

    if updates:
        updates.refuse_too_late(settings.epochs_for(len(train.y)))
    fingerprint = _fingerprint(model, (train, val, *([watched] if watched else [])), settings, updates)
    size, seed = settings.batch_size, settings.seed
    learner = Learner(model, Batches(train, size, seed), Batches(val, size, seed), settings, fingerprint)
    learner.updates, learner.watched = updates, watched
    return learner


def _fingerprint(model: Model, data: Sequence[Batch], settings: FitSettings, updates: Updates | None) -> str:
    """Digest of all that decides the outcome: settings, code and initial weights of the model, and data."""
    digest = hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode())
    digest.update(f"{model!r}{updates!r}".encode())
    for part in model.modules():  # settings that the text of a module does not show
        plain = {key: value for key, value in vars(part).items() if isinstance(value, bool | int | float | str | tuple)}
        digest.update(repr(sorted({**plain, "training": None}.items())).encode())
    for module in sorted({type(part).__module__ for part in model.modules()}):
        with contextlib.suppress(OSError, TypeError):  # a class that was typed in has no source
            digest.update(inspect.getsource(sys.modules[module]).encode())
    for tensor in (*model.state_dict().values(), *(column for batch in data for column in batch)):
        digest.update(f"{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _trained(learner: "Learner", checkpoints: Path, bar: bool) -> History:
    from pipeline.models.training.trainer import quiet

    resumed = _resumable(checkpoints, learner.fingerprint)
    with quiet(), torch.random.fork_rng(devices=[]):
        learner.model.train()
        wait = _run(learner, checkpoints, resumed, bar)
    return _finish(learner, checkpoints, wait)


def _resumable(folder: Path, fingerprint: str) -> Path | None:
    """The last checkpoint if it belongs to this training; files of another training are removed."""
    last = folder / "last.safetensors"
    with contextlib.suppress(ArtifactError):
        if read(last)["fingerprint"] == fingerprint:
            return last
    for file in (last, folder / "best.safetensors"):
        file.unlink(missing_ok=True)
    shutil.rmtree(folder / BESIDE, ignore_errors=True)
    return None


def _run(learner: "Learner", folder: Path, resumed: Path | None, bar: bool) -> Callable[[], Any]:
    """Train, and return a function that waits until all processes have come this far."""
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from pipeline.models.training.trainer import trainer_of

    if resumed:
        learner.on_load_checkpoint(read(resumed))
        if learner.ended:
            return lambda: None
    trainer = trainer_of(learner, folder, bar)
    try:
        trainer.fit(learner, ckpt_path=resumed)
    except SIGTERMException:
        # Lightning would exit with code 0, as if the stage were done.
        sys.exit(143)
    return trainer.strategy.barrier  # type: ignore[no-any-return]


def _print_epoch(epoch: int, row: dict[str, float]) -> None:
    print(
        f"epoch {epoch + 1}: train loss {row['train_loss']:.4f}, validation loss {row['val_loss']:.4f}, "
        f"{row['records_per_s']:,.0f} records/s",
        flush=True,
    )


def _finish(learner: "Learner", folder: Path, wait: Callable[[], Any]) -> History:
    """Load the weights that are kept, and remove what only a resumed training would need."""
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
