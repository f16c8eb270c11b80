"""A record made of the values that were kept with its label."""

from collections.abc import Collection, Mapping
from typing import Any

from pipeline.artifacts import labels
from pipeline.artifacts.labels import Label
from pipeline.datasets.labels import family
from pipeline.datasets.schema import Column
from pipeline.stages.analysts import SOURCE_FILE


def record_of(label: Label, columns: Collection[Column]) -> dict[str, Any] | None:
    """The record, as far as its columns were kept; None where they are not those of these records, or no values."""
    if not label.columns or not {*label.columns} <= {column.name for column in columns}:
        return None
    try:
        values = {column.name: _value(column, label.columns) for column in columns}
    except (TypeError, ValueError):  # a number that is none: the log is edited by hand, too
        return None
    named = {"y": int(label.attack != labels.BENIGN), "attack": label.attack, "family": family(label.attack)}
    about = {"record_id": label.record_id, "source_file": SOURCE_FILE, "attempted": False}
    return about | named | values


def _value(column: Column, values: Mapping[str, float | str]) -> float | str:
    return str(values.get(column.name, "")) if column.categorical else float(values.get(column.name, "nan"))
