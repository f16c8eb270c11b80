"""What evaluate measures where no attack is known: alarms on later traffic, and drills."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.tables import values_by_id
from pipeline.base.samples import Samples
from pipeline.calibration.prediction import Prediction
from pipeline.evaluation import drills, metrics, traffic
from pipeline.evaluation.sections import Asked
from pipeline.serving import benign, record_columns
from pipeline.serving.bundle import Bundle
from pipeline.settings.evaluate import Drills

Found = dict[str, Any]


def measured(
    tests: Mapping[str, Samples], predictions: Mapping[str, Prediction], asked: Asked, settings: Drills
) -> Found:
    """``traffic``: alarms on the test records; ``drills``: how many drills the model finds. Nothing where attacks are.

    Args:
        tests: section -> its records.
        predictions: section -> the decision on its records.
        asked: what the thresholds promise.
        settings: of the drills.
    """
    if not all(samples.benign.all() for samples in tests.values()):
        return {}
    ids = np.concatenate([samples.record_id[samples.benign] for samples in tests.values()])
    flagged = {
        name: np.concatenate([predictions[key].flagged[name][tests[key].benign] for key in tests])
        for name in next(iter(predictions.values())).flagged
    }
    time, host = _times(ids), _hosts(ids)
    return {"traffic": traffic.alarms(flagged, asked, time, host), "drills": _drills(ids, settings)}


def _times(ids: NDArray[np.uint64]) -> NDArray[np.int64] | None:
    """(n,) microseconds of records; None where one has no time."""
    values = values_by_id(paths.RECORDS, "timestamp", ids).astype("datetime64[us]")
    return None if np.isnat(values).any() else values.astype(np.int64)


def _hosts(ids: NDArray[np.uint64]) -> NDArray[np.object_] | None:
    """(n,) addresses; None where no record has one."""
    values = values_by_id(paths.RECORDS, "src_ip", ids).astype(object)
    names = np.array([value if isinstance(value, str) else None for value in values], dtype=object)
    return names if any(names) else None


def _drills(ids: NDArray[np.uint64], settings: Drills) -> Found:
    """Each kind of drill -> how many there are, and the share found at each threshold, with its interval."""
    bundle = Bundle.of_project()
    some = np.sort(ids)[: benign.MOST]  # ids are hashes: a random sample, and always the same one
    if len(some) < 2 or not settings.records:
        return {}
    columns, kind = drills.plant(raw_columns(bundle, some), settings.records, settings.seed)
    flagged = bundle.predict(pa.table(columns)).flagged
    return {
        str(name): {"n": int(rows.sum()), "thresholds": {key: _share(mask[rows]) for key, mask in flagged.items()}}
        for name in np.unique(kind.astype(str))
        if (rows := kind == name).any()
    }


def raw_columns(bundle: Bundle, ids: NDArray[np.uint64]) -> dict[str, NDArray[Any]]:
    """The columns that a model reads, (m,) each, of the records with these ids."""
    table = benign.rows_of(paths.RECORDS, ids, [column.name for column in bundle.columns])
    return dict(record_columns.arrays(bundle.columns, table))


def _share(mask: NDArray[np.bool_]) -> Found:
    low, high = metrics.wilson(int(mask.sum()), mask.size)
    return {"recall": float(mask.mean()), "low": low, "high": high}
