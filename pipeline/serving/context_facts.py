"""What the recent past of the hosts of a record has to do with its score, fact by fact.

A fact counts for how much more surprising the context of a benign record with nothing unusual in it becomes if that
fact alone is as in the record. To take one fact away from an unusual context would say little: of a scan, the number of
ports and the number of records say the same, and each is enough.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.base.samples import CONTEXT
from pipeline.calibration.calibration import Calibration
from pipeline.evaluation.replacement import Scoring
from pipeline.preprocessing.context.past import GAP_COLUMNS, Matrix
from pipeline.serving.alerts import kinds
from pipeline.serving.alerts.schema import Reason
from pipeline.serving.bundle import Bundle
from pipeline.serving.causes import Cause, Context
from pipeline.serving.recent_past import RecentPast
from pipeline.serving.usual import OF_100, number, ranged

Floats = NDArray[np.float64]

_COUNTS: Final = frozenset({"records", "ports", "sent", "received", "hosts"})
_LOGS: Final = frozenset({*_COUNTS, "gap_mean"})  # stored as log(1 + n)
_UNITS: Final = {"sent": "B", "received": "B", "gap_mean": "s"}
_BY: Final = {"source": "by this source", "destination": "to this destination", "pair": "between these two hosts"}
_PORT: Final = "on this port between these two hosts"
_SAID: Final = {
    ("", "records"): "records",
    ("", "ports"): "ports asked",
    ("", "port_entropy"): "entropy of the ports asked",
    ("", "failed_share"): "share of records without an answer",
    ("", "sent"): "bytes sent",
    ("", "received"): "bytes sent back",
    ("source", "hosts"): "hosts asked",
    ("destination", "hosts"): "hosts that asked",
    ("", "gaps"): f"last gaps that are known between records {_PORT}",
    ("", "gap_mean"): f"mean time between records {_PORT}",
    ("", "gap_variation"): f"variation of the time between records {_PORT}",
}


@dataclass(frozen=True)
class Fact:
    """One column of contexts.

    Attributes:
        name: of the column.
        side: source, destination or pair.
        what: it counts.
        seconds: that it looks back on; "" for gaps.
    """

    name: str
    side: str
    what: str
    seconds: str

    @classmethod
    def of(cls, name: str) -> "Fact":
        """That of a column."""
        if name in GAP_COLUMNS:
            return cls(name, "pair", name, "")
        side, rest = name.split("_", 1)
        what, window = rest.rsplit("_", 1)
        return cls(name, side, what, window.removesuffix("s"))

    def raw(self, value: float) -> float:
        """What a context counts, given what is stored."""
        if self.what in _COUNTS:
            return float(round(float(np.expm1(value))))
        return float(np.expm1(value)) if self.what in _LOGS else float(value)

    @property
    def unit(self) -> str:
        """Of what it counts; "" for none."""
        return _UNITS.get(self.what, "")

    def sentence(self, value: float, low: float | None, high: float | None) -> str:
        """What it is in a record, beside what is usual; raw values."""
        said = f"{_SAID.get((self.side, self.what)) or _SAID['', self.what]} {number(value, self.unit)}"
        if self.seconds:
            said += f" in {_span(float(self.seconds))} {_BY[self.side]}"
        return said if low is None or high is None else f"{said}; {self.usual(low, high)}"

    def usual(self, low: float, high: float) -> str:
        """What is usual, in words; raw values."""
        return f"{OF_100} of 100 benign records: {ranged(low, high, self.unit)}"


@dataclass(frozen=True)
class Facts:
    """The facts of the contexts of n records, with what they explain.

    Attributes:
        facts: the F columns of contexts.
        x: (n, F); None where no facts are known.
        rise: (n, F) see ``rises``.
        fall: (n,) how far the score falls without the context.
        low, high: (F,) what is usual, or None.
    """

    facts: tuple[Fact, ...] = ()
    x: Matrix | None = None
    rise: Floats | None = None
    fall: Floats | None = None
    low: Matrix | None = None
    high: Matrix | None = None

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        scoring: Scoring,
        scores: Mapping[str, NDArray[Any]],
        context: Context | None,
        shares: Mapping[str, Floats],
    ) -> "Facts":
        """Those of records with these scores."""
        past = bundle.looks_back
        if past is None or context is None or context.x is None or CONTEXT not in bundle.calibration.used:
            return cls()
        known = np.isfinite(context.score) & (shares[CONTEXT] > 0)
        rise = np.zeros(context.x.shape)
        if known.any():
            rise[known] = _outside(rises(past, bundle.calibration, context.x[known]), context.x[known], past)
        silent = {**scores, CONTEXT: np.where(np.isnan(scores[CONTEXT]), np.nan, -np.inf)}
        fall = scoring.fused(scores) - scoring.fused(silent)
        usual = (past.usual.get("low"), past.usual.get("high"))
        return cls(tuple(Fact.of(name) for name in past.columns), context.x, rise, fall, *usual)

    def __call__(self, row: int, whole: float, most: int = 3) -> list[Cause]:
        """The strongest facts of a record; ``whole`` is how far its score falls if all is as usual."""
        if self.x is None or self.rise is None or self.fall is None:
            return []
        rise = self.rise[row]
        chosen = _strongest(self.facts, rise, most)
        parts = rise[chosen] / max(float(rise[chosen].sum()), 1e-12) if chosen else rise[:0]
        return [
            self._cause(row, place, float(self.fall[row] * part), whole)
            for place, part in zip(chosen, parts.tolist(), strict=True)
        ]

    def _cause(self, row: int, place: int, fall: float, whole: float) -> Cause:
        assert self.x is not None
        fact = self.facts[place]
        value = fact.raw(float(self.x[row, place]))
        low, high = (None if each is None else fact.raw(float(each[place])) for each in (self.low, self.high))
        usual = "" if low is None or high is None else fact.usual(low, high)
        share = float(np.clip(fall / whole, 0, 1))
        text = fact.sentence(value, low, high)
        reason = Reason(fact.name, value, None, fact.unit, low, high, usual, share, text)
        return Cause(reason, theme(fact), None, fall)


def rises(past: RecentPast, calibration: Calibration, x: Matrix) -> Floats:
    """(n, F) how much more surprising a usual context becomes by each fact of contexts, x, (n, F), at least 0.

    Without what is usual, as in an older model, the middle of the contexts is unknown, and 0 stands for it.
    """
    middle = past.usual.get("middle", np.zeros(x.shape[1], np.float32))
    start = np.tile(middle, (len(x), 1))
    surprise = calibration.surprisals[CONTEXT].surprise
    before = surprise(past.detector.scores(start[:1]))[:, None]
    rise: Floats = surprise(past.detector.replaced(start, x)) - before
    return np.where(x == start, 0.0, rise.clip(0))  # what is not replaced changes nothing, but for rounding


def _outside(rise: Floats, x: Matrix, past: RecentPast) -> Floats:
    """(n, F) rises of contexts, x: 0 of facts in the usual range, where another fact of the record lies outside."""
    if not past.usual:
        return rise
    outside = ((x < past.usual["low"]) | (x > past.usual["high"])) & (rise > 0)
    return np.where(outside | ~outside.any(1, keepdims=True), rise, 0.0)


def _strongest(facts: Sequence[Fact], rise: Floats, most: int) -> list[int]:
    """Places of the greatest of (F,) rises, at most one of each side and kind."""
    found: dict[tuple[str, str], int] = {}
    for place in np.argsort(-rise, kind="stable").tolist():
        if rise[place] <= 0 or len(found) == most:
            break
        found.setdefault((facts[place].side, facts[place].what), place)
    return [*found.values()]


def theme(fact: Fact) -> str:
    """What a fact is about, coarsely, such as ``source ports``."""
    return kinds.of_past(fact.side, fact.what)


def _span(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds > 60 else f"{seconds:g} s"
