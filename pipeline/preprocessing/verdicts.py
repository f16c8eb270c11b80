"""Records that an analyst has labelled: they are learnt, and never tested on.

The splits are drawn without the labels of analysts, so that such a label moves no other record. Then each labelled
record goes to ``train``. One that the draw has put into a test split stays there with the label of its file: what is
tested on may not teach. Test records that are copies of a labelled one leave the tests, unless copies are to be kept.

An analyst is believed more than a file: a copy that its file calls otherwise has confidence 0. Where labelled records
are copies of each other and one is confirmed, another dismissed, nobody knows better: all of them have confidence 0.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.preprocessing import splits
from pipeline.preprocessing.assignment import Identities, Rows

TRAIN, FITTED, TESTS = (
    splits.SPLITS.index("train"),
    [splits.SPLITS.index(name) for name in ("train", "val", "calibration")],
    [splits.SPLITS.index(name) for name in ("test_seen", "test_unseen")],
)


@dataclass(frozen=True)
class Learnt:
    """What became of the labels of analysts.

    Attributes:
        confirmed: attack -> confirmed records that are learnt.
        dismissed: records that are learnt as benign.
        passed_over: labelled records that stand in a test split, or in none.
        left_out: test records that left the tests, because they are copies of a labelled one.
        disputed: other records of train, val and calibration that are copies of a labelled one with another label.
        contradicting: labelled records, of which a labelled copy is confirmed where they are dismissed, or the reverse.
    """

    confirmed: Mapping[str, int]
    dismissed: int
    passed_over: int
    left_out: int
    disputed: int
    contradicting: int

    def sentences(self, unseen: Collection[str]) -> list[str]:
        """What to tell; ``unseen`` names the attacks that models may not learn from files."""
        told = [f"{n:,} {name}{' (unseen: the rest of it stays so)' * (name in unseen)}" for name, n in self._sorted()]
        lines = [f"labels of analysts: confirmed {', '.join(told) or 'none'}; dismissed {self.dismissed:,}"]
        if self.passed_over:
            lines.append(f"{self.passed_over:,} labels are passed over: their records are tested on, or left out")
        if self.left_out:
            lines.append(f"{self.left_out:,} test records are left out: they are copies of labelled ones")
        if self.disputed:
            lines.append(f"{self.disputed:,} records are copies of labelled ones, but their files say otherwise")
        if self.contradicting:
            lines.append(
                f"{self.contradicting:,} labelled records are copies of each other, but one is confirmed and one "
                "dismissed: their labels are not trusted"
            )
        return lines

    def _sorted(self) -> list[tuple[str, int]]:
        return sorted(self.confirmed.items())


def learn(
    rows: Rows, records: Identities, appended: Identities, said: Mapping[int, str], keep_copies: bool
) -> tuple[Rows, Learnt | None]:
    """The rows with those that analysts have labelled among the training rows, and what became of the labels, if any.

    Args:
        rows: n records of the data set, with their splits.
        records: the same.
        appended: records that are known by their label alone; they come last.
        said: record id -> attack, ``benign`` where the alert was dismissed.
        keep_copies: whether copies of labelled records may stay in the tests.
    """
    if not said:
        return rows, None
    content = np.concatenate([records.content, appended.content])
    joined = _joined(rows, appended)
    named = np.isin(joined.record_id, np.array([*said], dtype=np.uint64))
    learnt = named & (np.isin(joined.split, FITTED) | (np.arange(len(content)) >= len(rows.split)))
    attack = joined.attack.copy()
    attack[learnt] = [said[int(number)] for number in joined.record_id[learnt]]
    y = np.where(learnt, attack != "benign", joined.y).astype(np.int8)
    copies = np.isin(content, content[learnt]) & ~learnt
    leaving = copies & np.isin(joined.split, TESTS) & (not keep_copies)
    disputed = copies & np.isin(joined.split, FITTED) & splits.disagreeing(content, y)
    contradicting = _contradicting(content, y, learnt)
    sure = np.where(learnt, np.where(y == 1, -1, 1), joined.confidence)
    taught = replace(
        joined,
        y=y,
        attack=attack,
        confidence=np.where(disputed | contradicting, 0, sure).astype(np.float32),
        balanced=joined.balanced | learnt,
        split=np.select([learnt, leaving], [TRAIN, splits.LEFT_OUT], joined.split).astype(np.int8),
        hidden=joined.hidden & ~learnt,
    )
    names, counts = np.unique(attack[learnt & (y == 1)].astype(str), return_counts=True)
    confirmed = dict(zip(names.tolist(), counts.tolist(), strict=True))
    dismissed, passed_over = int((learnt & (y == 0)).sum()), int((named & ~learnt).sum())
    counted = (int(mask.sum()) for mask in (leaving, disputed, contradicting))
    return taught, Learnt(confirmed, dismissed, passed_over, *counted)


def _contradicting(content: NDArray[np.uint64], y: NDArray[np.int8], learnt: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n,) which of the learnt records have a learnt copy with the other label."""
    mask = learnt.copy()
    mask[learnt] = splits.disagreeing(content[learnt], y[learnt])
    return mask


def _joined(rows: Rows, appended: Identities) -> Rows:
    n = len(appended.record_id)
    new = Rows(
        appended.record_id,
        y=np.zeros(n, np.int8),
        attack=appended.attack,
        confidence=np.zeros(n, np.float32),
        balanced=np.zeros(n, dtype=bool),
        split=np.full(n, splits.LEFT_OUT, dtype=np.int8),
        hidden=np.zeros(n, dtype=bool),
    )
    return Rows(*(np.concatenate([getattr(part, each.name) for part in (rows, new)]) for each in fields(Rows)))
