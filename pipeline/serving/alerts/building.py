"""From records that a model judged to their alerts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.calibration.prediction import Prediction
from pipeline.preprocessing.context.past import Matrix
from pipeline.serving import benign, own_model
from pipeline.serving.alerts import explaining
from pipeline.serving.alerts.schema import SCHEMA, key_of
from pipeline.serving.arrivals import Incoming
from pipeline.serving.bundle import Bundle
from pipeline.serving.causes import Context, Explained
from pipeline.serving.reasons import Explainer
from pipeline.settings.alerts import Alerts

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


@dataclass
class _Explainers:
    """The explainer of the bundle that was asked for last: it takes a while to make, and many files need the same."""

    bundle: Bundle | None = None
    explainer: Explainer | None = None

    def of(self, bundle: Bundle) -> Explainer | None:
        """That of a bundle; None for one that keeps no benign records."""
        if self.bundle is not bundle:
            self.explainer = Explainer.of(bundle) if {*benign.FILES} <= {*bundle.sealed.files} else None
            self.bundle = bundle
        return self.explainer


_EXPLAINERS: Final = _Explainers()


@dataclass
class AlertBuilder:
    """Makes alerts of the records of one file, some at a time.

    Attributes:
        bundle: the model.
        version: its number in the registry.
        file: where the records come from.
        rules: which records become alerts.
        explained: how many alerts have got reasons so far; ``rules.explained`` is the most.
    """

    bundle: Bundle
    version: int
    file: Incoming
    rules: Alerts
    explained: int = 0

    def alerts(self, records: pa.Table, judged: Prediction, context: Matrix | None = None) -> pa.Table:
        """The alerts among n records, in their order; a table of ``SCHEMA``.

        Args:
            records: as they were read.
            judged: what the model says of them.
            context: (n, F) what their hosts did before, where the model reads that.
        """
        level = level_of(self.bundle.calibration.thresholds, self.rules.level)
        rows = np.flatnonzero(judged.flagged[level])
        found = records.take(pa.array(rows))
        columns = self._said(found, judged, rows) | self._why(found, judged, rows, context)
        missing = {name: pa.nulls(len(rows), SCHEMA.field(name).type) for name in SCHEMA.names if name not in columns}
        return pa.table({**missing, **columns}).select(SCHEMA.names).cast(SCHEMA)

    def _said(self, records: pa.Table, judged: Prediction, rows: NDArray[np.intp]) -> dict[str, Any]:
        """What is said of the alerts beside their reasons, by column."""
        n, has = len(rows), {*records.column_names}
        ids = records.column("record_id").to_pylist()
        who = {name: records.column(name) for name in _OF_RECORD if name in has}
        level: list[str] = judged.level[rows].tolist()
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

    @property
    def _explainer(self) -> Explainer | None:
        """None for a model that keeps no benign records, and so cannot say why."""
        return _EXPLAINERS.of(self.bundle)

    def _why(
        self, alerts: pa.Table, judged: Prediction, rows: NDArray[np.intp], context: Matrix | None
    ) -> dict[str, Any]:
        """Why the alerts are alerts, by column: the strongest of them, as many as are left to be explained."""
        left = max(self.rules.explained - self.explained, 0)
        if not len(rows) or not left or self._explainer is None:
            return {}
        strongest = np.sort(np.argsort(-judged.ranked[rows], kind="stable")[:left])
        self.explained += len(strongest)
        at = rows[strongest]
        past = Context(judged.context[at], None if context is None else context[at])
        scores = {name: each[at] for name, each in judged.scores.items()}
        found: list[Explained | None] = [None] * len(rows)
        explained = self._explainer.explain(alerts.take(pa.array(strongest)), past, scores=scores)
        for place, each in zip(strongest.tolist(), explained, strict=True):
            found[place] = each
        return explaining.columns(found)

    def _promises(self, groups: list[str], levels: list[str]) -> list[float | None]:
        """(n,) the share of benign records that exceed the level of each, by the decision that judged it."""
        promised = {group: self.bundle.calibration.promises(group) for group in {*groups}}
        return [promised[group].get(level) for group, level in zip(groups, levels, strict=True)]
