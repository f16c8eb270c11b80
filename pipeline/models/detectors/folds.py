"""K detectors, each fitted without the benign records of one fold."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.base.errors import TrainingError
from pipeline.calibration.cross_conformal import route
from pipeline.models.arrays.folds import FoldsForm
from pipeline.models.arrays.stored import Stored
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.closed_form import ClosedForm
from pipeline.models.detectors.remembered import Remembered
from pipeline.models.scoring import array

VERIFIED: Final = 2_000


class Folds(ClosedForm):
    """One detector for each fold; a row is scored by that of its own fold.

    Why: ``pipeline.calibration.cross_conformal``.

    Args:
        features: Z.
        models: K detectors of one kind.
        seed: of the hash that assigns a row to a fold.
    """

    sized_by_data = ("fold",)
    fold: Tensor

    def __init__(self, features: int, models: Sequence[Detector], seed: int = 0) -> None:
        super().__init__(features)
        if not all(isinstance(model, ClosedForm) for model in models):
            raise ValueError("folds need models in closed form, as each fold has a model of its own")
        self.models, self.seed = nn.ModuleList(models), seed
        self._remembered: Remembered | None = None
        self.register_buffer("fold", torch.zeros(0, dtype=torch.int64))  # (n,) of the benign rows, in their order

    @classmethod
    def fitted(
        cls, make: Callable[[], Detector], x: Tensor, fold: Tensor, attacks: Tensor, families: Tensor, seed: int = 0
    ) -> Self:
        """Fit model k on all rows but those of fold k.

        ``Detector.fit_units`` uses the left-out scores of all folds, so no further fits are needed for it.

        Args:
            make: makes a detector that is not fitted yet.
            x: (n, Z) benign rows.
            fold: (n,) of each, from 0 on; ``IN_EVERY_MODEL`` for a row that every model is fitted on.
            attacks: (m, Z) seen attacks, which every model may learn from.
            families: (m,) number of the family of each, from 1 on.
            seed: of the hash.

        Raises:
            TrainingError: a model cannot be fitted; the message names its fold.
        """
        models = [make() for _ in range(int(fold.max()) + 1)]
        folds = cls(x.shape[1], models, seed)
        folds.fold = fold
        y = torch.cat([torch.zeros(len(x), dtype=families.dtype), families])
        apart = torch.cat([fold, torch.full((len(attacks),), -1)])
        everything, raw = torch.cat([x, attacks]), []
        for k, model in enumerate(models):
            with _of(k, len(models)):
                model.fit_raw(everything[apart != k], y[apart != k])
                raw.append(model.raw(x[fold == k]))
        for k, model in enumerate(models):
            with _of(k, len(models)):
                model.fit_units(torch.cat(raw))
        folds._remember(x, [model.of_raw(part) for model, part in zip(models, raw, strict=True)])
        return folds

    def _remember(self, x: Tensor, parts: Sequence[Tensor]) -> None:
        """Keep the scores of the rows of each fold, in their order among x, (n, Z), where ``scores`` gives the same."""
        own = self.route(x) == self.fold
        scores = parts[0].new_zeros(len(x))
        for k, part in enumerate(parts):
            scores[self.fold == k] = part
        self._remembered = Remembered.of(x[own], scores[own])

    def scores(self, x: Tensor) -> Tensor:
        """(n,) of (n, Z): each row by the model of its fold.

        The rows that were left out of their own model when that was fitted have been scored then.
        """
        if self._remembered is None:
            return super().scores(x)
        scores, new = self._remembered.scores(x)
        scores[new] = super().scores(x[new]).to(scores)
        return scores

    def score(self, x: Tensor) -> Tensor:
        """(B, Z) to (B,), computed anew."""
        return super().scores(x)

    def by_fold(self, x: Tensor, fold: Tensor) -> Tensor:
        """(n,) scores of x, (n, Z), each by the model of its ``fold``, (n,)."""
        return self._asked(cast(FoldsForm, self.form).by_fold, x, fold)

    def _formed(self, arrays: Stored) -> FoldsForm:
        forms = tuple(cast(ClosedForm, model).form for model in self.models)
        return FoldsForm(forms, arrays.whole("fold", None), self.seed)

    @torch.no_grad()
    def verify(self, x: Tensor) -> None:
        """Refuse a model that ranks nothing, by at most ``VERIFIED`` rows of x; the message names its fold."""
        some = x[:: max(1, -(-len(x) // VERIFIED))]
        for k, model in enumerate(self.models):
            with _of(k, len(self.models)):
                model.verify(some)  # type: ignore[operator]

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        """Load, and forget the scores of what was there before."""
        self._remembered = None
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def route(self, x: Tensor) -> Tensor:
        """(B,) fold of each row of x, (B, Z)."""
        return torch.from_numpy(route(array(x), len(self.models), self.seed)).to(x.device)


@torch.no_grad()
def out_of_fold(models: Sequence[Folds], z: NDArray[np.float32], fold: NDArray[np.int64], scores: NDArray[Any]) -> None:
    """Replace, in place, the scores of the rows whose model by ``route`` is not that of their fold.

    Such a row was dealt into the fold of its group, so the model that ``route`` finds has seen it.

    Args:
        models: D of them, of the same folds.
        z: (n, Z) benign rows.
        fold: (n,) of each.
        scores: (n, D) of the models by ``route``.
    """
    elsewhere = models[0].route(torch.from_numpy(z)).numpy() != fold
    if elsewhere.any():
        device = models[0].fold.device
        rows, at = (torch.from_numpy(part[elsewhere]).to(device) for part in (z, fold))
        scores[elsewhere] = np.stack([model.by_fold(rows, at).float().cpu().numpy() for model in models], axis=1)


@contextmanager
def _of(k: int, folds: int) -> Iterator[None]:
    try:
        yield
    except TrainingError as error:
        raise type(error)(f"fold {k + 1} of {folds}: {error}") from error
