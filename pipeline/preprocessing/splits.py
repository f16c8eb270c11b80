"""Five splits, one purpose each, and the balanced subset that an encoder trains on.

Models are fitted on ``train``, and ``val`` chooses the epoch. ``calibration`` holds benign records that no fit has
seen; it sets thresholds. Only evaluate reads ``test_seen`` and ``test_unseen``. Unseen attacks occur in ``test_unseen``
only. If all models are in closed form, the benign records of the first three splits are dealt into folds instead, and
all of them both fit models and set thresholds; see ``pipeline.calibration.cross_conformal``.
"""

from collections.abc import Collection, Mapping
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.base.errors import ConfigError, SplitError, near_miss
from pipeline.base.samples import row_hash

SPLITS = ("train", "val", "calibration", "test_seen", "test_unseen")
LEFT_OUT = -1  # the code of a row that is in no split

Duplicates = Literal["group", "drop", "keep"]

_BENIGN, _BOTH = 0, -1  # strata
_HOLDS_ATTACKS = {"train", "val", "test_seen"}
_NEEDS_FIRST = ("train", "test_seen", "val", "calibration", "test_unseen")  # if there are fewer contents than splits


def assign(
    attack: NDArray[np.object_],
    content: NDArray[np.uint64],
    unseen: Collection[str],
    shares: Mapping[str, float],
    *,
    duplicates: Duplicates = "group",
    seed: int = 0,
) -> NDArray[np.int8]:
    """(n,) index into ``SPLITS`` of each row, or ``LEFT_OUT``.

    Each attack is split by itself. So even a rare one follows the shares, and it reaches every split that may hold it,
    if it has enough different contents.

    Contents that benign rows share with seen attacks are spread like benign ones, and their attack rows are left out of
    splits that must hold none. Without such contents, the benign rows of ``calibration`` would look tamer than those of
    the tests. Benign copies of unseen attacks go where those go.

    The draw depends on the content of a row and on the seed, not on the order of the rows. Only ``keep`` tells copies
    apart, by their position.

    Args:
        attack: (n,) canonical names, ``benign`` for benign rows.
        content: (n,) hash of the values that a model will see.
        unseen: attacks that go to ``test_unseen`` only.
        shares: split -> share of the benign rows, summing to 1; seen attacks are spread over the splits that hold
            attacks.
        duplicates: ``group`` puts rows of one content into one split, ``drop`` keeps one row of each content and
            attack, ``keep`` splits row by row, so copies may lie on both sides (as in the published work).
        seed: of the draw.

    Raises:
        SplitError: there is no benign row, or no seen attack.
    """
    codes, names = _encoded(attack)
    _require_benign(names)
    n = len(attack)
    kept = _first_of_each(content, codes) if duplicates == "drop" else np.ones(n, dtype=bool)
    position = np.arange(n) if duplicates == "keep" else np.zeros(n, dtype=np.int64)
    unit = position if duplicates == "keep" else pd.factorize(content)[0]
    stratum = _strata(unit, _ranks(names, unseen)[codes], len(names) + 1)
    draw = row_hash([content, position, np.full(n, seed)])
    split = np.full(n, LEFT_OUT, dtype=np.int8)
    for code in np.unique(stratum[kept]):
        rows = np.flatnonzero((stratum == code) & kept)
        split[rows] = _cut(draw[rows], unit[rows], _shares_of(code, len(names), shares))
    # To a model, a seen attack is the same as the unseen attack or the calibration record whose content it shares.
    seen_attack = ~np.isin(names, ["benign", *unseen])[codes]
    split[seen_attack & ~np.isin(split, [SPLITS.index(name) for name in _HOLDS_ATTACKS])] = LEFT_OUT
    return split


def assign_by_day(
    attack: NDArray[np.object_],
    content: NDArray[np.uint64],
    day: NDArray[np.object_],
    test_days: Collection[str],
    unseen: Collection[str],
    shares: Mapping[str, float],
    *,
    duplicates: Duplicates = "group",
    seed: int = 0,
) -> NDArray[np.int8]:
    """As ``assign``, but ``test_unseen`` holds the benign rows of ``test_days`` alone, beside the unseen attacks.

    If these are the last days, the test records were captured after all records that the models are fitted on, and the
    false alarms show how far traffic has moved since. Seen attacks of these days are in no split. Rows whose content
    also occurs on other days are in no split either, unless copies are to be kept.

    Args:
        attack: (n,) canonical names, ``benign`` for benign rows.
        content: (n,) hash of the values that a model will see.
        day: (n,) weekday of the capture, None if it is not known.
        test_days: names of weekdays.
        unseen: attacks that go to ``test_unseen`` only.
        shares: as in ``assign``; that of ``test_unseen`` is spread over the others.
        duplicates: as in ``assign``.
        seed: of the draw.

    Raises:
        SplitError: there is no benign row on either side, or no seen attack on the other days.
        ConfigError: no row was captured on one of the days.
    """
    _require_days(test_days, day)
    late = np.isin(day, list(test_days))
    split = np.full(len(attack), LEFT_OUT, dtype=np.int8)
    early = {**shares, "test_unseen": 0.0}
    split[~late] = assign(attack[~late], content[~late], unseen, early, duplicates=duplicates, seed=seed)
    judged = late & np.isin(attack, ["benign", *unseen])
    if duplicates != "keep":
        judged &= ~np.isin(content, content[~late])
    if not (judged & (attack == "benign")).any():
        raise SplitError(f"preprocess.test_days: {', '.join(test_days)} have no benign record that other days have not")
    split[judged] = SPLITS.index("test_unseen")
    if duplicates == "drop":
        first = np.zeros(len(attack), dtype=bool)
        first[judged] = _first_of_each(content[judged], _encoded(attack[judged])[0])
        split[judged & ~first] = LEFT_OUT
    return split


