"""Five splits, one purpose each, the balanced subset that an encoder trains on, and attacks hidden in ``train``.

``train`` fits, ``val`` chooses the epoch, ``calibration`` (benign, unseen by any fit) sets thresholds, ``test_seen``
and ``test_unseen`` are read by evaluate alone. Attacks that are named unseen occur in ``test_unseen`` only. Where all
models are in closed form, the benign records of the first three are dealt into folds instead, and all of them fit and
set thresholds; see ``pipeline.calibration.cross_conformal``.
"""

import math
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
_NEEDS_FIRST = ("train", "test_seen", "val", "calibration", "test_unseen")  # where there are fewer contents than splits


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

    Each attack is split by itself, so that a rare one is spread as its share says, and reaches every split that it may
    be in where it has that many different contents. Contents that benign rows share with seen attacks are spread as
    benign ones are, the attacks among them left out where they may not be: were there none of them in ``calibration``,
    its benign rows would look tamer than those of the tests. Benign copies of unseen attacks go with those. The draw
    depends on a row's content and the seed, not on the order of the rows; only ``keep`` tells copies apart, by their
    position.

    Args:
        attack: (n,) canonical names, ``benign`` for benign rows.
        content: (n,) hash of the values that a model will see.
        unseen: attacks that go to ``test_unseen`` only.
        shares: of the benign rows for each split, summing to 1; seen attacks are spread over those that hold attacks.
        duplicates: ``group`` keeps rows of one content in one split, ``drop`` keeps one row of each content and attack,
            ``keep`` splits row by row, so that copies stand on both sides (as the published work does).
        seed: of the draw.

    Raises:
        SplitError: there is no benign row, or no seen attack.
    """
    codes, names = _encoded(attack)
    _require_both(names, unseen)
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
    # A model cannot tell a seen attack from the unseen one, or the calibration record, whose content it shares.
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
    """As ``assign``, with the benign rows of ``test_days`` alone in ``test_unseen``, beside the unseen attacks.

    So what is judged was captured after all that was fitted, where the days are the last ones: the distance between
    both shows in the false alarms. Seen attacks of these days are in no split, nor, unless copies are to be kept, are
    rows whose content other days have too.

    Args:
        attack: (n,) canonical names, ``benign`` for benign rows.
        content: (n,) hash of the values that a model will see.
        day: (n,) weekday of the capture, None where it is not known.
        test_days: names of weekdays.
        unseen: attacks that go to ``test_unseen`` only.
        shares: as in ``assign``; that of ``test_unseen`` is spread over the others.
        duplicates: as in ``assign``.
        seed: of the draw.

    Raises:
        SplitError: there is no benign row on either side, or no seen attack on the other days.
        ConfigError: no row was captured on one of the days.
    """
    known = {name for name in set(day.tolist()) if name}
    for name in test_days:
        if name not in known:
            there = ", ".join(sorted(known)) or "none: the records have no timestamp and no file of a weekday's name"
            raise ConfigError(f"preprocess.test_days: no record of {name!r}{near_miss(name, known)}; there are {there}")
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


def contaminate(
    attack: NDArray[np.object_],
    content: NDArray[np.uint64],
    split: NDArray[np.int8],
    names: Collection[str],
    share: float,
    seed: int = 0,
) -> tuple[NDArray[np.bool_], NDArray[np.int8]]:
    """(n,) mask of the attacks that are hidden among the benign train rows, and the split of each row after that.

    Of b benign train rows and h hidden ones, h / (b + h) = ``share``. Seen attacks are taken from the labelled ones of
    ``train``, unseen ones out of ``test_unseen``. The draw depends on content and seed: a larger share hides the same
    rows and more. A content that is hidden stands in no other split and bears no label of an attack: contents that
    other rows of an evaluated split have are not drawn, and copies that are left over are in no split.

    Args:
        attack: (n,) canonical names, ``benign`` for benign rows.
        content: (n,) hash of the values that a model will see.
        split: (n,) of ``assign``.
        names: which attacks may be hidden, in the proportion that they have there.
        share: of hidden rows among the train rows that are labelled benign, below 1.
        seed: of the draw.

    Raises:
        SplitError: there are too few such attacks, or none would be left with its label.
    """
    train, attacks = split == SPLITS.index("train"), attack != "benign"
    taken = np.isin(attack, list(names)) & attacks & (train | (split == SPLITS.index("test_unseen")))
    others = ~taken & ~train & (split != LEFT_OUT)
    rows = np.flatnonzero(taken & ~np.isin(content, content[others]))
    benign = int((train & ~attacks).sum())
    wanted = max(1, round(share * benign / (1 - share)))
    _require_enough(wanted, len(rows), benign, sorted(names), share)
    draw = row_hash([content[rows], np.full(len(rows), seed)])
    hidden = np.zeros(len(attack), dtype=bool)
    hidden[rows[np.argsort(draw, kind="stable")[:wanted]]] = True
    copies = np.isin(content, content[hidden]) & attacks & ~hidden
    after = np.where(hidden, SPLITS.index("train"), np.where(copies, LEFT_OUT, split)).astype(np.int8)
    if not ((after == SPLITS.index("train")) & attacks & ~hidden).any():
        raise SplitError(
            f"preprocess.contamination: a share of {share:g} hides every attack of train, and none is left with its "
            "label; lower preprocess.contamination.share, or name fewer preprocess.contamination.attacks"
        )
    return hidden, after


def balance(attack: NDArray[np.object_], seed: int = 0) -> NDArray[np.bool_]:
    """(n,) mask: every attack, and as many benign rows as the most frequent attack has, drawn at random.

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
    """(n,) mask of rows whose content also occurs with the other label."""
    group = pd.factorize(content)[0]
    attacks = np.bincount(group, weights=y)
    sizes = np.bincount(group)
    mixed: NDArray[np.bool_] = ((attacks > 0) & (attacks < sizes))[group]
    return mixed


