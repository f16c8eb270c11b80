"""Reads a published label: canonical attack name, family, and whether the attack was only attempted."""

import re
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import near_miss
from pipeline.datasets.schema import ATTACKS

Unknown = Literal["refuse", "keep"]


class Label(NamedTuple):
    """The meaning of a label."""

    attack: str
    family: str
    attempted: bool


def _key(text: str) -> str:
    """Letters and digits only: case, spaces, and whatever dash or replacement character do not count."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


_SPELLINGS: dict[str, str] = {
    _key(spelling): attack for attack, (_, spellings) in ATTACKS.items() for spelling in (*spellings, attack)
}


def snake(text: str) -> str:
    """``text`` in lower case, with one underscore for whatever is neither letter nor digit."""
    return re.sub(r"[\W_]+", "_", text.lower()).strip("_")


def canonical(text: str, unknown: Unknown = "refuse") -> Label:
    """The label that ``text`` spells.

    Args:
        text: as the file has it, for instance ``Web Attack \N{EN DASH} XSS`` or ``DoS Hulk - Attempted``.
        unknown: ``keep`` gives an unknown attack its own name in snake case, as its own family.

    Raises:
        ValueError: the label is unknown and ``unknown`` is ``refuse``.
    """
    name, attempted = re.subn(r"\W*attempted\W*$", "", text.strip(), flags=re.IGNORECASE)
    attack = _SPELLINGS.get(_key(name))
    if attack is None and unknown == "keep" and _key(name):
        attack = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
        return Label(attack, attack, bool(attempted))
    if attack is None:
        spellings = [spelling for _, names in ATTACKS.values() for spelling in names]
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
