"""What evaluate measures where no attack is known: alarms on later traffic, and drills."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import paths
from pipeline.artifacts.tables import values_by_id
from pipeline.base.samples import Samples
from pipeline.calibration.prediction import Prediction
from pipeline.evaluation import traffic
from pipeline.evaluation.sections import Asked
from pipeline.serving import drilled
from pipeline.serving.bundle import Bundle
from pipeline.settings import followed
from pipeline.settings.evaluate import Drills


def measured(
    tests: Mapping[str, Samples], predictions: Mapping[str, Prediction], asked: Asked, settings: Drills
) -> dict[str, Any]:
    """``traffic``: alarms on the test records; ``drills``: how many drills of each sort are found.

    Where a test record is an attack there is no such traffic, and the only drills are those of a named file.
    """
    followed.require_drills(settings.file)
    quiet = all(samples.benign.all() for samples in tests.values())
    wanted = bool(settings.file) or (quiet and settings.records > 0)
    bundle = Bundle.of_project() if wanted else None
    named = drilled.named(bundle, settings.file) if bundle and settings.file else {}
    if not quiet:
        return {"drills": named} if named else {}
    ids = np.concatenate([samples.record_id for samples in tests.values()])
    names = next(iter(predictions.values())).flagged
    flagged = {name: np.concatenate([predictions[key].flagged[name] for key in tests]) for name in names}
    alarms = traffic.alarms(flagged, asked, _times(ids), _hosts(ids))
    made = drilled.made(bundle, ids, settings) if bundle and settings.records else {}
    return {"traffic": alarms, "drills": {**made, **named}}


def _times(ids: NDArray[np.uint64]) -> NDArray[np.int64] | None:
    """(n,) microseconds of records; None where one has no time."""
    values = values_by_id(paths.RECORDS, "timestamp", ids).astype("datetime64[us]")
    return None if np.isnat(values).any() else values.astype(np.int64)


def _hosts(ids: NDArray[np.uint64]) -> NDArray[np.object_] | None:
    """(n,) addresses; None where no record has one."""
    values = values_by_id(paths.RECORDS, "src_ip", ids).astype(object)
    names = np.array([value if isinstance(value, str) else None for value in values], dtype=object)
    return names if any(names) else None
