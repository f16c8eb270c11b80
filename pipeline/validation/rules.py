"""Which rules each record breaks, and how far it can be trusted after them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.validation.suite import Expectation

Mask = NDArray[np.bool_]
Broken = tuple[str, str, Mask]  # the rule in words, its kind, (n,) which rows break it
COUNTED = "undefined numbers"  # what reading took off already


@dataclass(frozen=True)
class Trust:
    """n records after the rules.

    Attributes:
        record_id: (n,) uint64.
        confidence: (n,) float32 in [0, 1], trust in each.
        code: (n,) index into ``rules``.
        rules: what a record breaks, "" for nothing.
    """

    record_id: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    confidence: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    code: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    rules: tuple[str, ...] = ("",)


class Rules:
    """Gathers, batch by batch, the trust in each record and the rules that it breaks: 8 bytes for each record.

    Args:
        features: how many there are; each broken rule about a number takes away what one of them counts.
    """

    def __init__(self, features: int) -> None:
        self._cost = 1 / max(features, 1)
        self._trust: list[NDArray[np.float32]] = [np.empty(0, np.float32)]
        self._code: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
        self._codes: dict[tuple[str, ...], int] = {(): 0}

    def add(self, trust: NDArray[np.float32], broken: Sequence[Broken]) -> None:
        """Take in the records of a batch, as they were read, and the rules that some of them break."""
        trust, told = trust.copy(), [each for each in broken if each[2].any()]
        for _, kind, mask in told:
            trust[mask] = 0 if kind == "labels" else np.maximum(trust[mask] - self._cost * (kind != COUNTED), 0)
        self._trust.append(trust)
        self._code.append(self._coded(len(trust), told))

    def result(self, record_id: NDArray[np.uint64], contradicted: Mask, broken: Sequence[Broken]) -> Trust:
        """What is known of all records at the end.

        Args:
            record_id: (n,) of the records, in the order in which they came.
            contradicted: (n,) which of them have a copy with the other label; there is no trust in them.
            broken: the rules over all records that some of them break.
        """
        trust, code = np.concatenate(self._trust), np.concatenate(self._code).astype(np.int64)
        trust[contradicted] = 0
        masks = [mask for _, _, mask in broken]
        for mask in masks:
            code = 2 * code + mask
        codes, found = pd.factorize(code)
        names = [name for name, _, _ in broken]
        rules = tuple(self._named(int(each), names) for each in found)
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
        known = [self._codes.setdefault(each, len(self._codes)) for each in combinations]
        code[rows] = np.array(known, np.int32)[inverse.reshape(-1)]
        return code

    def _named(self, code: int, names: Sequence[str]) -> str:
        own, bits = divmod(code, 2 ** len(names))
        last = [name for place, name in enumerate(reversed(names)) if bits >> place & 1]
        return "; ".join([*list(self._codes)[own], *reversed(last)])


def broken(expectation: Expectation, frame: pd.DataFrame) -> Mask:
    """(n,) which rows of a frame break an expectation about one column; nothing is known of a null, as in the suite."""
    values, kind = frame[expectation.column], type(expectation).__name__
    if kind == "ExpectColumnValuesToNotBeNull":
        return np.asarray(values.isna(), dtype=bool)
    if kind == "ExpectColumnValuesToBeInSet":
        return np.asarray(values.notna() & ~values.isin(expectation.value_set), dtype=bool)
    if kind == "ExpectColumnValuesToBeUnique":
        return np.asarray(values.duplicated(keep=False), dtype=bool)
    if kind != "ExpectColumnValuesToBeBetween":
        return np.zeros(len(frame), dtype=bool)
    numbers = values.to_numpy(np.float64, na_value=np.nan)
    low, high = expectation.min_value, expectation.max_value
    below = np.zeros(len(frame), dtype=bool) if low is None else numbers < low
    return below if high is None else below | (numbers > high)


def described(expectation: Expectation, frame: pd.DataFrame) -> Broken:
    """The rule in words, its kind and the rows of a frame that break it."""
    kind, columns = expectation.meta["kind"], expectation.meta["columns"]
    about = "" if kind in ("identities", "duplicates") else f"{columns[0]} "
    return f"{about}{expectation.description}", kind, broken(expectation, frame)
