"""The verdicts on a file as CSV, for people and for tools that read no Parquet.

::

    data/scored/csv/KEY.csv     the rows and columns of data/scored/KEY.parquet, ids as sixteen hexadecimal digits

It is written from the Parquet table, which everything in this project reads: for a file of few records by itself, for
any other where it is asked for. It is there before the file counts as scored, so that no kill in between leaves it out.
"""

import sys
from pathlib import Path
from typing import Final, Literal

from pipeline.artifacts.tables import row_groups, write_parts
from pipeline.serving import own_model, scored

Format = Literal["auto", "csv", "parquet"]
FORMATS: Final = ("auto", "csv", "parquet")
ROOM: Final = "csv"


def path_of(key: str) -> Path:
    """Where the CSV of a file that was scored lies, if it has one."""
    return own_model.scored() / ROOM / f"{key}.csv"


def most(form: Format, few: int) -> int:
    """The records of a file that gets its CSV when it is scored, at most; -1 for none."""
    return {"auto": few, "csv": sys.maxsize, "parquet": -1}[form]


def write(key: str, records: int, form: Format, few: int) -> Path | None:
    """Write the CSV of a file that was scored, unless it is there; returns where it lies, None where none is wanted.

    Args:
        key: of the file.
        records: that it has.
        form: ``csv``: write it; ``parquet``: do not; ``auto``: if it has few records.
        few: records that are few.

    Raises:
        ArtifactError: the table cannot be read, or the CSV cannot be written.
    """
    if records > most(form, few):
        return None
    path = path_of(key)
    if not path.exists() or path.stat().st_mtime_ns < scored.table_path(key).stat().st_mtime_ns:
        write_parts(path, row_groups(scored.table_path(key)))
    return path
