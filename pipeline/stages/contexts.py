"""The context of every record: computed over the records that ingest stored, and stored beside the features."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.contexts import Contexts, write_contexts
from pipeline.artifacts.tables import column_names
from pipeline.preprocessing import splits
from pipeline.preprocessing.assignment import Rows
from pipeline.preprocessing.context.past import columns, context
from pipeline.preprocessing.context.talks import can_have
from pipeline.settings.preprocess import ContextSettings
from pipeline.stages.reports.contexts import say_contexts, say_too_few
from pipeline.stages.reports.report import Report
from pipeline.stages.talks import stored_talks

FITTED: Final = ("train", "val", "calibration")
LEAST: Final = 100  # benign records with a context in each of FITTED: fewer would set thresholds that promise little


def contexts_of(rows: Rows, settings: ContextSettings, in_order: bool, report: Report) -> Contexts | None:
    """The context of every record, in the order of the records; None where too few have one, or none is asked for.

    No test record changes what models are fitted on: the past of the records of ``FITTED`` consists of these alone.
    The past of all others is that of all records.

    Args:
        rows: every record with its split.
        settings: of the context.
        in_order: whether the splits follow time.
        report: of the stage.
    """
    if settings.use == "never" or not in_order or not can_have(column_names(paths.RECORDS)):
        return None
    talks, known, late = stored_talks(settings.windows[-1])
    codes = {name: splits.SPLITS.index(name) for name in FITTED}
    benign = {name: int((known & (rows.y == 0) & (rows.split == code)).sum()) for name, code in codes.items()}
    if min(benign.values()) < LEAST:
        say_too_few(benign, LEAST, report)
        return None
    fitted = np.isin(rows.split, [*codes.values()])
    x = context(talks, known & fitted, settings.windows, settings.remembered)
    x[~fitted] = context(talks, known, settings.windows, settings.remembered)[~fitted]
    say_contexts(int(known.sum()), late, settings.windows, report)
    about = {"windows": [*settings.windows], "remembered": settings.remembered}
    return Contexts(rows.record_id, x, columns(settings.windows), about)


def write_by_split(folder: Path, contexts: Contexts, split: NDArray[np.int8]) -> None:
    """Store the contexts of each split, in the order of its samples; ``split`` is (n,)."""
    for code, name in enumerate(splits.SPLITS):
        write_contexts(folder, name, contexts.select(split == code))
