"""The command ``label``: what an analyst says of alerts, for the next training.

::

    flowsculpt label RECORD_ID [RECORD_ID ...] --confirmed bot [--by ada] [--note TEXT]
    flowsculpt label RECORD_ID [RECORD_ID ...] --dismissed
    flowsculpt label RECORD_ID [RECORD_ID ...] --unsure
    flowsculpt label RECORD_ID [RECORD_ID ...] --undo
    flowsculpt label --from verdicts.csv

A verdict is a line of ``data/labels.jsonl``. Lines are only ever added: a later one on the same record overrides an
earlier one, and both stay. Everything is checked before the first line is written. A CSV has the columns ``record_id``
and ``label``, which is the name of an attack, ``benign`` or ``unsure``, and may have ``by`` and ``note``.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flows import arguments
from flows.runtime import program
from pipeline.base import machine
from pipeline.base.errors import ConfigError, near_miss
from pipeline.base.escaping import printable
from pipeline.serving.counts import counted

if TYPE_CHECKING:
    from pipeline.serving.analyst import Verdict, Written


def main(given: Sequence[str] | None = None) -> int:
    """Label from the command line; returns the exit code."""
    chosen = arguments.parse("label", given)
    return program.run("label", lambda: labelled(chosen))


def labelled(chosen: Namespace) -> str:
    """Append the labels; returns what was written.

    Raises:
        DataError: no record has such an id.
        ConfigError: a name is no attack, the CSV lacks a column, or somebody calls one record by two names.
        ArtifactError: the labels cannot be written.
    """
    from pipeline.artifacts import paths
    from pipeline.serving import analyst

    written = _taken_back(chosen) if chosen.undo else analyst.write(_verdicts(chosen), chosen.new)
    said = [f"{label.record_id:016x}   {label.verdict}   {label.attack}" for label in written.labels]
    said += [printable(f"people contradict each other on {sentence}") for sentence in written.disputed]
    return "\n".join(
        [*said, f"{counted(len(written.labels), 'label')} in {paths.LABELS}; `flowsculpt train --promote` learns them"]
    )


def _taken_back(chosen: Namespace) -> "Written":
    """Take back the last label of the same person on each record.

    Raises:
        ConfigError: there is none.
    """
    from pipeline.serving import analyst
    from pipeline.serving.labelling import number_of

    by = chosen.by or machine.user()
    written = analyst.take_back([number_of(each) for each in chosen.record_id], by, chosen.note)
    if not written.labels:
        raise ConfigError(f"--undo: {by} has no label on {', '.join(chosen.record_id)} that could be taken back")
    return written


def _verdicts(chosen: Namespace) -> "list[Verdict]":
    return _of_file(chosen) if chosen.from_file else _of_line(chosen)


def _of_line(chosen: Namespace) -> "list[Verdict]":
    from pipeline.artifacts.labels import BENIGN, UNSURE
    from pipeline.serving import analyst
    from pipeline.serving.analyst import Verdict

    if chosen.confirmed is not None and (analyst.is_benign(chosen.confirmed) or chosen.confirmed == UNSURE):
        raise ConfigError(f"--confirmed: {chosen.confirmed!r} is no attack; --dismissed says that an alert is none")
    attack = BENIGN if chosen.dismissed else UNSURE if chosen.unsure else chosen.confirmed
    return [Verdict(number, attack, chosen.by or machine.user(), chosen.note) for number in chosen.record_id]


def _of_file(chosen: Namespace) -> "list[Verdict]":
    from pipeline.artifacts.files import read_csv
    from pipeline.serving.analyst import Verdict

    path, needed = Path(chosen.from_file), ("record_id", "label")
    rows = read_csv(path)
    known = rows[0].keys() if rows else ()
    if absent := [name for name in needed if name not in known]:
        missing = ", ".join(f"{name!r}{near_miss(name, known)}" for name in absent)
        raise ConfigError(
            f"{path}: lacks the columns {missing}; needed are {', '.join(needed)}, and there may be by and note"
        )
    user = chosen.by or machine.user()
    return [
        Verdict(row["record_id"], row["label"], row.get("by") or user, row.get("note") or chosen.note) for row in rows
    ]


if __name__ == "__main__":
    sys.exit(main())
