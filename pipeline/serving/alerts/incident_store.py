"""The incidents of all alerts that are stored, with the evidence of all records that were scored.

They are computed from the tables of alerts and of scored records each time they are asked for. Files whose times
overlap, as those of two sensors do, are taken together, in the order of time. A file that several versions of the model
have scored is taken as the newest of them scored it: an alert that only an older version raised is in no incident.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.artifacts.tables import column_names, read_table
from pipeline.serving import own_model
from pipeline.serving.alerts import stored
from pipeline.serving.alerts.incidents import Incident, incidents_of
from pipeline.serving.alerts.stretches import Item, items_of
from pipeline.serving.alerts.suppression import Rule
from pipeline.serving.alerts.traces import COLUMNS, Trace, Tracer
from pipeline.settings.alerts import IncidentRules

VERSION: Final = "model_version"


def read(rules: IncidentRules, hiding: Sequence[Rule] = (), version: int | None = None) -> list[Incident]:
    """The incidents of stored alerts, in the order of their first alerts; those that a rule hides among them.

    Args:
        rules: how alerts are grouped.
        hiding: what is hidden.
        version: of the model; None: all.

    Raises:
        ArtifactError: a table cannot be read.
    """
    alerts = stored.read(version)
    if version is None:
        alerts = newest(alerts)
    items = items_with_rules(alerts, hiding)
    return incidents_of(items, rules, traces(alerts, rules.gap, version))


def newest(alerts: pa.Table) -> pa.Table:
    """Alerts without those of files that a newer version of the model has judged again."""
    old = stored.superseded(alerts)
    return alerts.filter(pa.array(~old)) if old.any() else alerts


def items_with_rules(alerts: pa.Table, hiding: Sequence[Rule]) -> list[Item]:
    """The rows of a table of stored alerts, each with the rule that hides it, and whether it is early.

    Raises:
        ArtifactError: a table cannot be read.
    """
    early = stored.early()
    items = suppressed(items_of(alerts), hiding, datetime.now(UTC).date())
    return [item._replace(is_early=item.record_id in early) for item in items] if early else items


def suppressed(items: Sequence[Item], hiding: Sequence[Rule], today: date) -> list[Item]:
    """The items, each with the name of the rule that hides it; ``today`` is the day of those without a time."""
    return [item._replace(rule=_hidden_by(item, hiding, today)) for item in items] if hiding else [*items]


def _hidden_by(item: Item, hiding: Sequence[Rule], today: date) -> str | None:
    day = today if item.time is None else datetime.fromtimestamp(item.time / 1e6, UTC).date()
    who = (item.src_ip, item.dst_ip, item.dst_port, item.kind)
    return next((rule.name for rule in hiding if rule.fits(*who, day)), None)


def traces(alerts: pa.Table, gap: float, version: int | None = None) -> dict[int, Trace]:
    """Record id of each alert -> what the scored records around it add; see ``traces``.

    Args:
        alerts: a table of alerts.
        gap: seconds without a record after which what was before does not count.
        version: of the model; None: all.

    Raises:
        ArtifactError: a table cannot be read.
    """
    ids, tracer, found = alerts.column("record_id").to_numpy(), Tracer(gap), dict[int, Trace]()
    for together in _overlapping(_tables(version)):
        columns = [*COLUMNS, VERSION]
        parts = [read_table(each.path, columns).replace_schema_metadata() for each in together]
        found |= tracer.add(_newest(pa.concat_tables(parts).unify_dictionaries()), ids)
    return found


@dataclass(frozen=True)
class _Span:
    path: Path
    first: int  # microseconds
    last: int


def _tables(version: int | None) -> list[_Span]:
    """The tables of scored records whose times are known, in the order of time."""
    spans = []
    for alerts in stored.tables():
        path = own_model.scored() / alerts.name
        if not path.exists() or not {*COLUMNS, VERSION} <= {*column_names(path)}:
            continue
        table = read_table(path, ["timestamp", VERSION])
        if not table.num_rows or (version is not None and table.column(VERSION)[0].as_py() != version):
            continue
        ends = pc.min_max(table.column("timestamp").cast(pa.int64())).as_py()
        spans.append(_Span(path, ends["min"] or 0, ends["max"] or 0))
    return sorted(spans, key=lambda span: (span.first, span.last, span.path.name))


def _overlapping(spans: Sequence[_Span]) -> Iterator[list[_Span]]:
    """Those whose times overlap, together."""
    together: list[_Span] = []
    for span in spans:
        if together and span.first > max(each.last for each in together):
            yield together
            together = []
        together.append(span)
    if together:
        yield together


def _newest(scored: pa.Table) -> pa.Table:
    """Each record once, as the newest version scored it."""
    ids, versions = (scored.column(name).to_numpy() for name in ("record_id", VERSION))
    order = np.lexsort((-versions.astype(np.int64), ids))
    first = np.r_[True, np.diff(ids[order]) != 0][: len(order)]
    return scored.take(pa.array(np.sort(order[first])))
