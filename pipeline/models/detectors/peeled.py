"""A detector that is fitted without the strangest rows."""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from pipeline.base.registry import build
from pipeline.models.arrays.peeled import PeeledForm
from pipeline.models.arrays.stored import Stored
from pipeline.models.detectors.closed_form import ClosedForm
from pipeline.models.detectors.gmm import GMM
from pipeline.models.detectors.isolation_forest import IsolationForest
from pipeline.models.detectors.knn import KNN
from pipeline.models.detectors.mahalanobis import Mahalanobis
from pipeline.models.detectors.pca import PCA

INNER: Final[Mapping[str, type[ClosedForm]]] = {"gmm": GMM, "knn": KNN, "mahalanobis": Mahalanobis, "pca": PCA}


class Peeled(ClosedForm):
    """A closed-form detector of rows that nobody has labelled, attacks among them.

    An isolation forest scores the rows, and the detector is fitted on all but the strangest share. Each tree sees 256
    rows, so that a few attacks hardly change it: Liu, Ting, Zhou, "Isolation Forest", 2008, section 5. To fit on the
    rows that look normal is an old way: Rousseeuw, Van Driessen, "A Fast Algorithm for the Minimum Covariance
    Determinant Estimator", 1999. Benign rows are left out with the attacks, which costs where there is no attack.
    Attacks that look like benign rows stay.

    Args:
        features: Z.
        detector: name of the detector.
        settings: of the detector.
        peel: share of the rows that is left out.
        seed: of the forest.
    """

    sized_by_data = ("kept",)
    kept: Tensor

    def __init__(
        self,
        features: int,
        detector: str = "gmm",
        settings: Mapping[str, Any] | None = None,
        peel: float = 0.3,
        seed: int = 0,
    ) -> None:
        super().__init__(features)
        if not 0 <= peel < 1:
            raise ValueError(f"peel must be at least 0 and less than 1, not {peel}")
        self.peel, self.seed = peel, seed
        self.inner = build(INNER, detector, "peeled.detector", features=features, **(settings or {}))
        self.register_buffer("kept", torch.zeros(0, dtype=torch.int64))  # where the rows that are left stood

    def fit(self, x: Tensor, y: Tensor | None = None) -> None:
        """Fit the detector on the rows of x, (n, F), that are left; on all, if they are too few to leave one out."""
        left = len(x) - int(self.peel * len(x))
        self.kept = torch.arange(len(x), device=x.device)
        if 0 < left < len(x):
            forest = IsolationForest(self.features, seed=self.seed).to(x)
            forest.fit(x)
            self.kept = forest.scores(x).argsort(stable=True)[:left].sort().values
        self.inner.fit(x[self.kept])

    def _formed(self, arrays: Stored) -> PeeledForm:
        return PeeledForm.of(arrays, self.inner.form)
