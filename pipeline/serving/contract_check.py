"""Holds the records of a file or of a call against the contract of a model, some at a time."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, cast, get_args

import numpy as np
import pyarrow as pa

from pipeline.base.errors import ConfigError, SchemaError, near_miss
from pipeline.datasets.base import Chunk
from pipeline.datasets.extractors import Extractor
from pipeline.datasets.meaning import Meaning
from pipeline.datasets.schema import DIFFERS
from pipeline.datasets.units import CANONICAL
from pipeline.serving.counts import counted
from pipeline.settings.scoring import Action, ContractRules

WARN: Final = ContractRules("warn", outside=0.05, undefined=0.05, unknown_words=0.05)
ACTIONS: Final = get_args(Action)
FEWEST: Final = 50  # records from which on a column may be called constant
MOST: Final = 5  # columns that are named


def rules_of(action: str) -> ContractRules:
    """The usual rules with an action of their own.

    Raises:
        ConfigError: there is no such action.
    """
    if action not in ACTIONS:
        raise ConfigError(f"contract is {action!r}, allowed are {', '.join(ACTIONS)}{near_miss(action, ACTIONS)}")
    return replace(WARN, action=cast(Action, action))


class ContractCheck:
    """What the records of one file or call have in common with those that a model was fitted on.

    Args:
        contract: of the model; None where it has none.
        rules: when it is broken.

    Attributes:
        times: what a person should know of the times of the records, in words; "" for nothing.
    """

    def __init__(self, contract: Mapping[str, Any] | None, rules: ContractRules = WARN) -> None:
        self.contract, self.rules = contract, rules
        self.n, self.outside = 0, 0
        self.meaning, self.times = Meaning(), ""
        self.beyond: Counter[str] = Counter()
        self.undefined: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self.reached: dict[str, tuple[float, float]] = {}

    def add(self, chunk: Chunk) -> None:
        """Look at some records of a file."""
        self.look(chunk.records, chunk.notes.meaning if chunk.notes else self.meaning)

    def join(self, other: "ContractCheck") -> None:
        """Look at what another one has looked at, behind all that came before."""
        self.meaning = other.meaning
        self.n, self.outside = self.n + other.n, self.outside + other.outside
        self.beyond.update(other.beyond)
        self.undefined.update(other.undefined)
        self.unknown.update(other.unknown)
        for name, (least, most) in other.reached.items():
            low, high = self.reached.get(name, (np.inf, -np.inf))
            self.reached[name] = min(low, least), max(high, most)

    def look(self, records: pa.Table, meaning: Meaning) -> None:
        """Look at some records: float64, or dictionaries of words, under canonical names."""
        self.meaning = meaning
        if self.contract is None:
            return
        n = records.num_rows
        outside = np.zeros(n, bool)
        reads, has = {*self.contract["reads"]}, {*records.column_names}
        for name, limits in self.contract["columns"].items():
            if name in has:
                beyond = self._number(name, limits, records.column(name))
                if name in reads:
                    outside |= beyond
                    self.beyond[name] += int(beyond.sum())
        for name, words in self.contract["words"].items():
            if name in has:
                self._word(name, words, records.column(name))
        self.n, self.outside = self.n + n, self.outside + int(outside.sum())

    def _number(self, name: str, limits: Mapping[str, Any], column: pa.ChunkedArray) -> Any:
        """(n,) mask of the records that lie outside the limits; the rest is counted."""
        values = column.to_numpy().astype(np.float64, copy=False)
        finite = np.isfinite(values)
        self.undefined[name] += len(values) - int(finite.sum())
        if limits["low"] is None:
            return np.zeros(len(values), bool)
        known = values if finite.all() else values[finite]
        least, most = known.min(initial=np.inf), known.max(initial=-np.inf)
        low, high = self.reached.get(name, (np.inf, -np.inf))
        self.reached[name] = min(low, least), max(high, most)
        if limits["low"] <= least and most <= limits["high"]:  # as in nearly every column
            return np.zeros(len(values), bool)
        return finite & ((values < limits["low"]) | (values > limits["high"]))

    def _word(self, name: str, words: list[str], column: pa.ChunkedArray) -> None:
        if words:
            known = {*words, ""}
            counts = column.value_counts().to_pylist()
            self.unknown[name] += sum(each["counts"] for each in counts if (each["values"] or "") not in known)

    def require(self, file: object) -> None:
        """Refuse a file that breaks the contract, where the rules say so; it is named in the message.

        Raises:
            SchemaError: with what is broken.
        """
        if self.rules.action == "refuse" and (broken := self.broken()):
            raise SchemaError(f"{file}: {' '.join(broken)} scoring.contract.action is refuse")

    def result(self) -> dict[str, Any]:
        """For the summary: what is broken, in numbers and in sentences."""
        read = self.meaning
        said = {"read": [each.sentence() for each in (read.extractor, read.units, read.times) if each]}
        if self.contract is None:
            return {"state": "none", "sentences": ["The model has no contract: it is older than this check."], **said}
        broken = self.broken()
        return {
            "state": "broken" if broken else "kept",
            "foreign": bool(self._tool() or self._units()),
            "sentences": [*broken, *self.notices()],
            **said,
            "outside": {
                "records": self.outside,
                "columns": dict(self.beyond.most_common(MOST)) if self.outside else {},
            },
            "constant": self.constant(),
            "no_longer_constant": self.no_longer_constant(),
            "undefined": {name: self.undefined[name] for name in self._missing()},
            "unknown_words": {name: count for name, count in self.unknown.items() if count},
        }

    def broken(self) -> list[str]:
        """What breaks the contract, in sentences."""
        if self.contract is None:
            return []
        return [*self._tool(), *self._units(), *self._outside(), *self._undefined(), *self._unknown()]

    def notices(self) -> list[str]:
        """What a person should know beside it, in sentences."""
        units = self.meaning.units
        said = [units.sentence()] if units and units.duration not in ("", CANONICAL) else []
        if self.contract and self.contract["synthetic"]:
            said.append("The model was fitted on simulated records; what it says of a real network proves nothing.")
        said += [self.times] if self.times else []
        if constant := self.constant():
            said.append(f"One value alone, where the model has seen several: {_named(constant)}.")
        if varying := self.no_longer_constant():
            said.append(f"Several values, where the model has seen one alone: {_named(varying)}.")
        return said

    def constant(self) -> list[str]:
        """The columns that have one value here, and had several."""
        return [name for name, low, high, limits in self._compared() if low == high and limits["p01"] < limits["p99"]]

    def no_longer_constant(self) -> list[str]:
        """The columns that had one value, and have several here."""
        return [name for name, low, high, limits in self._compared() if low < high and limits["low"] == limits["high"]]

    def _compared(self) -> list[tuple[str, float, float, Mapping[str, Any]]]:
        if self.contract is None or self.n < FEWEST:
            return []
        known = self.contract["columns"]
        return [(name, low, high, known[name]) for name, (low, high) in self.reached.items() if low <= high]

    def _tool(self) -> list[str]:
        mine = self.meaning.extractor
        theirs = [Extractor(**each) for each in self._known("extractors")]
        if mine is None or not theirs or any(mine.agrees(each) for each in theirs):
            return []
        differing = [name for name in self._known("reads") if name in DIFFERS]
        titles = " and ".join(sorted({_described(each) for each in theirs}))
        columns = f"{counted(len(differing), 'column')} may not mean the same: {_named(differing)}" if differing else ""
        return [f"Another tool wrote it, {_described(mine)}; the model was fitted on records of {titles}. {columns}."]

    def _units(self) -> list[str]:
        units = self.meaning.units
        return [units.sentence()] if units is not None and not units.agree else []

    def _outside(self) -> list[str]:
        if self.outside <= self.rules.outside * self.n:
            return []
        most = ", ".join(f"{name} ({count:,})" for name, count in self.beyond.most_common(MOST) if count)
        share = f"{self.outside:,} of {counted(self.n, 'record')} ({self.outside / self.n:.0%})"
        return [f"{share} have a value outside the range that the model has seen, most often in {most}."]

    def _undefined(self) -> list[str]:
        missing = self._missing()
        return [f"Values are missing more often than where the model was fitted: {_named(missing)}."] if missing else []

    def _missing(self) -> list[str]:
        known, allowed = self._known("columns"), self.rules.undefined
        return [name for name, count in self.undefined.items() if count > (known[name]["undefined"] + allowed) * self.n]

    def _unknown(self) -> list[str]:
        allowed = self.rules.unknown_words * self.n
        named = [f"{name} ({counted(count, 'record')})" for name, count in self.unknown.items() if count > allowed]
        return [f"Words that the model has not seen: {', '.join(named)}."] if named else []

    def _known(self, part: str) -> Any:
        return {} if self.contract is None else self.contract[part]


def _named(names: list[str]) -> str:
    more = f" and {len(names) - MOST} more" if len(names) > MOST else ""
    return ", ".join(names[:MOST]) + more


def _described(extractor: Extractor) -> str:
    counts = f", which counts the first packet {extractor.first_packet}" if extractor.first_packet else ""
    return f"{extractor.title}{counts}"
