"""The command ``label``: what an analyst says of alerts, for the next training.

::

    flowsculpt label RECORD_ID [RECORD_ID ...] --confirmed bot [--by ada] [--note TEXT]
    flowsculpt label RECORD_ID [RECORD_ID ...] --dismissed
    flowsculpt label --from verdicts.csv

A verdict is a line of ``data/labels.jsonl``. Lines are only ever added: a later one on the same record overrides an
earlier one, and both stay. Everything is checked before the first line is written. A CSV has the columns ``record_id``
and ``label``, which is the name of an attack or ``benign``, and may have ``by`` and ``note``.
"""

import getpass
import sys
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from flows import arguments
from flows.runtime import program
from pipeline.base.errors import ConfigError, near_miss

if TYPE_CHECKING:
    from pipeline.artifacts.labels import Label


class Verdict(NamedTuple):
    """What is said of a record: the name of an attack, or ``benign``."""

    record_id: str
    attack: str
    by: str
    note: str


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
    from pipeline.artifacts import labels, paths

    verdicts = _of_file(chosen) if chosen.from_file else _of_line(chosen)
    new = _once(_labels(verdicts, chosen.new))
    for label in new:
        labels.append(label)
    ids = {label.record_id for label in new}
    disputed = labels.contradictions([label for label in labels.read() if label.record_id in ids])
    said = [f"{label.record_id:016x}   {label.verdict}   {label.attack}" for label in new]
    said += [f"people contradict each other on {sentence}" for sentence in disputed]
    return "\n".join([*said, f"{len(new):,} labels in {paths.LABELS}; `flowsculpt train --promote` learns them"])


def _labels(verdicts: Sequence[Verdict], is_new: bool) -> "list[Label]":
    from pipeline.artifacts.labels import Label
    from pipeline.serving import labelling

    names = {verdict.attack: _attack(verdict.attack, is_new) for verdict in verdicts}
    found = labelling.find([verdict.record_id for verdict in verdicts])
    now = datetime.now(UTC).isoformat(timespec="seconds")
    numbers = [int(each.record_id, 16) for each in verdicts]
    return [
        Label(number, names[each.attack], each.by, now, each.note, **vars(found[number]))
        for number, each in zip(numbers, verdicts, strict=True)
    ]


def _once(given: "Sequence[Label]") -> "list[Label]":
    """The labels, of several equal ones the first.

    Raises:
        ConfigError: somebody calls one record by two names at once.
    """
    kept: dict[tuple[int, str], Label] = {}
    for label in given:
        first = kept.setdefault((label.record_id, label.by), label)
        if first.attack != label.attack:
            raise ConfigError(
                f"{label.record_id:016x} is called {first.attack} and {label.attack} at once by {label.by}; "
                "give one label for each record"
            )
    return [*kept.values()]


def _of_line(chosen: Namespace) -> list[Verdict]:
    attack = "benign" if chosen.dismissed else _attack(chosen.confirmed, chosen.new)
    if attack == "benign" and not chosen.dismissed:
        raise ConfigError(f"--confirmed: {chosen.confirmed!r} is no attack; --dismissed says that an alert is none")
    return [Verdict(number, attack, chosen.by or getpass.getuser(), chosen.note) for number in chosen.record_id]


def _of_file(chosen: Namespace) -> list[Verdict]:
    from pipeline.artifacts.files import read_csv

    path, needed = Path(chosen.from_file), ("record_id", "label")
    rows = read_csv(path)
    known = rows[0].keys() if rows else ()
    if absent := [name for name in needed if name not in known]:
        missing = ", ".join(f"{name!r}{near_miss(name, known)}" for name in absent)
        raise ConfigError(
            f"{path}: lacks the columns {missing}; needed are {', '.join(needed)}, and there may be by and note"
        )
    user = chosen.by or getpass.getuser()
    return [
        Verdict(row["record_id"], row["label"], row.get("by") or user, row.get("note") or chosen.note) for row in rows
    ]


def _attack(text: str, is_new: bool) -> str:
    """The canonical name of an attack, or ``benign``.

    Raises:
        ConfigError: nothing is called so, and it is not said to be new.
    """
    from pipeline.datasets import labels
    from pipeline.datasets.vocabulary import VOCABULARY

    if labels.says_nothing(text):
        raise ConfigError(f"{text!r} names no attack; give a name, or benign for an alert that is none")
    name = labels.canonical(text, "keep").attack
    known = {*VOCABULARY, *_learnt()}
    if name in known or is_new:
        return name
    raise ConfigError(f"{text!r} is no known attack{near_miss(name, known)}; --new takes it as the name of a new one")


def _learnt() -> set[str]:
    """The attacks of the ingested records, and those that were labelled before."""
    from pipeline.artifacts import labels, paths
    from pipeline.artifacts.files import read_json

    families = read_json(paths.SOURCE)["families"] if paths.SOURCE.exists() else {}
    return {*families, *(label.attack for label in labels.read())}


if __name__ == "__main__":
    sys.exit(main())
