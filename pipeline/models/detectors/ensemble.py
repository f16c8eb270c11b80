"""Several detectors with one score."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final, cast

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.base.errors import DataError, TrainingError
from pipeline.base.registry import build
from pipeline.calibration.surprisal import KNOTS, Surprisal
from pipeline.models.arrays.ensemble import USUAL, EnsembleForm, Members
from pipeline.models.arrays.stored import Stored
from pipeline.models.detectors.closed_form import ClosedForm
from pipeline.models.detectors.gmm import GMM
from pipeline.models.detectors.isolation_forest import IsolationForest
from pipeline.models.detectors.knn import KNN
from pipeline.models.detectors.mahalanobis import Mahalanobis
from pipeline.models.detectors.pca import PCA
from pipeline.models.detectors.peeled import Peeled
from pipeline.models.scoring import array

MEMBERS: Final[Mapping[str, type[ClosedForm]]] = {
    "gmm": GMM,
    "isolation_forest": IsolationForest,
    "knn": KNN,
    "mahalanobis": Mahalanobis,
    "pca": PCA,
    "peeled": Peeled,
}


class Ensemble(ClosedForm):
    """Mean surprise of several closed-form detectors, each measured by the tail of benign rows that it has not seen.

    Scores of different detectors have no common unit. The surprise of a score, -log P(a benign score is as high), is
    one (``pipeline.calibration.surprisal``). It is fitted on benign rows that are left out of the fit part by part; the
    members that score are then fitted on all rows. A record that only one detector finds strange scores lower than one
    that all find strange, so benign records that stand out to one detector hide fewer attacks. Aggarwal, Sathe,
    "Theoretical Foundations and Algorithms for Outlier Ensembles", 2015: the mean lowers the variance of the score.

    Args:
        features: Z.
        members: detectors by name, each with its settings; None: the usual ones.
        parts: how many parts the rows are left out in.
        seed: of the parts.
    """

    usual: ClassVar[Members] = USUAL

    knots: Tensor
    surprises: Tensor
    above: Tensor
    below: Tensor

    def __init__(
        self,
        features: int,
        members: Mapping[str, Mapping[str, Any]] | None = None,
        parts: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__(features)
        named = self.usual if members is None else members
        if not isinstance(named, Mapping) or not all(isinstance(settings, Mapping) for settings in named.values()):
            raise ValueError(
                f"members must be names with their settings, as in {{knn: {{neighbours: 1}}}}, not {named}"
            )
        if not named or parts < 2:
            raise ValueError(f"it needs members and at least 2 parts, not {dict(named)} and {parts}")
        self.named, self.parts, self.seed = named, parts, seed
        self.members = nn.ModuleDict({name: self._member(name) for name in named})
        for buffer in ("knots", "surprises"):
            self.register_buffer(buffer, torch.zeros(len(named), KNOTS))  # the last one as often as there is room
        for buffer in ("above", "below"):
            self.register_buffer(buffer, torch.ones(len(named)))

    def _member(self, name: str) -> ClosedForm:
        return build(MEMBERS, name, "ensemble.members", features=self.features, **self.named[name])

    def fit(self, x: Tensor, y: Tensor | None = None) -> None:
        """Fit every member on x (n, F), and its tail on the scores of rows that were left out.

        Raises:
            TrainingError: if there are too few rows to leave any out, or for a member.
        """
        if len(x) < self.parts:
            raise TrainingError(f"detector ensemble: {self.parts} parts need at least as many records, given {len(x)}")
        generator = torch.Generator().manual_seed(self.seed)
        part = (torch.randperm(len(x), generator=generator) % self.parts).to(x.device)
        for row, name in enumerate(self.named):
            scores = torch.cat([self._left_out(name, x, part == number) for number in range(self.parts)])
            self._fitted(name).fit(x)
            self._keep(row, self._tail(name, scores))

    def fit_raw(self, x: Tensor, y: Tensor) -> None:
        """Fit every member on x (n, F), and no tails."""
        for name in self.named:
            self._fitted(name).fit(x)

    def fit_units(self, raw: Tensor) -> None:
        """Fit the tail of every member on its scores, (n, M), of rows that it has not seen."""
        for row, name in enumerate(self.named):
            self._keep(row, self._tail(name, raw[:, row]))

    def _fitted(self, name: str) -> ClosedForm:
        return cast(ClosedForm, self.members[name])

    def _left_out(self, name: str, x: Tensor, left_out: Tensor) -> Tensor:
        """(m,) scores of the rows of x that are left out of the fit."""
        member = self._member(name).to(x)
        member.fit(x[~left_out])
        return member.scores(x[left_out])

    def _tail(self, name: str, scores: Tensor) -> Surprisal:
        try:
            return Surprisal.fit(array(scores.double()))
        except DataError as error:
            raise TrainingError(f"detector ensemble, {name}: {error}") from error

    def _keep(self, row: int, tail: Surprisal) -> None:
        for buffer, values in ((self.knots, tail.knots), (self.surprises, tail.surprises)):
            buffer[row] = torch.from_numpy(np.pad(values, (0, KNOTS - len(values)), mode="edge"))
        self.above[row], self.below[row] = tail.above, tail.below

    def _formed(self, arrays: Stored) -> EnsembleForm:
        return EnsembleForm.of(arrays, {name: self._fitted(name).form for name in self.named})
