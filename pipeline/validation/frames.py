"""Batches of records -> the frames that the rules are about."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.base.errors import near_miss
from pipeline.base.samples import row_hash
from pipeline.datasets.base import record_schema
from pipeline.datasets.schema import NO_ATTACK, Column
from pipeline.validation.findings import Example, Value

LABELS = ("record_id", "source_file", "row", "y", "attack", "family", "day")
SHOWN = 3  # values that an example shows of a rule over more than MANY columns
MANY = 8


def chunks(batches: Iterable[pa.Table | pa.RecordBatch], rows: int) -> Iterator[pa.Table]:
    """The same records in tables of ``rows`` rows, the last one shorter."""
    pending: list[pa.Table] = []
    for batch in batches:
        pending.append(batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch]))
        while sum(map(len, pending)) >= rows:
            table = pa.concat_tables(pending)
            yield table.slice(0, rows)
            pending = [table.slice(rows)]
    rest = [table for table in pending if len(table)]
    if rest:
        yield pa.concat_tables(rest)


def labels(table: pa.Table, attacks: Mapping[str, tuple[str, tuple[str, ...]]]) -> pd.DataFrame:
    """Provenance of n records, text as categories; ``mismatch_family`` and ``mismatch_y`` are 1 where these are wrong.

    The family of an unknown attack is never wrong: another rule looks at the vocabulary.
    """
    frame = pd.DataFrame({name: _labels(table.column(name)) for name in LABELS})
    families = frame["attack"].map({attack: family for attack, (family, _) in attacks.items()}).astype(object)
    known = families.notna() & frame["family"].notna()
    frame["mismatch_family"] = (known & (families != frame["family"].astype(object))).astype(np.int64)
    frame["mismatch_y"] = ((frame["y"] == 0) != frame["attack"].isin(NO_ATTACK)).astype(np.int64)
    return frame


def features(table: pa.Table, columns: Sequence[Column]) -> dict[str, NDArray[np.float64]]:
    """(n,) float64 for each feature that is a number, null as NaN."""
    return {column.name: table.column(column.name).to_numpy() for column in columns if not column.categorical}


def words(table: pa.Table, columns: Sequence[Column]) -> dict[str, pd.Series]:
    """(n,) categories for each feature that is a word, "" as null."""
    series = {column.name: _labels(table.column(column.name)) for column in columns if column.categorical}
    return {
        name: column.cat.remove_categories([""]) if "" in column.cat.categories else column
        for name, column in series.items()
    }


def checked(
    values: Mapping[str, NDArray[np.float64]], words: Mapping[str, pd.Series], columns: Sequence[Column]
) -> pd.DataFrame:
    """The features as the rules see them: Infinity counts as null where the extractor never writes it."""
    undefined = {column.name for column in columns if column.may_be_undefined}
    numbers = {name: column if name in undefined else _finite(column) for name, column in values.items()}
    return pd.DataFrame({**numbers, **words}, copy=False)


def content(values: Mapping[str, NDArray[np.float64]], words: Mapping[str, pd.Series]) -> NDArray[np.uint64]:
    """(n,) hash of all features."""
    hashes = (pd.util.hash_array(column.array) for column in words.values())
    return row_hash([*values.values(), *hashes])


def types(schema: pa.Schema, columns: Sequence[Column]) -> pd.DataFrame:
    """A row per column that ``schema`` shares with the canonical schema: ``column``, ``type``, ``declared``."""
    declared = record_schema(tuple(columns))
    shared = [name for name in declared.names if name in schema.names]
    return pd.DataFrame(
        {
            "column": shared,
            "type": [_kind(schema.field(name).type) for name in shared],
            "declared": [_kind(declared.field(name).type) for name in shared],
        }
    )


def differences(schema: pa.Schema, columns: Sequence[Column]) -> list[str]:
    """A text for each column that is missing, extra or out of place."""
    declared = record_schema(tuple(columns)).names
    missing = [name for name in declared if name not in schema.names]
    extra = [name for name in schema.names if name not in declared]
    differences = [f"{name!r} is missing{near_miss(name, extra)}" for name in missing]
    differences += [f"{name!r} is not of the schema" for name in extra]
    shared = [name for name in declared if name in schema.names], [name for name in schema.names if name in declared]
    moved = [f"{found!r} stands where {name!r} belongs" for name, found in zip(*shared, strict=False) if name != found]
    return differences + moved


def fits(schema: pa.Schema, columns: Sequence[Column]) -> bool:
    """Whether ``schema`` is the canonical one, however text is encoded."""
    kinds = types(schema, columns)
    return schema.names == record_schema(tuple(columns)).names and bool((kinds["type"] == kinds["declared"]).all())


def example(table: pa.Table, columns: Sequence[str], position: int) -> Example:
    """Where the record at ``position`` lies, and its values of ``columns``."""
    cells = {name: table.column(name)[position].as_py() for name in columns}
    value = plain(*cells.values()) if len(cells) == 1 else ", ".join(_assignments(cells))
    return Example(str(table.column("source_file")[position]), table.column("row")[position].as_py() or 0, value)


def plain(value: Value) -> Value:
    """A value that JSON can write: NaN as None, Infinity as text, whole numbers as such."""
    if not isinstance(value, float):
        return value
    if np.isnan(value):
        return None
    if np.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return int(value) if value.is_integer() else value


def _assignments(cells: Mapping[str, Value]) -> list[str]:
    names = list(cells)
    if len(names) > MANY:  # those with a fraction first, then the largest
        size = {name: abs(float(cells[name] or 0)) for name in names}
        names = sorted(names, key=lambda name: (size[name] % 1, size[name]), reverse=True)[:SHOWN]
    return [f"{name} = {plain(cells[name])}" for name in names]


def _labels(column: pa.ChunkedArray) -> pd.Series:
    text = pa.types.is_dictionary(column.type) or _kind(column.type) == "string"
    if not text:
        numbers: pd.Series = column.to_pandas()
        return numbers
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    series: pd.Series = encoded.unify_dictionaries().to_pandas()
    return series.astype("category")


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    infinite = np.isinf(values)
    return np.where(infinite, np.nan, values) if infinite.any() else values


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        return _kind(kind.value_type)
    return "string" if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) else str(kind)
