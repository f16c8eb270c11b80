"""The latent of every split, with the margin of each record as its last column."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.artifacts import paths
from pipeline.artifacts.files import whole_folder
from pipeline.artifacts.latents import MARGIN, latents_writer
from pipeline.artifacts.samples import columns_of_x, sample_parts, samples_of
from pipeline.base import engine
from pipeline.base.samples import Samples
from pipeline.models.encoders.base import Encoder
from pipeline.models.scoring import ROWS_AT_ONCE, in_batches, in_parts, with_features
from pipeline.preprocessing import splits


def mapped(function: Callable[[Tensor], Tensor], x: NDArray[np.float32], device: torch.device) -> NDArray[np.float32]:
    """What the function makes of the rows of x, a batch at a time."""
    return in_batches(lambda rows: in_parts(function, rows, ROWS_AT_ONCE), x, ROWS_AT_ONCE, device)


def write_latents(encoder: Encoder, device: torch.device, pass_features: bool) -> None:
    """Store what the second stage sees, and the margin, of every split, a row group in memory at a time.

    Where the latent is the features, it is not stored again; see ``pipeline.artifacts.latents``.
    """
    latent = tuple(f"z{i}" for i in range(encoder.latent))
    with whole_folder(paths.LATENT) as folder:
        for split in splits.SPLITS:
            features = columns_of_x(paths.PROCESSED / f"{split}.parquet")
            beside = features if pass_features else ()
            same = zip((*latent, *beside), (*features, *beside), strict=True) if encoder.latent_is_features else ()
            columns = (MARGIN,) if encoder.latent_is_features else (*latent, *beside, MARGIN)
            with latents_writer(folder, split, columns, dict(same)) as write:
                groups, shared = sample_parts(paths.PROCESSED, split), (encoder, device, pass_features, columns)
                over = engine.mapped if device.type == "cpu" else engine.here  # the device is that of this process
                for samples in over(samples_of, groups, _latents, shared):
                    write(samples)


def _latents(
    samples: Samples, encoder: Encoder, device: torch.device, pass_features: bool, columns: tuple[str, ...]
) -> Samples:
    """The samples with their latent, unless that is the features, and their margin."""

    def latent_and_margin(x: Tensor) -> Tensor:
        z = encoder(x)
        margin = encoder.margin(z)[:, None]
        return margin if encoder.latent_is_features else torch.cat([with_features(z, x, pass_features), margin], dim=1)

    return samples.map(lambda x: mapped(latent_and_margin, x, device), columns)
