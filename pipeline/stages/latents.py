"""The latent of every split, with the margin of each record as its last column."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.artifacts import paths
from pipeline.artifacts.files import whole_folder
from pipeline.artifacts.samples import read_samples, write_samples
from pipeline.models.encoders.base import Encoder
from pipeline.models.scoring import ROWS_AT_ONCE, in_batches, in_parts, with_features
from pipeline.preprocessing import splits


def mapped(function: Callable[[Tensor], Tensor], x: NDArray[np.float32], device: torch.device) -> NDArray[np.float32]:
    """What the function makes of the rows of x, a batch at a time."""
    return in_batches(lambda rows: in_parts(function, rows, ROWS_AT_ONCE), x, ROWS_AT_ONCE, device)


def write_latents(encoder: Encoder, device: torch.device, pass_features: bool) -> None:
    """Store what the second stage sees, and the margin, of every split."""

    def latent_and_margin(x: Tensor) -> Tensor:
        z = encoder(x)
        return torch.cat([with_features(z, x, pass_features), encoder.margin(z)[:, None]], dim=1)  # (B, Z (+ F) + 1)

    latent = tuple(f"z{i}" for i in range(encoder.latent))
    with whole_folder(paths.LATENT) as folder:
        for split in splits.SPLITS:
            samples = read_samples(paths.PROCESSED, split)
            columns = (*latent, *(samples.columns if pass_features else ()), "margin")
            write_samples(folder, split, samples.map(lambda x: mapped(latent_and_margin, x, device), columns))
