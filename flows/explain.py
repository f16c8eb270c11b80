"""The command ``explain``: why the strongest alerts of a file are alerts.

::

    flowsculpt explain FILE [--record ID] [--alias champion] [--most 3] [--features 5]

The records are read and scored here, without a server; nothing is written. For each alert it names the score that drove
it, and the features and facts of the recent past whose value made the most difference, in raw units beside what benign
records have. Alerts and their reasons are those of ``flowsculpt score``.
"""

import re
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import arguments
from flows.runtime import program
from pipeline.base.errors import ConfigError, RejectedError
from pipeline.base.escaping import printable
from pipeline.tracking import quiet_tools

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from pipeline.calibration.prediction import Prediction
    from pipeline.serving.arrivals import Incoming
    from pipeline.serving.bundle import Bundle
    from pipeline.serving.causes import Context, Explained


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
    from pipeline.objects import copies
    from pipeline.serving import canary_check, front_door, loading
    from pipeline.serving.reasons import Explainer

    if chosen.most < 1 or chosen.features < 1:
        raise ConfigError("--most and --features: at least 1 is expected")
    bundle, path = loading.anywhere(chosen.alias), copies.local(chosen.path)
    canary_check.require(bundle, "refuse", f"the model {chosen.alias}")
    threshold = shown_threshold(bundle.calibration.thresholds)
    with front_door.opened():
        if chosen.record:
            found = _named(path, bundle, chosen.record)
        else:
            found = _strongest(path, bundle, threshold, chosen.most)
    if not len(found.said):
        return f"{printable(str(path))}: no alert at {threshold}; --record ID explains any record"
    drawn = Explainer(bundle).explain(found.records, found.context, chosen.features, 0.0)
    return "\n\n".join(_text(said, each) for said, each in zip(found.said.itertuples(), drawn, strict=True))


@dataclass(frozen=True)
class Found:
    """n records of a file, in the order in which they are explained.

    Attributes:
        records: as they were read.
        said: (n,) rows: what the model says of each, and where it stands.
        context: what their hosts did before.
    """

    records: "pa.Table"
    said: "pd.DataFrame"
    context: "Context"


def _strongest(path: Path, bundle: "Bundle", threshold: str, most: int) -> Found:
    """The alerts of a file that score highest, as they were scored: by what their hosts did before, too."""
    import numpy as np

    def alerts(records: "pa.Table", predicted: "Prediction") -> "NDArray[np.intp]":
        rows = np.flatnonzero(predicted.flagged[threshold])
        return rows[np.argsort(-predicted.ranked[rows], kind="stable")[:most]]

    return _ordered(_picked(path, bundle, alerts), most)


def _ordered(found: Found, most: int) -> Found:
    """The records that score highest, the highest first."""
    import numpy as np
    import pyarrow as pa

    order = np.argsort(-found.said["ranked"].to_numpy(), kind="stable")[:most]
    return Found(found.records.take(pa.array(order)), found.said.iloc[order], found.context.take(order))


def _named(path: Path, bundle: "Bundle", ids: Sequence[str]) -> Found:
    """The records of a file that have these ids.

    Raises:
        ConfigError: it has no such record.
    """
    import numpy as np

    wanted = {_number(each) for each in ids}
    found = _picked(
        path, bundle, lambda records, _: np.flatnonzero(np.isin(records.column("record_id").to_numpy(), [*wanted]))
    )
    if absent := wanted - {*found.said["record_id"].tolist()}:
        raise ConfigError(f"{path}: has no record {', '.join(f'{each:016x}' for each in sorted(absent))}")
    return _ordered(found, len(found.said))


def _picked(path: Path, bundle: "Bundle", pick: "Callable[[pa.Table, Prediction], NDArray[np.intp]]") -> Found:
    """Those records of a file that ``pick`` chooses by their rows in each part of it.

    Raises:
        RejectedError: it holds no record.
    """
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from pipeline.serving import reading
    from pipeline.serving.carried_past import key_of
    from pipeline.serving.causes import Context

    file, start = _file(path), 0
    past, parts, said, x = reading.contexts(file, bundle, key_of(file.sha256, bundle)), [], [], []
    for chunk in reading.chunks(file, bundle):
        stop = start + chunk.records.num_rows
        predicted = reading.predict(file, bundle, chunk.records, None if past is None else past.score[start:stop])
        rows = pick(chunk.records, predicted)
        x += [] if past is None else [past.x[start + rows]]
        start = stop
        parts.append(chunk.records.take(pa.array(rows)))
        who = {name: parts[-1].column(name).to_numpy() for name in ("record_id", "source_file", "row")}
        names = ("ranked", "score", "p_value", "verdict", "context")
        said.append(pd.DataFrame({**who, **{name: getattr(predicted, name)[rows] for name in names}}))
    if not parts:
        raise RejectedError(f"{path}: holds no record")
    told = pd.concat(said)
    context = Context(told["context"].to_numpy(np.float64), np.concatenate(x) if x else None)
    return Found(pa.concat_tables(parts).unify_dictionaries(), told, context)


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


def _number(record_id: str) -> int:
    if not re.fullmatch(r"[0-9a-fA-F]{1,16}", record_id):
        raise ConfigError(f"--record: {record_id!r} is no id; one has 16 hexadecimal digits")
    return int(record_id, 16)


def _text(said: "Any", explained: "Explained") -> str:
    """One alert: what was decided, and a line for each reason."""
    from flows.reports import reasons

    decided = f"{said.verdict}, score {said.score:.4g}, p-value {said.p_value:.2g}"
    driven = f"{explained.driver} has {100 * explained.driver_share:.0f} % of the score"
    where = f"{said.record_id:016x}   {printable(said.source_file)}, row {said.row}"
    head = f"{where}\n{decided}; {driven}; kind {explained.kind}"
    like = reasons.likeness(
        explained.family, explained.family_probability, explained.similar_attack, explained.similar_attack_name
    )
    lines = [head, like, "", reasons.lines([cause.reason for cause in explained.causes])]
    return "\n".join(line for place, line in enumerate(lines) if line or place == 2)


if __name__ == "__main__":
    sys.exit(main())
