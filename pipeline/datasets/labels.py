"""Reads a published label: canonical attack name, family, and whether the attack was only attempted."""

import re
from collections.abc import Collection
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import near_miss
from pipeline.datasets import schema
from pipeline.datasets.nulls import NO_NUMBER
from pipeline.datasets.schema import ATTACKS

Unknown = Literal["refuse", "keep"]

# Words of public data sets, and of Boolean labels. Case, spaces and dashes do not count, and 0.0 is 0.
BENIGN: Final = ("benign", "normal", "benign traffic", "normal traffic", "legitimate", "0", "false")
# What labelling tools write before anybody has looked.
NOT_LABELLED: Final = (
    *("NeedManualLabel", "No Label", "not labelled", "not labeled", "unlabelled", "unlabeled", "unknown"),
)


DAMAGED: Final = "\N{LATIN SMALL LETTER I WITH DIAERESIS}\N{INVERTED QUESTION MARK}\N{VULGAR FRACTION ONE HALF}"
"""What a replacement character is in a file that was saved once more in another encoding."""


class Label(NamedTuple):
    """The meaning of a label."""

    attack: str
    family: str
    attempted: bool


UNLABELLED: Final = Label(schema.UNLABELLED, schema.UNLABELLED, False)


def plain(text: str) -> str:
    """Lower-case letters and digits of any script. Case, spaces, dashes and replacement characters do not count.

    A whole number is the same with or without decimals: ``0.0`` is ``0``.
    """
    text = text.strip().lower().replace(DAMAGED, "")
    number = re.fullmatch(r"([-+]?\d+)\.0*", text)
    return re.sub(r"[\W_]", "", number[1] if number else text)


_SPELLINGS: dict[str, str] = {
    plain(spelling): attack for attack, (_, spellings) in ATTACKS.items() for spelling in (*spellings, attack)
}
_NOT_LABELLED: Final = frozenset(map(plain, NOT_LABELLED))


def snake(text: str) -> str:
    """``text`` in lower case, with one underscore for whatever is neither letter nor digit."""
    return re.sub(r"[\W_]+", "_", text.lower()).strip("_")


def says_nothing(text: str, words: Collection[str] = ()) -> bool:
    """Whether a label says that nothing is known of the record: it is missing, a dash, or a word such as ``No Label``.

    Args:
        text: as the file has it.
        words: what means that as well, beside ``NOT_LABELLED``.
    """
    key = plain(text)
    return not key or text.strip().lower() in NO_NUMBER or key in _NOT_LABELLED or key in map(plain, words)


def canonical(
    text: str, unknown: Unknown = "refuse", benign: Collection[str] = BENIGN, unlabelled: Collection[str] = ()
) -> Label:
    """The label that ``text`` spells.

    Args:
        text: as the file has it, for instance ``Web Attack \N{EN DASH} XSS`` or ``DoS Hulk - Attempted``.
        unknown: ``keep`` gives an unknown attack its own name in snake case, as its own family.
        benign: words that mean benign.
        unlabelled: words that mean "not labelled", beside those of ``NOT_LABELLED``.

    Raises:
        ValueError: the label is unknown and ``unknown`` is ``refuse``.
    """
    if says_nothing(text, unlabelled):
        return UNLABELLED
    name, attempted = re.subn(r"\W*attempted\W*$", "", text.strip(), flags=re.IGNORECASE)
    attack = "benign" if plain(name) in map(plain, benign) else _SPELLINGS.get(plain(name))
    if attack is None and unknown == "keep" and plain(name):
        attack = snake(name)
        return Label(attack, attack, bool(attempted))
    if attack is None:
        spellings = [*benign, *(spelling for _, names in ATTACKS.values() for spelling in names)]
        raise ValueError(f"unknown label {text!r}{near_miss(name, spellings)}")
    return Label(attack, family(attack), bool(attempted))


def family(attack: str) -> str:
    """The family of a canonical attack name; an attack outside the vocabulary is its own family."""
    return ATTACKS[attack][0] if attack in ATTACKS else attack


def family_numbers(attack: NDArray[np.object_], benign: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(n,) 0 for what is labelled benign, else the number of the attack's family, from 1 on.

    Args:
        attack: (n,) names.
        benign: (n,) mask of what is labelled benign.
    """
    numbers = np.zeros(len(attack), np.int64)
    names = np.array([family(name) for name in attack[~benign]], dtype=str)
    numbers[~benign] = np.unique(names, return_inverse=True)[1] + 1
    return numbers
