"""The ensemble, fitted without the strangest rows."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pipeline.models.detectors.ensemble import Ensemble
from pipeline.models.detectors.isolation_forest import IsolationForest


class Robust(Ensemble):
    """An ensemble for rows that nobody has labelled, attacks among them.

    An isolation forest scores the rows, and the members are fitted on all but the strangest share. Each tree sees 256
    rows, so that a few attacks hardly change it: Liu, Ting, Zhou, "Isolation Forest", 2008, section 5. To fit on what
    looks normal is an old way: Rousseeuw, Van Driessen, "A Fast Algorithm for the Minimum Covariance Determinant
    Estimator", 1999. Benign rows are left out with the attacks; this costs where no attack is there. Attacks that look
    like benign rows, as a port scan does, are not left out.

    Args:
        features: Z.
        members: detectors by name, each with its settings.
        peel: share of the rows that is left out.
        parts: how many parts the rows are left out in, to measure the scores of members.
        seed: of the parts and of the forest.
    """

    sized_by_data = ("kept",)
    kept: Tensor

    def __init__(
        self,
        features: int,
        members: Mapping[str, Mapping[str, Any]] | None = None,
        peel: float = 0.3,
        parts: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__(features, members, parts, seed)
        if not 0 <= peel < 1:
            raise ValueError(f"peel must be at least 0 and less than 1, not {peel}")
        self.peel = peel
        self.register_buffer("kept", torch.zeros(0, dtype=torch.int64))  # where the rows that are left stood

    def fit(self, x: Tensor, y: Tensor | None = None) -> None:
        """Fit the ensemble on the rows of x, (n, F), that are left."""
        super().fit(self._peeled(x))

    def fit_raw(self, x: Tensor, y: Tensor) -> None:
        """Fit the members on the rows of x, (n, F), that are left, and no tails."""
        super().fit_raw(self._peeled(x), y)

    def nearest(self, x: Tensor) -> Tensor | None:
        """(B, k) positions, among all rows that were given, of those that a member finds nearest."""
        rows = super().nearest(x)
        return None if rows is None else self.kept[rows]

    def _peeled(self, x: Tensor) -> Tensor:
        """(m, F) rows that are left, in their order; all, where there are too few to leave some out."""
        left = len(x) - int(self.peel * len(x))
        self.kept = torch.arange(len(x), device=x.device)
        if 0 < left < len(x):
            forest = IsolationForest(self.features, seed=self.seed).to(x.device)
            forest.fit(x)
            self.kept = forest.scores(x).argsort(stable=True)[:left].sort().values
        return x[self.kept]
