"""The contract of a detector: latent -> anomaly score."""

from abc import abstractmethod
from typing import ClassVar, Literal

from torch import Tensor

from pipeline.nn import Batch, Model


class Detector(Model):
    """Latent to score.

    A subclass takes ``features`` first, then its own settings, and implements ``score``.

    Attributes:
        trains_on: which training rows it is fitted on.
        features: width of its input, the Z of the encoder.
    """

    trains_on: ClassVar[Literal["benign", "all"]] = "benign"

    def __init__(self, features: int) -> None:
        super().__init__()
        if features < 1:
            raise ValueError(f"features must be at least 1, not {features}")
        self.features = features

    def initialise(self, x: Tensor) -> None:
        """Set the buffers that come from data, x (n, F); a closed-form detector is done after this."""

    def loss(self, batch: Batch) -> Tensor:
        """The mean score, which for a density is its negative log-likelihood."""
        return self.score(batch.x).mean()

    @abstractmethod
    def score(self, x: Tensor) -> Tensor:
        """(B, F) to (B,): higher is more anomalous."""
