"""What the rules that doubt benign records read: features, and when or at which port a record was seen."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.tables import values_by_id
from pipeline.base.engine import mapped
from pipeline.preprocessing.features import Features
from pipeline.preprocessing.sweeps import sweeping
from pipeline.preprocessing.witnesses import unwitnessed
from pipeline.settings.preprocess import SweepSettings, WitnessSettings
from pipeline.stages.records import raw_columns
from pipeline.stages.reports.report import Report
from pipeline.stages.some_rows import SomeRows, columns_where
from pipeline.stages.when import when

PORT: Final = "destination_port"

Mask = NDArray[np.bool_]
Ids = NDArray[np.uint64]


def alike_at_one_time(
    record_id: Ids, asked: Mask, features: Features, settings: WitnessSettings, report: Report
) -> Mask | None:
    """(m,) mask of the m records asked for, by ``pipeline.preprocessing.witnesses``; None where times do not tell."""
    place = when(record_id[asked], settings.apart)
    if place is None:
        report.say("no record is doubted for its time: not all have one, and they are not of several days")
        return None
    return unwitnessed(_mapped(asked, features, features.columns), *place, settings.neighbours, settings.ratio)


def alike_at_many_ports(record_id: Ids, asked: Mask, features: Features, settings: SweepSettings) -> Mask | None:
    """(m,) mask of the m records asked for, by ``pipeline.preprocessing.sweeps``; None where records have no port."""
    if PORT not in raw_columns():
        return None
    x = _mapped(asked, features, [name for name in features.columns if PORT not in name])
    port = values_by_id(paths.RECORDS, PORT, record_id[asked]).astype(np.float64)
    return sweeping(x, port, settings.neighbours, settings.share)


def _mapped(mask: Mask, features: Features, names: Sequence[str]) -> NDArray[np.float32]:
    """(m, f) the named features of the records under a mask."""
    return np.concatenate([*mapped(_features_of, columns_where(mask), shared=(features, tuple(names)))])


def _features_of(rows: SomeRows, features: Features, names: Sequence[str]) -> NDArray[np.float32]:
    """(k, f) the named features of k rows."""
    part = features.map(rows.columns())
    return np.stack([part[name] for name in names], axis=1)
