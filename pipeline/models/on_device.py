"""Models of PyTorch as functions of NumPy's arrays, on a device."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor

from pipeline.models.arrays.base import Form, Places
from pipeline.models.arrays.parts import ROWS_AT_ONCE, Rows
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.closed_form import ClosedForm
from pipeline.models.encoders.base import Encoder
from pipeline.models.encoders.identity import Identity
from pipeline.models.scoring import in_parts


@dataclass(frozen=True)
class EncoderOnDevice:
    """An encoder; it is moved to the device, and set to evaluation.

    Attributes:
        model: the encoder.
        device: where it runs.
    """

    model: Encoder
    device: str = "cpu"

    def __post_init__(self) -> None:
        self.model.to(self.device).eval()  # dropout must not decide

    def __call__(self, x: Rows) -> Rows:
        """(n, Z) latent of (n, F) features."""
        return _asked(self.device, lambda part: in_parts(self.model, part, ROWS_AT_ONCE), x)

    def margin(self, z: Rows) -> Rows:
        """(n,) of (n, Z), higher = more anomalous."""
        return _asked(self.device, lambda part: in_parts(self.model.margin, part, ROWS_AT_ONCE), z)

    @property
    def latent(self) -> int:
        """Z."""
        return self.model.latent

    @property
    def changes_nothing(self) -> bool:
        """Whether the latent is the features."""
        return isinstance(self.model, Identity)


@dataclass(frozen=True)
class DetectorOnDevice:
    """A detector; it is moved to the device, and set to evaluation.

    Attributes:
        model: the detector.
        device: where it runs.
    """

    model: Detector
    device: str = "cpu"

    def __post_init__(self) -> None:
        self.model.to(self.device).eval()  # dropout must not decide

    @property
    def form(self) -> Form | None:
        """What it computes without PyTorch; None if it is not in closed form."""
        return self.model.form if isinstance(self.model, ClosedForm) else None

    def scores(self, x: Rows) -> Rows:
        """(n,) of (n, Z), higher = more anomalous, each row on its own."""
        return _asked(self.device, self.model.scores, x)

    @property
    def replaces_quickly(self) -> bool:
        """Whether ``replaced`` costs a few scores of each row."""
        return self.model.replaces_quickly

    def replaced(self, x: Rows, reference: Rows) -> Rows:
        """(n, Z) score of each row of x, (n, Z), if one entry alone takes its value in ``reference``, (n, Z)."""
        return _asked(self.device, self.model.replaced, x, reference)

    def terms(self, x: Rows) -> Rows | None:
        """(n, Z) what each entry of x, (n, Z), adds to the score; None if the score is no sum over entries."""
        return _asked_perhaps(self.device, self.model.terms, x)

    def nearest(self, x: Rows) -> Places | None:
        """(n, k) positions of the fitted rows that are nearest to x, (n, Z); None for a model that keeps no rows."""
        return _asked_perhaps(self.device, self.model.nearest, x)


def _asked(device: str, question: Callable[..., Tensor], *given: Rows) -> Rows:
    return cast(Rows, _asked_perhaps(device, question, *given))


def _asked_perhaps(device: str, question: Callable[..., Tensor | None], *given: Rows) -> Rows | None:
    with torch.inference_mode():
        found = question(*(torch.from_numpy(np.ascontiguousarray(each)).to(device) for each in given))
    return None if found is None else found.cpu().numpy()
