"""Which alerts belong to which incident: what ``pipeline.serving.alerts.incidents`` says, alert by alert."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import config
from pipeline.serving.alerts import incident_store, suppression
from pipeline.serving.alerts.incidents import SEVERITIES, Incident, incidents_of
from pipeline.settings.alerts import Alerts

__all__ = ["SEVERITIES", "Grouped", "Incident", "grouped"]


class Grouped(NamedTuple):
    """Incidents, and (n,) the place of the incident of each alert among them; -1 for none."""

    incidents: Sequence[Incident]
    of: NDArray[np.int64]


def grouped(alerts: pa.Table) -> Grouped:
    """The incidents of n alerts.

    Alerts of several models on one record are one alert there, by the newest model. All of them belong to its incident.
    An alert that a newer model did not raise, when it judged the same file again, belongs to none.

    Raises:
        ConfigError: the rules of suppression cannot be read.
        ArtifactError: a table of scored records cannot be read.
    """
    rules = replace(config.load(Alerts).incidents, keys=max(1, alerts.num_rows))  # so that each names all its alerts
    items = incident_store.items_with_rules(incident_store.newest(alerts), suppression.read())
    found = incidents_of(items, rules, incident_store.traces(alerts, rules.gap))
    place_of = {key: place for place, each in enumerate(found) for key in each.keys}
    keys, records = (alerts.column(name).to_pylist() for name in ("alert", "record_id"))
    of_record = {record: place_of[key] for key, record in zip(keys, records, strict=True) if key in place_of}
    return Grouped(found, np.array([of_record.get(record, -1) for record in records], dtype=np.int64))