def check_attacks(setting: str, given: Collection[str], known: Collection[str]) -> None:
    """Refuse an attack in ``setting`` that no vocabulary knows.

    Raises:
        ConfigError: with the known names and the near miss.
    """
    for name in given:
        if name not in known or name == "benign":
            names = ", ".join(sorted(set(known) - {"benign"}))
            raise ConfigError(f"{setting}: {name!r} is no attack{near_miss(name, known)}; known: {names}")


def _require_enough(wanted: int, there: int, benign: int, names: list[str], share: float) -> None:
    of_names = f"attacks of {', '.join(names)}" if names else "attacks"
    if not there:
        raise SplitError(
            f"preprocess.contamination: there are no {of_names} to hide in train; name attacks that the records have "
            "in preprocess.contamination.attacks, or set preprocess.contamination.share to 0"
        )
    if wanted > there:
        possible = math.floor(1e4 * there / (there + benign)) / 1e4
        raise SplitError(
            f"preprocess.contamination.share: {share:g} would hide {wanted:,} {of_names} among {benign:,} benign train "
            f"rows, and there are {there:,}; at most {possible:g} is possible"
        )


def _require_both(names: NDArray[np.object_], unseen: Collection[str]) -> None:
    present = set(names.tolist())
    if "benign" not in present:
        raise SplitError(f"the records hold no benign row, only {sorted(present)}; thresholds need benign ones")
    if not present - {"benign"} - set(unseen):
        raise SplitError(
            f"the records hold no seen attack (present: {sorted(present)}, unseen: {sorted(unseen)}); "
            "name fewer attacks in preprocess.unseen or ingest more records"
        )


def _ranks(names: NDArray[np.object_], unseen: Collection[str]) -> NDArray[np.int64]:
    """Rank of each name: benign lowest, then the seen attacks, the unseen ones share the highest."""
    ranks = np.arange(1, len(names) + 1)
    ranks[names == "benign"] = _BENIGN
    ranks[np.isin(names, list(unseen))] = len(names) + 1
    return ranks


def _strata(unit: NDArray[np.int64], rank: NDArray[np.int64], unseen: int) -> NDArray[np.int64]:
    """(n,) the highest rank in each row's unit, or ``_BOTH`` where it holds benign rows and seen attacks alone.

    So copies of one content follow the worst label among them, but for what seen attacks share with benign rows.
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
    """Split units in the order of their draw, each where the middle of its rows falls among the shares."""
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
    """Give each split with a share one unit, the smallest of the split that has most, as far as there are any."""
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
