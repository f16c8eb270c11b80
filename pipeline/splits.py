"""Five splits, one purpose each, and the balanced subset that an encoder trains on.

``train`` fits, ``val`` chooses the epoch, ``calibration`` (benign, unseen by any fit) sets thresholds, ``test_seen``
and ``test_unseen`` are read by evaluate alone. Attacks that are named unseen occur in ``test_unseen`` only.
"""

from collections.abc import Collection, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError, SplitError, near_miss
from pipeline.samples import row_hash

SPLITS = ("train", "val", "calibration", "test_seen", "test_unseen")
LEFT_OUT = -1  # the code of a row that is in no split

Duplicates = Literal["group", "drop", "keep"]

_HOLDS_ATTACKS = {"train", "val", "test_seen"}


def assign(
    attack: NDArray[np.object_],
    content: NDArray[np.uint64],
    unseen: Collection[str],
    shares: Mapping[str, float],
    duplicates: Duplicates = "group",
    seed: int = 0,
) -> NDArray[np.int8]:
    """(n,) index into ``SPLITS`` of each row, or ``LEFT_OUT``.

    Each attack is split by itself, so that a rare one is spread as its share says. The draw depends on a row's content
    and the seed, not on the order of the rows.

    Args:
        attack: (n,) canonical names, ``benign`` for benign rows.
        content: (n,) hash of the values that a model will see.
        unseen: attacks that go to ``test_unseen`` only.
        shares: of the benign rows for each split, summing to 1; seen attacks are spread over those that hold attacks.
        duplicates: ``group`` keeps rows of one content in one split, ``drop`` keeps one row of each content and attack,
            ``keep`` splits row by row, so that copies stand on both sides (as the published work does).
        seed: of the draw.

    Raises:
        ConfigError: an unseen attack is not among the rows and no vocabulary has its name.
        SplitError: there is no benign row, or no seen attack.
    """
    kept = _first_of_each(content, attack) if duplicates == "drop" else np.ones(len(attack), dtype=bool)
    names, codes = np.unique(attack.astype(str), return_inverse=True)
    _require_both(names, unseen)
    unit = np.arange(len(attack)) if duplicates == "keep" else np.unique(content, return_inverse=True)[1]
    stratum = _strata(unit, _ranks(names, unseen)[codes])
    # Row by row, the position breaks the tie between copies; else the content decides alone.
    draw = row_hash(
        [content, np.arange(len(attack)) if duplicates == "keep" else np.zeros(len(attack), dtype=np.int64)]
    )
    draw = row_hash([draw, np.full(len(attack), seed)])
    split = np.full(len(attack), LEFT_OUT, dtype=np.int8)
    for code in np.unique(stratum[kept]):
        rows = np.flatnonzero((stratum == code) & kept)
        split[rows] = _cut(draw[rows], unit[rows], _shares_of(code, len(names), shares))
    return split


def balance(attack: NDArray[np.object_], seed: int = 0) -> NDArray[np.bool_]:
    """(n,) mask: every attack, and as many benign rows as the most frequent attack has, drawn at random.

    The asymmetric balancing of Chhetri, Thapa, Chen, "Latent Sculpting" (2025), section on stage 1.
    """
    benign = np.flatnonzero(attack == "benign")
    _, counts = np.unique(attack[attack != "benign"].astype(str), return_counts=True)
    size = min(len(benign), int(counts.max(initial=0)) or len(benign))
    mask = attack != "benign"
    mask[np.random.default_rng(seed).choice(benign, size, replace=False)] = True
    return mask


def disagreeing(content: NDArray[np.uint64], y: NDArray[np.int8]) -> NDArray[np.bool_]:
    """(n,) mask of rows whose content also occurs with the other label."""
    _, group = np.unique(content, return_inverse=True)
    attacks = np.bincount(group, weights=y)
    sizes = np.bincount(group)
    mixed: NDArray[np.bool_] = ((attacks > 0) & (attacks < sizes))[group]
    return mixed


def check_unseen(unseen: Collection[str], known: Collection[str]) -> None:
    """Refuse an unseen attack that no vocabulary knows.

    Raises:
        ConfigError: with the known names and the near miss.
    """
    for name in unseen:
        if name not in known or name == "benign":
            names = ", ".join(sorted(set(known) - {"benign"}))
            raise ConfigError(f"preprocess.unseen: {name!r} is no attack{near_miss(name, known)}; known: {names}")


def _require_both(names: NDArray[np.str_], unseen: Collection[str]) -> None:
    present = set(names.tolist())
    if "benign" not in present:
        raise SplitError(f"the records hold no benign row, only {sorted(present)}; thresholds need benign ones")
    if not present - {"benign"} - set(unseen):
        raise SplitError(
            f"the records hold no seen attack (present: {sorted(present)}, unseen: {sorted(unseen)}); "
            "name fewer attacks in preprocess.unseen or ingest more records"
        )


def _ranks(names: NDArray[np.str_], unseen: Collection[str]) -> NDArray[np.int64]:
    """Rank of each name: benign lowest, then the seen attacks, the unseen ones share the highest."""
    ranks = np.arange(1, len(names) + 1)
    ranks[names == "benign"] = 0
    ranks[np.isin(names, list(unseen))] = len(names) + 1
    return ranks


def _strata(unit: NDArray[np.int64], rank: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) the highest rank in each row's unit: copies of one content follow the worst label among them."""
    highest = np.zeros(int(unit.max()) + 1, dtype=np.int64)
    np.maximum.at(highest, unit, rank)
    return highest[unit]


def _shares_of(stratum: int, names: int, shares: Mapping[str, float]) -> NDArray[np.float64]:
    if stratum == 0:
        return np.array([shares[split] for split in SPLITS])
    if stratum == names + 1:
        return np.array([float(split == "test_unseen") for split in SPLITS])
    return np.array([shares[split] * (split in _HOLDS_ATTACKS) for split in SPLITS])


def _cut(draw: NDArray[np.uint64], unit: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.int8]:
    """Split rows in the order of their draw; a unit goes where its first row goes."""
    order = np.lexsort((unit, draw))
    ends = np.cumsum(shares / shares.sum())
    position = (np.arange(len(order)) + 0.5) / len(order)
    _, first, member = np.unique(unit[order], return_index=True, return_inverse=True)
    split = np.empty(len(order), dtype=np.int8)
    split[order] = np.searchsorted(ends[:-1], position[first], side="right")[member]
    return split


def _first_of_each(content: NDArray[np.uint64], attack: NDArray[np.object_]) -> NDArray[np.bool_]:
    _, codes = np.unique(attack.astype(str), return_inverse=True)
    _, first = np.unique(row_hash([content, codes]), return_index=True)
    mask = np.zeros(len(content), dtype=bool)
    mask[first] = True
    return mask
