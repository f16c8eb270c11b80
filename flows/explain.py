"""The command ``explain``: why the strongest alerts of a file are alerts.

::

    flowsculpt explain FILE [--record ID] [--alias champion] [--most 3] [--features 5]

The records are read and scored here, without a server; nothing is written. For each alert it names the score that drove
it, and the features whose value made the most difference, beside what similar benign records have there.
"""

import re
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flows import arguments
from flows.runtime import program
from pipeline.base.errors import ConfigError, RejectedError
from pipeline.tracking import quiet_tools

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from pipeline.alarms.model import AlarmModel
    from pipeline.serving.arrivals import Incoming


def main(given: Sequence[str] | None = None) -> int:
    """Explain from the command line; returns the exit code."""
    chosen = arguments.parse("explain", given)
    quiet_tools()
    return program.run("explain", lambda: explained(chosen))


def explained(chosen: Namespace) -> str:
    """The reasons, alert by alert.

    Raises:
        ArtifactError: there is no such version, or it keeps no benign records.
        DataError: the file cannot be read.
        ConfigError: no record has such an id.
    """
    from flows.reports.scoring import shown_threshold
    from pipeline.alarms.model import AlarmModel

    if chosen.most < 1 or chosen.features < 1:
        raise ConfigError("--most and --features: at least 1 is expected")
    model = AlarmModel.load(chosen.alias)
    threshold = None if chosen.record else shown_threshold(model.thresholds)
    records = (
        _named(Path(chosen.path), model, chosen.record) if chosen.record else _strongest(chosen, model, str(threshold))
    )
    frame = records.to_pandas()
    found = model.explain(frame, threshold, None if chosen.record else chosen.most, chosen.features)
    if found.empty:
        return f"{chosen.path}: no alert at {threshold}; --record ID explains any record"
    places = (f"{source}, row {row}" for source, row in zip(frame["source_file"], frame["row"], strict=True))
    where = dict(zip(frame["record_id"].tolist(), places, strict=True))
    return "\n\n".join(_text(each, where) for _, each in found.groupby("record_id", sort=False))


def _strongest(chosen: Namespace, model: "AlarmModel", threshold: str) -> "pa.Table":
    """The alerts of a file that score highest, as many as are to be explained of each batch that is read."""
    import numpy as np

    from pipeline.serving import reading

    file = _file(Path(chosen.path))
    parts = []
    for chunk in reading.chunks(file, model.bundle_):
        no_context = np.full(chunk.records.num_rows, np.nan, np.float32)  # reasons are features of a record alone
        predicted = reading.predict(file, model.bundle_, chunk.records, no_context)
        alerts = np.flatnonzero(predicted.flagged[threshold])  # a group has a threshold of its own
        ahead = np.argsort(-predicted.score[alerts], kind="stable")[: chosen.most]
        parts.append(chunk.records.take(alerts[ahead]))
    return _joined(Path(chosen.path), parts)


def _named(path: Path, model: "AlarmModel", ids: Sequence[str]) -> "pa.Table":
    """The records of a file that have these ids.

    Raises:
        ConfigError: it has no such record.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from pipeline.serving import reading

    wanted = pa.array([_number(each) for each in ids], pa.uint64())
    file = _file(path)
    read = (chunk.records for chunk in reading.chunks(file, model.bundle_))
    found = _joined(path, [part.filter(pc.is_in(part.column("record_id"), wanted)) for part in read])
    if absent := {*wanted.to_pylist()} - {*found.column("record_id").to_pylist()}:
        raise ConfigError(f"{path}: has no record {', '.join(f'{each:016x}' for each in sorted(absent))}")
    return found


def _file(path: Path) -> "Incoming":
    """The file that is named.

    Raises:
        ConfigError: it is a folder.
    """
    from pipeline.serving import arrivals

    if path.is_dir():
        raise ConfigError(f"{path}: is a folder; name one file of it")
    (file,) = arrivals.find(path)
    return file


def _joined(path: Path, parts: "Sequence[pa.Table]") -> "pa.Table":
    import pyarrow as pa

    if not parts:
        raise RejectedError(f"{path}: holds no record")
    return pa.concat_tables(parts).unify_dictionaries()


def _number(record_id: str) -> int:
    if not re.fullmatch(r"[0-9a-fA-F]{1,16}", record_id):
        raise ConfigError(f"--record: {record_id!r} is no id; one has 16 hexadecimal digits")
    return int(record_id, 16)


def _text(alert: "pd.DataFrame", where: dict[int, str]) -> str:
    """One alert: what was decided, and a line for each feature."""
    from flows.reports import tables

    first = alert.iloc[0]
    record = int(first["record_id"])
    decided = f"{first['verdict']}, score {first['score']:.4g}, p-value {first['p_value']:.2g}"
    driven = f"{first['driver']} has {100 * first['share']:.0f} % of the score"
    head = f"{record:016x}   {where[record]}\n{decided}; {driven}"
    rows = [
        {"feature": row.feature, "value": row.value, "similar benign": row.benign, "score falls by": row.fall}
        for row in alert.itertuples()
    ]
    return f"{head}\n\n{tables.columns(rows)}"


if __name__ == "__main__":
    sys.exit(main())
