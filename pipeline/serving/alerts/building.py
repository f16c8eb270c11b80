"""From records that a model judged to their alerts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.calibration.prediction import Prediction
from pipeline.serving import own_model
from pipeline.serving.alerts.schema import SCHEMA, key_of
from pipeline.serving.arrivals import Incoming
from pipeline.serving.bundle import Bundle
from pipeline.settings.alerts import Alerts, IncidentRules

AS_SHIPPED: Final = Alerts("p99", "", IncidentRules(3600.0, 5, 20.0, 2.0, 0.02, 100, 20_000))
_OF_RECORD: Final = (
    "record_id",
    "protocol",
    "src_ip",
    "src_port",
    "dst_ip",
    "dst_port",
    "flow_id",
    "source_file",
    "row",
)


def level_of(names: Mapping[str, Any], asked: str) -> str:
    """The threshold above which a record is an alert: the one that is asked for, or the lowest that a model has."""
    return asked if asked in names else list(names)[-1]


@dataclass(frozen=True)
class AlertBuilder:
    """Makes alerts of the records of one file, some at a time.

    Attributes:
        bundle: the model.
        version: its number in the registry.
        file: that the records are of.
        rules: which records become alerts.
    """

    bundle: Bundle
    version: int
    file: Incoming
    rules: Alerts = AS_SHIPPED

    def alerts(self, records: pa.Table, judged: Prediction) -> pa.Table:
        """The alerts among n records, in their order; a table of ``SCHEMA``."""
        level = level_of(self.bundle.calibration.thresholds, self.rules.level)
        rows = np.flatnonzero(judged.flagged[level])
        columns = self._said(records.take(pa.array(rows)), judged, rows)
        missing = {name: pa.nulls(len(rows), SCHEMA.field(name).type) for name in SCHEMA.names if name not in columns}
        return pa.table({**missing, **columns}).select(SCHEMA.names).cast(SCHEMA)

    def _said(self, records: pa.Table, judged: Prediction, rows: NDArray[np.intp]) -> dict[str, Any]:
        """What is said of the alerts beside their reasons, by column."""
        n, has = len(rows), {*records.column_names}
        ids = records.column("record_id").to_pylist()
        who = {name: records.column(name) for name in _OF_RECORD if name in has}
        level = self._levels(judged, rows)
        one = {
            "sensor": self.rules.sensor or None,
            "source_sha256": self.file.sha256,
            "model": own_model.name(),
            "model_version": self.version,
            "model_digest": self.bundle.digest,
        }
        return {
            **who,
            "alert": [key_of(each, self.bundle.digest) for each in ids],
            "time": records.column("timestamp") if "timestamp" in has else pa.nulls(n, pa.timestamp("us")),
            **{name: pa.array([value] * n, SCHEMA.field(name).type) for name, value in one.items()},
            "score": judged.score[rows],
            "p_value": judged.p_value[rows],
            "level": level,
            "promise": pa.array(self._promises(judged.group[rows].tolist(), level), pa.float64()),
            "verdict": judged.verdict[rows].tolist(),
            "group": judged.group[rows].tolist(),
        }

    def _levels(self, judged: Prediction, rows: NDArray[np.intp]) -> list[str]:
        """(n,) the strictest threshold that each exceeds."""
        names = sorted(judged.flagged, key=lambda name: float(name.removeprefix("p")))
        found = np.full(len(rows), names[0], dtype=object)
        for name in names:
            found[judged.flagged[name][rows]] = name
        said: list[str] = found.tolist()
        return said

    def _promises(self, groups: list[str], levels: list[str]) -> list[float | None]:
        """(n,) the share of benign records that exceed the level of each, by the decision that judged it."""
        promised = {group: self.bundle.calibration.promises(group) for group in {*groups}}
        return [promised[group].get(level) for group, level in zip(groups, levels, strict=True)]
