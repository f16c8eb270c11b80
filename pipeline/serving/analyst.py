"""What analysts say of records, checked and then written: by the command ``label`` and by the triage page.

Everything is checked before the first line is written, and all lines are on the disk when ``write`` returns.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, NamedTuple

from pipeline.artifacts import labels, paths
from pipeline.artifacts.files import read_json
from pipeline.artifacts.labels import BENIGN, TAKEN_BACK, UNSURE, Label
from pipeline.base.errors import ConfigError, near_miss
from pipeline.datasets import labels as names
from pipeline.datasets.schema import UNLABELLED
from pipeline.datasets.vocabulary import VOCABULARY
from pipeline.serving import labelling
from pipeline.serving.labelling import Found

RESERVED: Final = (UNSURE, TAKEN_BACK, UNLABELLED)  # no attack can have such a name
LONGEST_NAME: Final = 80  # characters of the name of an attack, or of a person
LONGEST_NOTE: Final = 2_000


class Verdict(NamedTuple):
    """What is said of a record: the name of an attack, ``benign``, ``unsure`` or ``taken_back``."""

    record_id: str
    attack: str
    by: str
    note: str


@dataclass(frozen=True)
class Written:
    """What came of verdicts.

    Attributes:
        labels: that were written.
        absent: ids of the records whose raw columns are not kept; nothing was written of them.
        disputed: a sentence for each record that people call by different names.
    """

    labels: tuple[Label, ...]
    absent: tuple[int, ...] = ()
    disputed: tuple[str, ...] = ()


def named(text: str, is_new: bool = False) -> str:
    """The canonical name of an attack, ``benign`` or ``unsure``.

    Args:
        text: as a person spells it.
        is_new: whether it may be the name of an attack that nobody has named before.

    Raises:
        ConfigError: nothing is called so, and it is not said to be new.
    """
    if text == UNSURE:
        return UNSURE
    if names.says_nothing(text):
        raise ConfigError(f"{text!r} names no attack; give a name, or benign for an alert that is none")
    if len(text) > LONGEST_NAME or not text.isprintable():
        raise ConfigError(f"the name of an attack has at most {LONGEST_NAME} printable characters, given {len(text)}")
    name = names.canonical(text, "keep").attack
    if name in RESERVED:
        raise ConfigError(f"{text!r} is a word of the log itself and names no attack; choose another name")
    known = {*VOCABULARY, *learnt()}
    if name in known or is_new:
        return name
    raise ConfigError(f"{text!r} is no known attack{near_miss(name, known)}; --new takes it as the name of a new one")


def learnt() -> set[str]:
    """The attacks of the ingested records, and those that were labelled before."""
    families = read_json(paths.SOURCE)["families"] if paths.SOURCE.exists() else {}
    return {*families, *(label.attack for label in labels.read() if label.decides)} - {*RESERVED}


def write(verdicts: Sequence[Verdict], is_new: bool = False, skip_absent: bool = False) -> Written:
    """Append what was said to the log.

    Args:
        verdicts: on any number of records.
        is_new: whether names of attacks may be new.
        skip_absent: leave out records whose raw columns are not kept, instead of refusing all.

    Raises:
        DataError: no record has such an id.
        ConfigError: a name is no attack, or somebody calls one record by two names.
        ArtifactError: the labels cannot be written.
    """
    spelt = {each.attack: named(each.attack, is_new) for each in verdicts}
    wanted = {labelling.number_of(each.record_id) for each in verdicts}
    found = labelling.search(wanted) if skip_absent else labelling.find([each.record_id for each in verdicts])
    said = [each._replace(attack=spelt[each.attack]) for each in verdicts]
    new = _once([label for each in said if (label := _label(each, found)) is not None])
    labels.append_all(new)
    return Written(tuple(new), tuple(sorted(wanted - found.keys())), tuple(_disputed(wanted)))


def take_back(record_ids: Collection[int], by: str, note: str = "") -> Written:
    """Take back the last label that a person gave each of these records; others are passed over.

    Raises:
        ArtifactError: the log cannot be read or written.
    """
    own = {label.record_id for label in labels.standing(labels.read()) if label.by == by}
    now = _now()
    new = [Label(number, TAKEN_BACK, by, now, note) for number in sorted({*record_ids} & own)]
    labels.append_all(new)
    return Written(tuple(new))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _label(verdict: Verdict, found: dict[int, Found]) -> Label | None:
    """The label of a record; None where its raw columns are not kept."""
    number = labelling.number_of(verdict.record_id)
    if number not in found:
        return None
    return Label(number, verdict.attack, verdict.by, _now(), verdict.note, **vars(found[number]))


def _once(given: Sequence[Label]) -> list[Label]:
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


def _disputed(ids: Collection[int]) -> list[str]:
    return labels.contradictions([label for label in labels.read() if label.record_id in ids])


def is_benign(text: str) -> bool:
    """Whether a name means that an alert is none."""
    return not names.says_nothing(text) and names.canonical(text, "keep").attack == BENIGN
