"""Several detectors with one score."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.base.errors import DataError, TrainingError
from pipeline.base.registry import build
from pipeline.calibration.surprisal import KNOTS, Surprisal
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.gmm import GMM
from pipeline.models.detectors.isolation_forest import IsolationForest
from pipeline.models.detectors.knn import KNN
from pipeline.models.detectors.mahalanobis import Mahalanobis
from pipeline.models.detectors.pca import PCA
from pipeline.models.detectors.peeled import Peeled

MEMBERS: Final[Mapping[str, type[Detector]]] = {
    "gmm": GMM,
    "isolation_forest": IsolationForest,
    "knn": KNN,
    "mahalanobis": Mahalanobis,
    "pca": PCA,
    "peeled": Peeled,
}


class Ensemble(Detector):
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

    usual: ClassVar[Mapping[str, Mapping[str, Any]]] = {"knn": {"neighbours": 1}, "gmm": {}}  # members

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

    def _member(self, name: str) -> Detector:
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
            self.members[name].fit(x)  # type: ignore[operator]
            self._keep(row, self._tail(name, scores))

    def fit_raw(self, x: Tensor, y: Tensor) -> None:
        """Fit every member on x (n, F), and no tails."""
        for name in self.named:
            self.members[name].fit(x)  # type: ignore[operator]

    def raw(self, x: Tensor) -> Tensor:
        """(n, M) scores of the members."""
        return torch.stack([member.scores(x) for member in self.members.values()], dim=1)  # type: ignore[operator]

    def fit_units(self, raw: Tensor) -> None:
        """Fit the tail of every member on its scores, (n, M), of rows that it has not seen."""
        for row, name in enumerate(self.named):
            self._keep(row, self._tail(name, raw[:, row]))

    def _left_out(self, name: str, x: Tensor, left_out: Tensor) -> Tensor:
        """(m,) scores of the rows of x that are left out of the fit."""
        member = self._member(name).to(x)
        member.fit(x[~left_out])
        return member.scores(x[left_out])

    def _tail(self, name: str, scores: Tensor) -> Surprisal:
        try:
            return Surprisal.fit(scores.double().cpu().numpy())
        except DataError as error:
            raise TrainingError(f"detector ensemble, {name}: {error}") from error

    def _keep(self, row: int, tail: Surprisal) -> None:
        for buffer, values in ((self.knots, tail.knots), (self.surprises, tail.surprises)):
            buffer[row] = torch.from_numpy(np.pad(values, (0, KNOTS - len(values)), mode="edge"))
        self.above[row], self.below[row] = tail.above, tail.below

    def scores(self, x: Tensor) -> Tensor:
        """(n,) of (n, F): every member computes in its own parts."""
        return self.score(x)

    def score(self, x: Tensor) -> Tensor:
        """Mean surprise in nats, (B, F) to (B,)."""
        return self.of_raw(self.raw(x))

    def of_raw(self, raw: Tensor) -> Tensor:
        """(n,) mean surprise of rows whose scores by the members are ``raw``, (n, M)."""
        surprises = [self._surprise(row, scores) for row, scores in enumerate(raw.unbind(1))]
        return torch.stack(surprises).mean(0)

    def _surprise(self, row: int, scores: Tensor) -> Tensor:
        """(B,) surprise of the scores of a member, (B,)."""
        knots, surprises = (buffer[row].double().cpu().numpy() for buffer in (self.knots, self.surprises))
        tail = Surprisal(knots, surprises, float(self.above[row]), float(self.below[row]))
        return torch.from_numpy(tail.surprise(scores.detach().double().cpu().numpy())).to(scores)

    @property
    def replaces_quickly(self) -> bool:
        """As all members do."""
        return all(member.replaces_quickly for member in self.members.values())

    def replaced(self, x: Tensor, reference: Tensor) -> Tensor:
        """(B, F) mean surprise if one entry alone is replaced."""
        found = (member.replaced(x, reference).flatten() for member in self.members.values())  # type: ignore[operator]
        surprises = [self._surprise(row, scores) for row, scores in enumerate(found)]
        return torch.stack(surprises).mean(0).view_as(x)

    def nearest(self, x: Tensor) -> Tensor | None:
        """That of the first member that has any."""
        found = (member.nearest(x) for member in self.members.values())  # type: ignore[operator]
        return next((rows for rows in found if rows is not None), None)
