"""Records that analysts have labelled and that the data set does not hold; they are stored behind all others."""

from collections.abc import Collection

import numpy as np
import pyarrow as pa

from pipeline.artifacts import labels, paths
from pipeline.datasets.base import record_schema
from pipeline.datasets.labels import family
from pipeline.datasets.schema import Column
from pipeline.stages.kept_values import record_of
from pipeline.stages.reports.report import Report


class Missing:
    """The labelled records that have not come yet; ``families`` has the family of each attack that was named."""

    def __init__(self) -> None:
        self._said = labels.read()
        self.labels = labels.in_force(self._said)
        self.families = {label.attack: family(label.attack) for label in labels.standing(self._said) if label.decides}

    def without(self, records: pa.Table) -> pa.Table:
        """These records have come; they are returned."""
        wanted = np.array([*self.labels], dtype=np.uint64)
        for number in np.intersect1d(wanted, records.column("record_id").to_numpy()).tolist():
            del self.labels[number]
        return records

    def records(self, columns: Collection[Column], report: Report) -> pa.Table:
        """The missing ones as ingest stores records; says who contradicts whom, and which are passed over."""
        for sentence in labels.contradictions(self._said):
            report.say(f"{paths.LABELS}: people contradict each other on record {sentence}")
        made = [(label, record_of(label, columns)) for label in self.labels.values()]
        if gone := [f"{label.record_id:016x}" for label, record in made if record is None]:
            named = ", ".join(gone[:3]) + ", ..." * (len(gone) > 3)
            report.say(
                f"{paths.LABELS}: {len(gone)} labelled records are passed over: these data do not hold them, and no "
                f"values of these columns were kept with their labels ({named})"
            )
        schema, kept = record_schema(tuple(columns)), [record for _, record in made if record is not None]
        rows = [dict.fromkeys(schema.names) | record | {"row": row} for row, record in enumerate(kept, 1)]
        return pa.Table.from_pylist(rows, schema=schema)
