"""The report of the benign labels that validate doubts."""

from collections.abc import Callable, Iterable

import pyarrow as pa

from pipeline.artifacts import paths
from pipeline.artifacts.tables import TableWriter, row_groups, write_columns
from pipeline.stages.reports.report import Report
from pipeline.validation.doubts import SCHEMA, Doubts


def write_doubts(doubts: Doubts, read: Callable[[], Iterable[pa.Table]], report: Report) -> None:
    """``doubted_labels.parquet``, its first row group as CSV, and counts as JSON.

    Args:
        doubts: the counts, which are complete; what is doubted is noted there.
        read: the records again.
        report: of the stage.
    """
    whole = report.folder / paths.DOUBTED.name
    with TableWriter(whole, SCHEMA) as writer:
        for table in doubts.listed(read):
            writer.write(table)
    first = next(row_groups(whole), SCHEMA.empty_table())
    write_columns(whole.with_suffix(".csv"), dict(zip(first.column_names, first.columns, strict=True)))
    report.json(whole.stem, doubts.summary())
    report.say(doubts.sentence())
