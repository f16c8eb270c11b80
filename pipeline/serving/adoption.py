"""Which model keeps its promise on a network: the champion under thresholds of that network, or one that learnt it.

Both are tried on the later records of the network, which neither has used: does the share of alarms lie where chance
allows it at the rate that was promised? Without labels no more can be asked of benign traffic. Drills say whether the
model is silent.

Attacks among the first records are learnt as benign. If a share e of these records are attacks that score above all
benign ones, the thresholds rise too: one for a share a of benign records flags (a - e) / (1 - e) of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.tables import column_names, read_table
from pipeline.base.errors import ConfigError, SchemaError
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.decisions import all_without_context
from pipeline.evaluation.alarm_share import Alarms, beside
from pipeline.serving import record_columns, stored_past
from pipeline.serving.benign import rows_of
from pipeline.serving.bundle import Bundle
from pipeline.serving.gathered import FITTED_ON
from pipeline.serving.planted import planted
from pipeline.settings.evaluate import Drills

LATE = ("test_seen", "test_unseen")


@dataclass(frozen=True)
class Trial:
    """One model on the later records of a network.

    Attributes:
        name: of the model.
        bundle: the model.
        alarms: on the benign records that it was tried on, beside what was promised.
        drills: share of the drills that raise an alarm.
        without_context: how many records it judged without a context, though it reads contexts.
    """

    name: str
    bundle: Bundle
    alarms: Alarms
    drills: float
    without_context: int = 0

    def __str__(self) -> str:
        kept = "the promise is kept" if self.alarms.kept else "the promise is not kept"
        found = f"{100 * self.drills:.0f} % of the drills raise an alarm"
        bare = f"; {self.without_context:,} of them have no context" if self.without_context else ""
        return f"{self.name}: of {self.alarms.records:,} later records, {self.alarms}: {kept}{bare}; {found}"


def recalibrated(bundle: Bundle) -> Bundle:
    """The model with thresholds from the benign records of this project that are not for tests.

    Raises:
        SchemaError: the records lack a column that it reads.
    """
    ids = _benign(FITTED_ON)
    return with_thresholds_of(bundle, _raw(bundle, ids), ids)


def with_thresholds_of(bundle: Bundle, records: pa.Table, ids: NDArray[np.uint64] | None = None) -> Bundle:
    """The model with thresholds from other benign records.

    Args:
        bundle: the model.
        records: n of them, raw.
        ids: (n,) of these, which may judge it no more; None where they are not records of this project.
    """
    scores = [*_scores(bundle, record_columns.table(bundle.columns, records)).T.astype(np.float64)]
    context = None if ids is None else stored_past.scores(bundle, ids)
    scores += [] if context is None else [context.astype(np.float64)]
    old = bundle.calibration
    calibration = Calibration.fit(
        **dict(zip(old.surprisals, scores, strict=False)),  # without a context where the records are others
        fusion=old.fusion,
        percentiles=[float(name.removeprefix("p")) for name in old.thresholds],
        used=old.used,
    )
    return bundle.with_calibration(calibration, ids)


def compared(models: Mapping[str, Bundle], threshold: str, settings: Drills) -> list[Trial]:
    """Each model on the later benign records of this project; those that keep their promise first.

    Args:
        models: name -> model.
        threshold: whose alarms count.
        settings: of the drills.

    Raises:
        ConfigError: the threshold promises nothing.
    """
    ids = _benign(LATE)
    trials = [_trial(name, bundle, ids, threshold, settings) for name, bundle in models.items()]
    return sorted(trials, key=lambda each: (not each.alarms.kept, abs(each.alarms.alarms - each.alarms.expected)))


def _trial(name: str, bundle: Bundle, ids: NDArray[np.uint64], threshold: str, settings: Drills) -> Trial:
    decision = bundle.calibration
    predicted = bundle.predict(_raw(bundle, ids), stored_past.scores(bundle, ids))
    promised = decision.promised(predicted.decided)
    if threshold not in promised:
        raise ConfigError(
            f"promotion.threshold: {threshold!r} promises no rate of alarms with calibrate.fusion {decision.fusion!r}; "
            "set calibrate.fusion to fisher to adopt a network"
        )
    alarms = beside(threshold, int(predicted.flagged[threshold].sum()), promised[threshold])
    found = bundle.predict(planted(bundle.columns, ids, settings)[0]).flagged[threshold]
    bare = int(all_without_context(predicted.group).sum())
    return Trial(name, bundle, alarms, float(found.mean()) if found.size else 0.0, bare)


def _benign(splits: Sequence[str]) -> NDArray[np.uint64]:
    """(n,) ids of the benign records of some splits, ascending."""
    tables = [read_table(paths.PROCESSED / f"{split}.parquet", ["record_id", "y"]) for split in splits]
    ids = [table.column("record_id").to_numpy()[table.column("y").to_numpy() == 0] for table in tables]
    return np.sort(np.concatenate(ids))


def _raw(bundle: Bundle, ids: NDArray[np.uint64]) -> pa.Table:
    """The columns that a model reads, of the records with these ids.

    Raises:
        SchemaError: the records lack one.
    """
    record_columns.require(bundle.columns, column_names(paths.RECORDS))
    return record_columns.table(bundle.columns, rows_of(paths.RECORDS, ids, [each.name for each in bundle.columns]))


def _scores(bundle: Bundle, table: pa.Table) -> NDArray[Any]:
    """(n, E) scores of each stage."""
    rows = bundle.model.batch_size
    parts = [bundle.model.scores(bundle.x(table.slice(start, rows))) for start in range(0, table.num_rows, rows)]
    if not parts:
        raise SchemaError("there are no benign records to calibrate on")
    return np.concatenate(parts)
