"""The records that one of two models flags and the other does not: how many of each file, host and day."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipeline.base.escaping import printable
from pipeline.calibration.prediction import Prediction
from pipeline.serving.alerts.addresses import ENDS, texts
from pipeline.settings.alerts import Addresses

FIRST: Final = 20  # records that are shown one by one
SHOWN: Final = ("row", "src_ip", "src_port", "dst_ip", "dst_port", "timestamp")


@dataclass(frozen=True)
class Difference:
    """A record on which two models differ.

    Attributes:
        where: its file and, as far as they are known, its row, hosts, ports and time.
        candidate: the candidate's p-value.
        champion: the champion's.
        by_candidate: whether it is the candidate that flags it.
    """

    where: Mapping[str, str]
    candidate: float
    champion: float
    by_candidate: bool


@dataclass
class Differences:
    """Where two models differ.

    Attributes:
        counts: ``file``, ``host`` or ``day`` -> its name -> how many records the candidate alone flags, and the
            champion alone.
        first: the first records, in the order in which they are added.
        addresses: how hosts are named.
    """

    counts: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    first: list[Difference] = field(default_factory=list)
    addresses: Addresses = "whole"

    def add(self, source: str, records: pa.Table, candidate: Prediction, champion: Prediction, threshold: str) -> None:
        """Look at n more records of a file, and at what the two models say of them."""
        ours, theirs = (each.flagged[threshold] for each in (candidate, champion))
        rows = np.flatnonzero(ours != theirs)
        differing = records.take(pa.array(rows))
        names = {"file": [source] * len(rows), "host": self._texts(differing, "src_ip"), "day": _days(differing)}
        for by, values in names.items():
            for value, is_ours in zip(values, ours[rows].tolist(), strict=False):
                self.counts.setdefault(by, {}).setdefault(value, [0, 0])[0 if is_ours else 1] += 1
        few = differing.slice(0, FIRST - len(self.first))
        known = {"file": [source] * few.num_rows} | {
            name: found for name in SHOWN if any(found := self._texts(few, name))
        }
        for i, row in enumerate(rows[: few.num_rows].tolist()):
            where = {name: texts[i] for name, texts in known.items()}
            p_values = float(candidate.p_value[row]), float(champion.p_value[row])
            self.first.append(Difference(where, *p_values, bool(ours[row])))

    def _texts(self, records: pa.Table, name: str) -> list[str]:
        found = _texts(records, name)
        return texts(found, self.addresses) if name in ENDS else found

    def most(self, by: str, at_most: int) -> list[tuple[str, int, int]]:
        """The files, hosts or days with most such records: each with those of the candidate and of the champion."""
        ranked = sorted(self.counts.get(by, {}).items(), key=lambda each: (-sum(each[1]), each[0]))
        return [(name, ours, theirs) for name, (ours, theirs) in ranked[:at_most]]

    def figures(self, at_most: int) -> dict[str, Any]:
        """As JSON has it."""
        by = {name: [list(each) for each in self.most(name, at_most)] for name in self.counts}
        return {"most": by, "first": [asdict(each) for each in self.first]}


def _days(records: pa.Table) -> list[str]:
    """(n,) dates, or names of days where no time is known; empty where neither is."""
    if any(times := _texts(records, "timestamp")):
        return [time[:10] for time in times]
    return _texts(records, "day")


def _texts(records: pa.Table, name: str) -> list[str]:
    """(n,) values as they can be shown, "" for none; empty where the records do not have the column."""
    if name not in records.column_names:
        return []
    return ["" if value is None else printable(str(value)) for value in records.column(name).to_pylist()]
