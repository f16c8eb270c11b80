"""The table with the confidence in each record: a CSV, or a sample as CSV beside the whole table as Parquet.

::

    confidence_epoch_{n}.csv            every record, or 100,000 of them where there are more
    confidence_epoch_{n}.parquet        only then: every record
    confidence_epoch_{n}_sample.json    only then: rows, sampled, seed and the name of the whole
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.artifacts.confidence import sample_note
from pipeline.artifacts.files import write_json
from pipeline.artifacts.tables import TableWriter, read_table, row_groups, write_columns

MOST_ROWS: Final = 100_000  # of a CSV
SEED: Final = 0  # of the sample


def write(folder: Path, epoch: int, columns: Mapping[str, NDArray[Any] | pa.Array]) -> None:
    """Write the table of ``epoch`` from whole columns, (n,) each, ``record_id`` among them."""
    write_parts(folder, epoch, [pa.table(dict(columns))])


def write_parts(folder: Path, epoch: int, parts: Iterable[pa.Table]) -> None:
    """Write the table of ``epoch`` from one part or more of the same schema, one after the other."""
    others = iter(parts)
    part: pa.Table | None = next(others)
    with writer(folder, epoch, part.schema) as target:  # type: ignore[union-attr]  # there is one
        while part is not None:
            target.write(part)
            part = next(others, None)


@contextmanager
def writer(folder: Path, epoch: int, schema: pa.Schema) -> Iterator[TableWriter]:
    """A writer that takes the table of ``epoch`` part by part."""
    whole = folder / f"confidence_epoch_{epoch}.parquet"
    with TableWriter(whole, schema) as target:
        yield target
    if target.rows > MOST_ROWS:
        _sample(whole, target.rows)
    else:
        _write_csv(whole, read_table(whole))
        whole.unlink()
        sample_note(whole).unlink(missing_ok=True)  # of a longer table that was here before


def files(folder: Path, epoch: int) -> list[Path]:
    """The files of the table of ``epoch``: the CSV, or all three."""
    whole = folder / f"confidence_epoch_{epoch}.parquet"
    return [path for path in (whole.with_suffix(".csv"), whole, sample_note(whole)) if path.is_file()]


def _sample(whole: Path, n: int) -> None:
    """Write the CSV of a random sample, in the order of the records, and the JSON that says so."""
    rows = np.sort(np.random.default_rng(SEED).choice(n, MOST_ROWS, replace=False))
    parts, start = [], 0
    for group in row_groups(whole):
        inside = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + group.num_rows)]
        parts.append(group.take(pa.array(inside - start)))
        start += group.num_rows
    _write_csv(whole, pa.concat_tables(parts))
    about = {"rows": n, "sampled": MOST_ROWS, "seed": SEED, "whole": whole.name}
    write_json(sample_note(whole), about)


def _write_csv(whole: Path, table: pa.Table) -> None:
    words = {name: column.cast(pa.string()) for name, column in zip(table.column_names, table.columns, strict=True)
             if pa.types.is_dictionary(column.type)}  # fmt: skip
    columns = {name: words.get(name, table.column(name)) for name in table.column_names}
    write_columns(whole.with_suffix(".csv"), columns)
