"""A frame of labelled records as a project that the stages can train on: ``params.yaml`` and one raw file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline import config
from pipeline.artifacts.files import write_json
from pipeline.base.errors import ConfigError, DataError, SchemaError, near_miss
from pipeline.datasets.names import canonical_names
from pipeline.datasets.schema import FEATURE_NAMES, FEATURES
from pipeline.settings import renamed
from pipeline.settings.sections import SECTIONS

SHIPPED: Final = Path(__file__).parents[2] / config.PARAMS
BESIDE: Final = {"protocol": "Protocol", "attempted_category": "Attempted Category"}
LABELS: Final = ("label", "attack", "class", "y")
BINARY: Final = {0: "BENIGN", 1: "attack"}


def write(folder: Path, records: pd.DataFrame, labels: Any, settings: Mapping[str, Any]) -> None:
    """Write the project.

    Args:
        folder: where it goes.
        records: n raw records: flows under any published header of CICFlowMeter, or any other table.
        labels: (n,) ``BENIGN`` or the name of an attack, or 0 and 1; None: the records have them in a column.
        settings: dotted names of settings -> values, in place of those that are shipped.

    Raises:
        ConfigError: a setting is unknown, of the wrong type or out of its limits.
        SchemaError: there are no labels, or two columns mean the same one.
        DataError: a record has no label, or a column holds values of several kinds.
    """
    label = label_column(records) if labels is None else None
    said = named(given_labels(records, labels) if label is None else records[label])
    features = records if label is None else records.drop(columns=[label])
    flows = canonical_names(features.columns, (*FEATURE_NAMES, *BESIDE))
    is_flows = {*FEATURE_NAMES} <= {*flows}
    given = _of_flows() if is_flows else _of_table(features)
    params = with_settings(config.read(SHIPPED), given | dict(settings))
    for section in SECTIONS.values():
        config.build(section, params, "settings")
    write_json(folder / config.PARAMS, params)  # JSON is YAML too
    if is_flows:
        headers = {column.name: column.headers[0] for column in FEATURES} | BESIDE
        frame = pd.DataFrame({headers[name]: features[column] for name, column in flows.items()})
        frame.assign(Label=said.to_numpy()).to_csv(folder / "records.csv", index=False)
    else:
        try:
            features.assign(label=said.to_numpy()).to_parquet(folder / "records.parquet", index=False)
        except pa.ArrowException as error:
            raise DataError(f"a column holds values of several kinds: {error}") from error


def label_column(records: pd.DataFrame) -> Any:
    """The column that tells benign records from attacks.

    Raises:
        SchemaError: there is none.
    """
    names = {str(column).strip().lower(): column for column in records.columns}
    found = next((names[name] for name in LABELS if name in names), None)
    if found is None:
        miss = near_miss("label", names)
        raise SchemaError(f"the records have no labels{miss}; give them as y, or in a column {' or '.join(LABELS)}")
    return found


def given_labels(records: pd.DataFrame, labels: Any) -> "pd.Series[Any]":
    """Labels by their place: those of a filtered frame may have another index than the records.

    Raises:
        DataError: there are not as many labels as records.
    """
    values = np.asarray(labels)
    if values.shape != (len(records),):
        raise DataError(f"{len(records):,} records, but labels of shape {values.shape}; give one for each record")
    return pd.Series(values, index=records.index)


def named(labels: "pd.Series[Any]") -> "pd.Series[str]":
    """Labels as names: 0 and 1 become benign and attack.

    Raises:
        DataError: a record has no label.
    """
    if labels.isna().any():
        raise DataError(
            f"{int(labels.isna().sum()):,} of {len(labels):,} records have no label; name them or leave them out"
        )
    if labels.isin([*BINARY]).all():
        return labels.astype(int).map(BINARY)
    return labels.astype(str)


def with_settings(params: dict[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """All sections with some settings changed, by their dotted names.

    Raises:
        ConfigError: a section is unknown.
    """
    for name, value in renamed.dotted(settings, "settings").items():
        *sections, key = name.split(".")
        place = params
        for section in sections:
            if not isinstance(place.get(section), dict):
                raise ConfigError(f"{name}: {section!r} is no section of the settings{near_miss(section, place)}")
            place = place[section]
        place[key] = value
    return params


def _of_flows() -> dict[str, Any]:
    return {"ingest.dataset": "cicids2017", "ingest.path": "records.csv", "ingest.cicids2017.unknown_labels": "keep"}


def _of_table(features: pd.DataFrame) -> dict[str, Any]:
    words = [str(name) for name, kind in features.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    return {"ingest.dataset": "table", "ingest.path": "records.parquet", "ingest.table.categorical": words}
