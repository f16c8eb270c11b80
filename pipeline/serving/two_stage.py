"""The two stages and the decision together: features -> encoder -> detector (and head) -> calibrated score -> verdict.

The evaluation, the scoring of new records and the registered model all decide with ``TwoStage.predict``.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.calibration.calibration import Calibration
from pipeline.calibration.named_thresholds import Names
from pipeline.calibration.prediction import Prediction
from pipeline.models.arrays.base import Form, Places
from pipeline.models.arrays.parts import ROWS_AT_ONCE, Rows

RECORDS_AT_ONCE: Final = 4 * ROWS_AT_ONCE  # a search for neighbours is faster the more rows it is given


class Encoder(Protocol):
    """The first stage: features -> latent, and a margin that is positive nearer to the attacks."""

    def __call__(self, x: Rows) -> Rows:
        """(n, Z) latent of (n, F) features."""
        ...

    def margin(self, z: Rows) -> Rows:
        """(n,) of (n, Z), higher = more anomalous."""
        ...

    @property
    def latent(self) -> int:
        """Z."""
        ...

    @property
    def changes_nothing(self) -> bool:
        """Whether the latent is the features."""
        ...


class Detector(Protocol):
    """The second stage, or a head: latent -> score."""

    @property
    def form(self) -> Form | None:
        """What it computes without PyTorch; None if it is not in closed form."""
        ...

    def scores(self, x: Rows) -> Rows:
        """(n,) of (n, Z), higher = more anomalous, each row on its own."""
        ...

    def terms(self, x: Rows) -> Rows | None:
        """(n, Z) what each entry of x, (n, Z), adds to the score; None if the score is no sum over entries."""
        ...

    def nearest(self, x: Rows) -> Places | None:
        """(n, k) positions of the fitted rows that are nearest to x, (n, Z); None for a model that keeps no rows."""
        ...

    @property
    def replaces_quickly(self) -> bool:
        """Whether ``replaced`` costs a few scores of each row."""
        ...

    def replaced(self, x: Rows, reference: Rows) -> Rows:
        """(n, Z) score of each row of x, (n, Z), if one entry alone takes its value in ``reference``, (n, Z)."""
        ...


@dataclass(frozen=True)
class TwoStage:
    """Features in, prediction out.

    Attributes:
        encoder: first stage.
        detector: second stage, fitted on what ``seen`` makes of the features.
        calibration: the decision on top of the scores.
        batch_size: records that pass through the models at once.
        head: a supervised detector beside the second stage, on what that sees.
        pass_features: whether the second stage sees the features beside the latent.
    """

    encoder: Encoder
    detector: Detector
    calibration: Calibration
    batch_size: int = RECORDS_AT_ONCE
    head: Detector | None = None
    pass_features: bool = False

    def predict(self, x: NDArray[np.float32], groups: Names | None = None) -> Prediction:
        """Judge (n, F) features of records of ``groups``, (n,), if they are known; each record on its own."""
        return Prediction.of(self.calibration, *self.scores(x).T, groups=groups)

    def scores(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, S) scores of (n, F) features, in the order of ``SCORES``."""
        rows = np.ascontiguousarray(x, np.float32)
        batches = [rows[start : start + self.batch_size] for start in range(0, len(rows), self.batch_size)]
        none = np.zeros((0, 2 if self.head is None else 3), np.float32)
        return np.concatenate([none, *map(self._scores, batches)])

    def replaced(self, x: NDArray[np.float32], reference: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """(n, F) score of the detector and of the head if one feature of x, (n, F), takes its value in ``reference``.

        Only where ``replaces_quickly``.
        """
        models = {name: each for name, each in (("detector", self.detector), ("head", self.head)) if each is not None}
        return {name: model.replaced(x, reference).astype(np.float32) for name, model in models.items()}

    @property
    def replaces_quickly(self) -> bool:
        """Whether ``replaced`` costs a few scores of each record, and knows all that a score depends on."""
        plain = self.encoder.changes_nothing and not self.pass_features
        models = [each for each in (self.detector, self.head) if each is not None]
        return plain and "margin" not in self.calibration.used and all(each.replaces_quickly for each in models)

    def seen(self, x: Rows) -> Rows:
        """(n, Z) or (n, Z + F) what the second stage sees of (n, F) features."""
        return self._seen(self.encoder(x), x)

    def _seen(self, z: Rows, x: Rows) -> Rows:
        return np.concatenate([z, x], axis=1) if self.pass_features else z

    def _scores(self, x: Rows) -> NDArray[np.float32]:
        z = self.encoder(x)
        seen = self._seen(z, x)
        models = [self.detector] if self.head is None else [self.detector, self.head]
        scores = [self.encoder.margin(z), *(model.scores(seen) for model in models)]
        return np.stack(scores, axis=1).astype(np.float32, copy=False)
