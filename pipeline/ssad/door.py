"""``train``: a user's model, data and rules in, scores and confidence out.

Higher scores are more anomalous. The objective takes the loss of the rows if the model has one, else their score; if
there is no score, the loss is the score. A batch is x, (x, y) or a dict of the two. y is 0 for normal, 1 for anomalous,
-1 or NaN for unknown; results are measured against it, and it is never learnt. After an interruption the same call goes
on after the last whole epoch.
"""

import hashlib
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from safetensors.torch import save_model
from torch import Tensor, nn

from pipeline import tracking
from pipeline.artifacts.files import atomic
from pipeline.base.errors import ArtifactError, TrainingError
from pipeline.models.base import Model
from pipeline.models.training import checkpoints
from pipeline.models.training.updates import Updates
from pipeline.ssad.initial import initial as initial_confidence
from pipeline.ssad.loaders import Draw
from pipeline.ssad.objectives import Objective, PerRow, Weighted
from pipeline.ssad.plan import Plan
from pipeline.ssad.result import Result

if TYPE_CHECKING:
    from pipeline.ssad.module import Supervision

LAST = "checkpoints/last.safetensors"


def train(
    model: nn.Module,
    data: Any,
    updates: Updates | None,
    *,
    out: str | Path,
    objective: Objective | None = None,
    score: PerRow | None = None,
    loss: PerRow | None = None,
    optimizer: Callable[[Any], Any] | None = None,
    val: Any = None,
    test: Any = None,
    batch_size: int = 256,
    initial: ArrayLike | str | Path | None = None,
    record_id: Callable[[int], int | str] = int,
    thresholds: Sequence[float] = (),
    seed: int = 0,
    resume: bool = True,
    mlflow: bool | None = None,
    **trainer: Any,
) -> Result:
    """Train ``model`` on contaminated data; it ends trained, on the CPU, in evaluation mode.

    Args:
        model: with a method ``score(x)`` or ``loss(x)``, x -> (B,), unless ``score`` or ``loss`` below is given.
        data: a ``LightningDataModule``, or a ``DataLoader`` or ``Dataset`` of the training rows.
        updates: strategy, rule, and when to update; None trains without updates.
        out: folder for all files of this training.
        objective: values, confidence -> scalar: ``RADON``, ``GRAnD``, ``Weighted`` (the default) or any function.
        score: model, x -> (B,), instead of a method.
        loss: model, x -> (B,), instead of a method.
        optimizer: parameters -> what ``configure_optimizers`` may return; None: the model's own, else Adam at 1e-3.
        val: ``DataLoader`` or ``Dataset`` of validation rows, if ``data`` is no data module.
        test: likewise of test rows.
        batch_size: rows of a batch of a ``Dataset``.
        initial: confidence at the start: (N,) values, or ``confidence_epoch_{n}.csv`` or ``.parquet``; None for 1.
        record_id: position of a row in the data set -> its id in every file.
        thresholds: at which test rows are judged, beside those of the updates.
        seed: of the order of rows, dropout and noise.
        resume: whether to go on with an interrupted training in ``out``; False starts afresh.
        mlflow: whether to log to the project's MLflow store too; None: if there is one.
        **trainer: of Lightning's ``Trainer``, such as max_epochs, callbacks, logger, devices, strategy.

    Raises:
        TrainingError: no usable score or loss, ``updates.undo``, or another interrupted training in ``out``.
        DataError: the data cannot be used.
    """
    rules = (updates, objective or Weighted(), optimizer, seed)
    plan = _plan(model, _values(model, score, loss), rules, initial_confidence(initial, record_id), thresholds)
    return _trained(model, plan, (data, val, test, batch_size), Path(out), seed, record_id, resume, mlflow, trainer)


def _plan(
    model: nn.Module, values: tuple[PerRow, PerRow], rules: tuple[Any, ...], initial: Any, thresholds: Sequence[float]
) -> Plan:
    updates, objective, optimizer, _ = rules
    _refuse_undo(updates)
    fingerprint = _fingerprint(model, *rules)
    return Plan(*values, objective, updates, optimizer, initial, tuple(thresholds), fingerprint)


def _trained(
    model: nn.Module,
    plan: Plan,
    sources: tuple[Any, Any, Any, int],
    folder: Path,
    seed: int,
    record_id: Callable[[int], int | str],
    resume: bool,
    mlflow: bool | None,
    trainer: dict[str, Any],
) -> Result:
    from pipeline.ssad.data import data_module
    from pipeline.ssad.module import Supervision

    draw = Draw(seed)
    supervised = data_module(*sources, draw)
    resumed = _resumable(folder / LAST, plan.fingerprint) if resume else None
    key = checkpoints.read(resumed)["ssad"]["run"] if resumed else tracking.new_key()
    module = Supervision(model, plan, draw, key, record_id)
    with _quiet(), torch.random.fork_rng(devices=[]):
        _run(module, supervised, folder, resumed, mlflow, trainer)
    return _result(module, folder)


def _refuse_undo(updates: Updates | None) -> None:
    if updates and updates.undo:
        raise TrainingError(
            "Updates(undo=True): ssad.train takes no update back, only the stages of the pipeline do; leave undo out, "
            "and cap an update with max_share and max_unknown_share"
        )