def balance(attack: NDArray[np.object_], seed: int = 0) -> NDArray[np.bool_]:
    """(n,) mask of all attacks, and of as many benign rows, drawn at random, as the most frequent attack has.

    The asymmetric balancing of Chhetri, Thapa, Chen, "Latent Sculpting" (2025), section on stage 1.
    """
    codes, names = _encoded(attack)
    is_attack = (names != "benign")[codes] if len(codes) else np.zeros(0, dtype=bool)
    benign = np.flatnonzero(~is_attack)
    largest = np.bincount(codes[is_attack]).max(initial=0)
    size = min(len(benign), int(largest) or len(benign))
    mask = is_attack.copy()
    mask[np.random.default_rng(seed).choice(benign, size, replace=False)] = True
    return mask


def disagreeing(content: NDArray[np.uint64], y: NDArray[np.int8]) -> NDArray[np.bool_]:
    """(n,) mask of the rows whose content also occurs with the other label."""
    group = pd.factorize(content)[0]
    attacks = np.bincount(group, weights=y)
    sizes = np.bincount(group)
    mixed: NDArray[np.bool_] = ((attacks > 0) & (attacks < sizes))[group]
    return mixed


def check_attacks(setting: str, given: Collection[str], known: Collection[str]) -> None:
    """Refuse an unknown attack in ``setting``.

    Raises:
        ConfigError: with the known names and the near miss.
    """
    for name in given:
        if name not in known or name == "benign":
            names = ", ".join(sorted(set(known) - {"benign"}))
            raise ConfigError(f"{setting}: {name!r} is no attack{near_miss(name, known)}; known: {names}")


def _require_days(names: Collection[str], day: NDArray[np.object_]) -> None:
    known = {name for name in set(day.tolist()) if name}
    for name in names:
        if name not in known:
            there = ", ".join(sorted(known)) or "none: the records have no timestamp and no file of a weekday's name"
            raise ConfigError(f"preprocess.test_days: no record of {name!r}{near_miss(name, known)}; there are {there}")


def _require_benign(names: NDArray[np.object_]) -> None:
    present = set(names.tolist())
    if "benign" not in present:
        raise SplitError(f"the records hold no benign row, only {sorted(present)}; thresholds need benign ones")


def _ranks(names: NDArray[np.object_], unseen: Collection[str]) -> NDArray[np.int64]:
    """Rank of each name: benign has the lowest, seen attacks follow, and unseen attacks share the highest."""
    ranks = np.arange(1, len(names) + 1)
    ranks[names == "benign"] = _BENIGN
    ranks[np.isin(names, list(unseen))] = len(names) + 1
    return ranks


def _strata(unit: NDArray[np.int64], rank: NDArray[np.int64], unseen: int) -> NDArray[np.int64]:
    """(n,) the highest rank in each row's unit, or ``_BOTH`` if the unit holds benign rows and seen attacks only.

    So copies of one content follow the worst label among them, except contents that seen attacks share with benign
    rows.
    """
    highest, lowest = np.zeros(int(unit.max()) + 1, dtype=np.int64), np.full(int(unit.max()) + 1, unseen)
    np.maximum.at(highest, unit, rank)
    np.minimum.at(lowest, unit, rank)
    both = (lowest == _BENIGN) & (highest > _BENIGN) & (highest < unseen)
    return np.where(both, _BOTH, highest)[unit]


def _shares_of(stratum: int, names: int, shares: Mapping[str, float]) -> NDArray[np.float64]:
    if stratum in (_BENIGN, _BOTH):
        return np.array([shares[split] for split in SPLITS])
    if stratum == names + 1:
        return np.array([float(split == "test_unseen") for split in SPLITS])
    return np.array([shares[split] * (split in _HOLDS_ATTACKS) for split in SPLITS])


def _cut(draw: NDArray[np.uint64], unit: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.int8]:
    """Split units in the order of their draw; a unit goes where the middle of its rows falls among the shares."""
    member, units = pd.factorize(unit)
    drawn = np.empty(len(units), dtype=np.uint64)
    drawn[member] = draw  # the same for all rows of a unit
    order = np.argsort(drawn)
    sizes = np.bincount(member)[order]
    middle = np.cumsum(sizes) - sizes / 2
    ends = np.cumsum(shares / shares.sum()) * len(unit)
    ordered = np.searchsorted(ends[:-1], middle, side="right").astype(np.int8)
    _fill_empty(ordered, sizes, shares)
    split = np.empty_like(ordered)
    split[order] = ordered
    return split[member]


def _fill_empty(split: NDArray[np.int8], sizes: NDArray[np.int64], shares: NDArray[np.float64]) -> None:
    """Give each empty split with a share one unit: the smallest one of the split that has most, if it can spare it."""
    for code in (SPLITS.index(name) for name in _NEEDS_FIRST):
        counts = np.bincount(split, minlength=len(SPLITS))
        richest = int(counts.argmax())
        if shares[code] and not counts[code] and counts[richest] > 1:
            units = np.flatnonzero(split == richest)  # in the order of their draw
            split[units[sizes[units].argmin()]] = code


def _first_of_each(content: NDArray[np.uint64], codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    return ~pd.Series(row_hash([content, codes])).duplicated().to_numpy()


def _encoded(attack: NDArray[np.object_]) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """(n,) codes into the sorted names, and the names."""
    codes, names = pd.factorize(attack, sort=True)
    return codes, np.asarray(names, dtype=object)
