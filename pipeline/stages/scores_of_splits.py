"""The scores of every split, stored: the margin of each record and its score by each detector."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.files import whole_folder
from pipeline.artifacts.samples import samples_writer
from pipeline.base.samples import CONTEXT, SCORES
from pipeline.models.detectors.base import Detector
from pipeline.models.scoring import ROWS_AT_ONCE, in_batches
from pipeline.preprocessing import splits
from pipeline.stages.context_scores import scores_of
from pipeline.stages.scored_rows import stated, taken_groups, to_score
from pipeline.stages.taken import Taken, who


@contextmanager
def stored_scores(
    detectors: Sequence[Detector], device: torch.device, taken: Taken, context: Detector | None
) -> Iterator[Path]:
    """Store the scores of every split, contexts among them where they have a detector, a row group in memory at a time.

    Of the splits that models are fitted on, only rows that are taken have scores. Attacks of train have none, as no
    stage reads them; the file says how many were taken.

    Gives the folder, which appears whole when the block ends.
    """
    names = (*SCORES[: len(detectors) + 1], *(() if context is None else (CONTEXT,)))
    for detector in detectors:
        detector.to(device)
    with whole_folder(paths.SCORES) as folder:
        for split in splits.SPLITS:
            rows, start = to_score(split, taken), 0
            past = None if context is None else scores_of(context, split, who(split).record_id[rows])
            with samples_writer(folder, split, names, stated(split)) as write:
                for latent in taken_groups(split, rows):
                    beside = [] if past is None else [past[start : start + len(latent)]]
                    start += len(latent)
                    write(replace(latent, x=_scores(detectors, latent.x, device, beside), columns=names))
        yield folder


def _scores(
    detectors: Sequence[Detector],
    x: NDArray[np.float32],
    device: torch.device,
    beside: Sequence[NDArray[np.float32]],
) -> NDArray[np.float32]:
    """(n, D + 1) margin and score by each detector of a latent with the margin as its last column; others beside."""
    z = np.ascontiguousarray(x[:, :-1])
    scores = [in_batches(detector.scores, z, ROWS_AT_ONCE, device) for detector in detectors]
    return np.stack([x[:, -1], *scores, *beside], axis=1)
