"""The scores of every split, stored: the margin of each record and its score by each detector."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from pipeline.artifacts import paths
from pipeline.artifacts.files import whole_folder
from pipeline.artifacts.samples import read_samples, write_samples
from pipeline.base.samples import CONTEXT, SCORES
from pipeline.models.detectors.base import Detector
from pipeline.models.scoring import ROWS_AT_ONCE, in_batches
from pipeline.preprocessing import splits
from pipeline.stages.context_scores import scores_of


@contextmanager
def stored_scores(detectors: Sequence[Detector], device: torch.device, context: Detector | None) -> Iterator[Path]:
    """Store the scores of every split, contexts among them where they have a detector.

    Gives the folder, which appears whole when the block ends.
    """
    names = (*SCORES[: len(detectors) + 1], *(() if context is None else (CONTEXT,)))
    for detector in detectors:
        detector.to(device)
    with whole_folder(paths.SCORES) as folder:
        for split in splits.SPLITS:
            latent = read_samples(paths.LATENT, split)
            z, margin = np.ascontiguousarray(latent.x[:, :-1]), latent.x[:, -1]
            columns = [margin, *(in_batches(detector.scores, z, ROWS_AT_ONCE, device) for detector in detectors)]
            if context is not None:
                columns.append(scores_of(context, split, latent.record_id))
            scores = np.stack(columns, axis=1)
            write_samples(folder, split, latent.map(lambda _, x=scores: x, names))  # type: ignore[misc]
        yield folder