def _values(model: nn.Module, score: PerRow | None, loss: PerRow | None) -> tuple[PerRow, PerRow]:
    """What scores rows, and what the objective takes."""
    score = score or _method(model, "score")
    if not isinstance(model, Model):  # the loss of this package's own models is one of a batch
        loss = loss or _method(model, "loss")
    found = score or loss
    if found is None:
        raise TrainingError(
            f"{type(model).__name__}: has neither a method score(x) nor loss(x); give it one, from B rows to (B,), or "
            "pass one, such as score=ssad.squared_error for an autoencoder"
        )
    return found, loss or found


def _method(model: nn.Module, name: str) -> PerRow | None:
    """A method of the model's class: an attribute of that name may be a module, such as ``nn.MSELoss()``."""
    if not callable(getattr(type(model), name, None)):
        return None

    def call(model: nn.Module, x: Tensor) -> Tensor:
        values: Tensor = getattr(model, name)(x)
        return values

    return call


def _fingerprint(model: nn.Module, *rules: Any) -> str:
    """A digest of what must stay the same when a training goes on. The rows are left out, for they may be many."""
    digest = hashlib.sha256(re.sub(r" at 0x[0-9a-f]+", "", f"{model!r}{rules!r}").encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
    return digest.hexdigest()


def _resumable(last: Path, fingerprint: str) -> Path | None:
    if not last.exists():
        return None
    try:
        known = checkpoints.read(last)["ssad"]["fingerprint"]
    except (ArtifactError, KeyError) as error:
        raise TrainingError(f"{last}: is no checkpoint of ssad; start afresh with resume=False") from error
    if known != fingerprint:
        raise TrainingError(
            f"{last}: an interrupted training of another model, rule, objective or seed; give another folder as out, "
            "or start afresh with resume=False"
        )
    return last


def _run(
    module: "Supervision", data: Any, folder: Path, resumed: Path | None, mlflow: bool | None, settings: dict[str, Any]
) -> None:
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from pipeline.ssad import report

    trainer = _trainer(folder, settings)
    with ExitStack() as stack:
        if trainer.is_global_zero:
            folder.mkdir(parents=True, exist_ok=True)
            if not resumed:
                (folder / LAST).unlink(missing_ok=True)
                report.clear(folder)
            params = _params(module, settings)
            module.report = stack.enter_context(
                report.opened(folder, module.name, trainer.loggers, mlflow, module.run, params)
            )
        try:
            trainer.fit(module, datamodule=data, ckpt_path=resumed, weights_only=None)
            if data.has("test_dataloader"):
                trainer.test(module, datamodule=data, verbose=False)
        except SIGTERMException:
            sys.exit(143)  # Lightning's own code is 0: a training that was killed would count as done
        if module.report:
            _finish(module, folder)


def _finish(module: "Supervision", folder: Path) -> None:
    """The last files; a training that is done leaves nothing to resume."""
    assert module.report
    with atomic(folder / "model.safetensors") as temporary:
        save_model(module.model, str(temporary))
    module.report.history(module.history)
    module.report.file(folder / "model.safetensors")
    (folder / LAST).unlink(missing_ok=True)


def _trainer(folder: Path, settings: dict[str, Any]) -> Any:
    from lightning.pytorch import Trainer

    from pipeline.models.training.trainer import SafetensorsIO
    from pipeline.ssad.module import KeepLast

    own = {"max_epochs": 10, "logger": False, "enable_model_summary": False, "num_sanity_val_steps": 0}
    fixed = {
        "callbacks": [KeepLast(folder / LAST), *_listed(settings.get("callbacks"))],
        "plugins": [SafetensorsIO(), *_listed(settings.get("plugins"))],
        "use_distributed_sampler": False,  # the loaders share rows out themselves
    }
    bar = {"enable_progress_bar": sys.stderr.isatty(), "default_root_dir": folder}
    return Trainer(**{**own, **bar, **settings, **fixed})


def _listed(given: Any) -> list[Any]:
    return [] if given is None else list(given) if isinstance(given, list | tuple) else [given]


def _params(module: "Supervision", settings: Mapping[str, Any]) -> dict[str, Any]:
    plan = module.plan
    rules = {"objective": plan.objective, "seed": module.draw.seed, "model": type(module.model).__name__}
    updates = {f"updates.{name}": value for name, value in vars(plan.updates).items()} if plan.updates else {}
    return {**rules, **updates, **{f"trainer.{name}": value for name, value in settings.items()}}


def _result(module: "Supervision", folder: Path) -> Result:
    seen, tested = module.seen, module.tested
    if seen is None:
        raise TrainingError(
            "the training ended in another process and left no scores here; use a strategy that does not spawn, such "
            "as ddp instead of ddp_spawn"
        )
    module.model.cpu().eval()
    test: dict[str, Any] = {}
    if tested is not None and (tested.y >= 0).any():
        test = {**tested.ranking(), "thresholds": {f"{cut:g}": tested.decided(cut) for cut in module.cuts.values()}}
    return Result(
        record_id=np.array([module.name(row) for row in seen.rows.tolist()]),
        scores=seen.score,
        confidence=module.confidence[torch.from_numpy(seen.rows)].cpu().numpy(),
        thresholds=module.thresholds,
        history=tuple(module.history),
        folder=folder,
        test=test,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's advice about loaders and sampling, which are rebuilt here."""
    with tracking.quiet("lightning.pytorch", "lightning.fabric", "lightning"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\.")
        warnings.filterwarnings("ignore", message=".*LeafSpec")
        yield
