"""The rules that each record breaks, and how far it can be trusted."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.validation.suite import Expectation

Mask = NDArray[np.bool_]
Broken = tuple[str, str, Mask]  # the rule in words, its kind, (n,) which rows break it
COUNTED = "undefined numbers"  # ingest has taken these off the trust already


@dataclass(frozen=True)
class Trust:
    """The trust in n records.

    Attributes:
        record_id: (n,) uint64.
        confidence: (n,) float32 in [0, 1], trust in each.
        code: (n,) index into ``rules``.
        rules: each combination of rules that a record breaks, "" for none.
    """

    record_id: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    confidence: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    code: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    rules: tuple[str, ...] = ("",)

    def doubting(self, rows: NDArray[np.int64], trust: NDArray[np.float32], rule: str) -> "Trust":
        """The same, but for some rows, (k,), with at most the trust, (k,), that is left in each by a further rule."""
        confidence, named = self.confidence.copy(), np.zeros(len(self.confidence), dtype=bool)
        confidence[rows], named[rows] = np.minimum(confidence[rows], trust), True
        codes, found = pd.factorize(2 * self.code.astype(np.int64) + named)
        combinations = (divmod(int(code), 2) for code in found)
        rules = tuple("; ".join(filter(None, [self.rules[own], rule * doubted])) for own, doubted in combinations)
        return Trust(self.record_id, confidence, codes.astype(np.int32), rules)


class Rules:
    """Gathers the trust in each record and the rules that it breaks, batch by batch: 8 bytes for each record.

    Args:
        features: how many there are. A broken rule about a number lowers the trust by one over their number.
    """

    def __init__(self, features: int) -> None:
        self._cost = 1 / max(features, 1)
        self._trust: list[NDArray[np.float32]] = [np.empty(0, np.float32)]
        self._code: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
        self._codes: dict[tuple[str, ...], int] = {(): 0}

    def add(self, trust: NDArray[np.float32], broken: Sequence[Broken]) -> None:
        """Take in the trust in the records of a batch, as ingest read them, and the rules that some of them break."""
        trust, hurt = trust.copy(), [rule for rule in broken if rule[2].any()]
        for _, kind, mask in hurt:
            trust[mask] = 0 if kind == "labels" else np.maximum(trust[mask] - self._cost * (kind != COUNTED), 0)
        self._trust.append(trust)
        self._code.append(self._coded(len(trust), hurt))

    def result(self, record_id: NDArray[np.uint64], contradicted: Mask, broken: Sequence[Broken]) -> Trust:
        """The trust in all records, at the end.

        Args:
            record_id: (n,), in the order in which the records came.
            contradicted: (n,) which records have a copy with the other label; the trust in them is 0.
            broken: the rules about all records at once, say duplicates, that some records break.
        """
        trust, code = np.concatenate(self._trust), np.concatenate(self._code).astype(np.int64)
        trust[contradicted] = 0
        masks = [mask for _, _, mask in broken]
        for mask in masks:
            code = 2 * code + mask
        codes, found = pd.factorize(code)
        names = [name for name, _, _ in broken]
        rules = tuple(self._named(int(combination), names) for combination in found)
        return Trust(record_id, trust, codes.astype(np.int32), rules)

    def _coded(self, n: int, broken: Sequence[Broken]) -> NDArray[np.int32]:
        """(n,) index of the combination of rules that each record breaks."""
        code = np.zeros(n, np.int32)
        if not broken:
            return code
        bits = np.packbits(np.stack([mask for _, _, mask in broken], axis=1), axis=1)  # (n, rules / 8)
        rows = np.flatnonzero(bits.any(axis=1))
        found, inverse = np.unique(bits[rows], axis=0, return_inverse=True)
        sets = np.unpackbits(found, axis=1, count=len(broken)).astype(bool)
        combinations = [tuple(name for (name, _, _), hit in zip(broken, row, strict=True) if hit) for row in sets]
        known = [self._codes.setdefault(names, len(self._codes)) for names in combinations]
        code[rows] = np.array(known, np.int32)[inverse.reshape(-1)]
        return code

    def _named(self, code: int, names: Sequence[str]) -> str:
        own, bits = divmod(code, 2 ** len(names))
        last = [name for place, name in enumerate(reversed(names)) if bits >> place & 1]
        return "; ".join([*list(self._codes)[own], *reversed(last)])


def described(rule: Expectation, rows: Mask) -> Broken:
    """The rule in words, its kind and the rows that break it."""
    kind, columns = rule.meta["kind"], rule.meta["columns"]
    about = f"{columns[0]} " if columns and kind not in ("identities", "duplicates") else ""
    return f"{about}{rule.description}", kind, rows


def broken(rule: Expectation, frame: pd.DataFrame) -> Mask:
    """Which rows of a frame break a rule; of its columns or its values, where the rule is about those.

    A null breaks no rule but the one against nulls, as in Great Expectations.
    """
    return np.asarray(_BROKEN[type(rule).__name__](rule, frame), dtype=bool)


def _outside(rule: Expectation, frame: pd.DataFrame) -> Any:
    values = np.asarray(frame[rule.column], dtype=np.float64)  # a comparison with NaN is false
    below = False if rule.min_value is None else values < rule.min_value
    return below | (values > (np.inf if rule.max_value is None else rule.max_value))


_BROKEN: Mapping[str, Callable[[Expectation, pd.DataFrame], Any]] = {
    "ExpectColumnValuesToNotBeNull": lambda rule, frame: frame[rule.column].isna(),
    "ExpectColumnValuesToBeBetween": _outside,
    "ExpectColumnValuesToBeInSet": lambda rule, frame: (
        ~frame[rule.column].isin(rule.value_set) & frame[rule.column].notna()
    ),
    "ExpectColumnValuesToBeUnique": lambda rule, frame: frame[rule.column].duplicated(keep=False),
    "ExpectColumnPairValuesToBeEqual": lambda rule, frame: frame[rule.column_A] != frame[rule.column_B],
    "ExpectColumnDistinctValuesToContainSet": lambda rule, frame: ~np.isin(rule.value_set, frame[rule.column].unique()),
    "ExpectTableColumnsToMatchOrderedList": lambda rule, frame: [
        expected != found for expected, found in zip_longest(rule.column_list, frame.columns)
    ],
}
