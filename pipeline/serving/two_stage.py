"""The two stages and the decision together: features -> encoder -> detector (and head) -> calibrated score -> verdict.

The evaluation, the scoring of new records and the registered model all decide with ``TwoStage.predict``.
"""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.calibration.calibration import Calibration
from pipeline.calibration.named_thresholds import Names
from pipeline.calibration.prediction import Prediction
from pipeline.models.encoders.identity import Identity
from pipeline.models.scoring import ROWS_AT_ONCE, in_batches, in_parts, with_features

RECORDS_AT_ONCE: Final = 4 * ROWS_AT_ONCE  # a search for neighbours is faster the more rows it is given


class Encoder(Protocol):
    """The first stage: features -> latent, and a margin that is positive nearer to the attacks."""

    def __call__(self, x: Tensor) -> Tensor:
        """(B, Z) latent of (B, F) features."""
        ...

    def margin(self, z: Tensor) -> Tensor:
        """(B,) of (B, Z), higher = more anomalous."""
        ...


class Detector(Protocol):
    """The second stage, or a head: latent -> score."""

    def scores(self, x: Tensor) -> Tensor:
        """(n,) of (n, Z), higher = more anomalous, each row on its own."""
        ...

    @property
    def replaces_quickly(self) -> bool:
        """Whether ``replaced`` costs a few scores of each row."""
        ...

    def replaced(self, x: Tensor, reference: Tensor) -> Tensor:
        """(B, Z) score of each row of x, (B, Z), if one entry alone takes its value in ``reference``, (B, Z)."""
        ...


@dataclass(frozen=True)
class TwoStage:
    """Features in, prediction out; the models are moved to the device and set to evaluation.

    Attributes:
        encoder: first stage.
        detector: second stage, fitted on what ``with_features`` makes of the encoder's latent.
        calibration: the decision on top of the scores.
        batch_size: records that pass through the models at once.
        device: where the models run.
        head: a supervised detector beside the second stage, on what that sees.
        pass_features: whether the second stage sees the features beside the latent.
    """

    encoder: Encoder
    detector: Detector
    calibration: Calibration
    batch_size: int = RECORDS_AT_ONCE
    device: str = "cpu"
    head: Detector | None = None
    pass_features: bool = False

    def __post_init__(self) -> None:
        stages: list[object] = [self.encoder, self.detector, self.head]
        for stage in stages:
            if isinstance(stage, nn.Module):
                stage.to(self.device).eval()  # dropout must not decide

    def predict(self, x: NDArray[np.float32], groups: Names | None = None) -> Prediction:
        """Judge (n, F) features of records of ``groups``, (n,), if they are known; each record on its own."""
        return Prediction.of(self.calibration, *self.scores(x).T, groups=groups)

    def scores(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, S) scores of (n, F) features, in the order of ``SCORES``."""
        if not len(x):
            return np.zeros((0, 2 if self.head is None else 3), np.float32)
        return in_batches(self._scores, x, self.batch_size, self.device)

    def replaced(self, x: NDArray[np.float32], reference: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """(n, F) score of the detector and of the head if one feature of x, (n, F), takes its value in ``reference``.

        Only where ``replaces_quickly``.
        """
        models = {name: each for name, each in (("detector", self.detector), ("head", self.head)) if each is not None}
        both = [torch.from_numpy(np.ascontiguousarray(each)).to(self.device) for each in (x, reference)]
        with torch.inference_mode():
            return {name: model.replaced(*both).float().cpu().numpy() for name, model in models.items()}

    @property
    def replaces_quickly(self) -> bool:
        """Whether ``replaced`` costs a few scores of each record, and knows all that a score depends on."""
        plain = isinstance(self.encoder, Identity) and not self.pass_features
        models = [each for each in (self.detector, self.head) if each is not None]
        return plain and "margin" not in self.calibration.used and all(each.replaces_quickly for each in models)

    def _scores(self, x: Tensor) -> Tensor:
        z = in_parts(self.encoder, x, ROWS_AT_ONCE)
        seen = with_features(z, x, self.pass_features)
        scores = [in_parts(self.encoder.margin, z, ROWS_AT_ONCE), self.detector.scores(seen)]
        return torch.stack(scores if self.head is None else [*scores, self.head.scores(seen)], dim=1)
