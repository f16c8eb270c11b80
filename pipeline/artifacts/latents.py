"""What stage 1 leaves of each record: its latent, and behind it its margin.

Where no encoder maps the features, the latent is the features. Then the margin alone is stored, and the file names the
columns of ``processed`` that stand for the latent. Both files have the same rows, in the same row groups.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Final

import numpy as np

from pipeline.artifacts import paths
from pipeline.artifacts.samples import Mask, Write, columns_of_x, read_samples, sample_groups, samples_writer
from pipeline.artifacts.tables import table_metadata
from pipeline.base.errors import ArtifactError
from pipeline.base.samples import Samples

MARGIN: Final = "margin"
_FEATURES: Final = "flowsculpt.latent_is"  # in the file: JSON, name in the latent -> column of processed


@contextmanager
def latents_writer(folder: Path, split: str, columns: Sequence[str], features: Mapping[str, str]) -> Iterator[Write]:
    """What stores the latents of one split part by part.

    Args:
        folder: where they go.
        split: its name.
        columns: those of the latent that are stored, and the margin behind them.
        features: where the latent is features: name in the latent -> column of ``processed``; else empty.
    """
    about = {_FEATURES: json.dumps(dict(features))} if features else None
    with samples_writer(folder, split, columns, about) as write:
        yield write


def read_latents(split: str, rows: Mask | None = None) -> Samples:
    """The latent of one split, without the margin; of the rows under a mask, (n,), if one is given.

    Raises:
        ArtifactError: a file is absent or no Parquet.
    """
    names = _features(split)
    if not names:
        return read_samples(paths.LATENT, split, rows, latent_columns(split))
    return replace(read_samples(paths.PROCESSED, split, rows, [*names.values()]), columns=(*names,))


def latent_groups(split: str) -> Iterator[Samples]:
    """The latent and, as the last column, the margin of one split, a row group at a time.

    Raises:
        ArtifactError: a file is absent, no Parquet, or they are of other records.
    """
    names = _features(split)
    if not names:
        yield from sample_groups(paths.LATENT, split)
        return
    both = sample_groups(paths.PROCESSED, split, [*names.values()]), sample_groups(paths.LATENT, split, [MARGIN])
    for latent, margin in zip_longest(*both):
        if latent is None or margin is None or not np.array_equal(latent.record_id, margin.record_id):
            raise ArtifactError(f"{paths.LATENT}: {split} has other records than {paths.PROCESSED}; run `dvc repro`")
        x = np.concatenate([latent.x, margin.x], axis=1)
        yield replace(latent, x=x, columns=(*names, MARGIN))


def latent_columns(split: str) -> tuple[str, ...]:
    """The names of the columns of the latent of one split, without the margin.

    Raises:
        ArtifactError: the file is absent or no Parquet.
    """
    return (*_features(split),) or columns_of_x(paths.LATENT / f"{split}.parquet")[:-1]


def read_margins(split: str, rows: Mask | None = None) -> Samples:
    """The margin alone, (n, 1), of one split; of the rows under a mask, (n,), if one is given.

    Raises:
        ArtifactError: the file is absent or no Parquet.
    """
    return read_samples(paths.LATENT, split, rows, [MARGIN])


def _features(split: str) -> dict[str, str]:
    """Name in the latent -> column of ``processed``; empty where the file holds the latent itself."""
    found: dict[str, str] = json.loads(table_metadata(paths.LATENT / f"{split}.parquet").get(_FEATURES, "{}"))
    return found
