"""What of a capture became no record, and why: counted, and listed as far as the list is bounded."""

from collections import Counter

import numpy as np
import pyarrow as pa

from pipeline.datasets.base import PASSED_OVER, REJECTED_SCHEMA
from pipeline.datasets.packets.decode import Decoded
from pipeline.datasets.packets.frames import Frames
from pipeline.datasets.packets.reasons import (
    ETHER,
    FIRST_NUMBER,
    LATER_FRAGMENT,
    MOST_KINDS,
    NO_IP,
    OK,
    OTHERS,
    PASSED,
    SENTENCES,
    carried,
)

MOST = 10_000  # faulty frames of a file that are listed one by one
_SHOWN = 64  # bytes of such a frame
_FRAGMENT = -3  # in the place of an Ethernet number


class Rejects:
    """Of one file. ``row`` is the number of a frame.

    Args:
        source: name of the file.

    Attributes:
        reasons: why frames hold no packet -> how many frames; and what is to be known of the file, once each.
    """

    def __init__(self, source: str) -> None:
        self.source, self.reasons = source, Counter[str]()
        self.frames = 0
        self._faulty: list[tuple[int, str, str]] = []
        self._more = 0
        self._passed: dict[str, tuple[int, int]] = {}  # what -> the first frame, and how many
        self._nameless: set[int] = set()  # Ethernet numbers without a name
        self._notes: list[tuple[int, str]] = []

    def add(self, frames: Frames, decoded: Decoded) -> None:
        """Count the frames that hold no packet."""
        self.frames += len(frames)
        if (decoded.reason == OK).all():
            return
        passed = np.isin(decoded.reason, PASSED)
        rows = np.flatnonzero(passed)
        kinds = np.where(decoded.reason[rows] == NO_IP, decoded.ether[rows], _FRAGMENT)
        unique, first, times = np.unique(kinds, return_index=True, return_counts=True)
        for place in np.argsort(first).tolist():
            number = int(frames.number[rows[first[place]]])
            self._pass_over(self._what(int(unique[place])), number, int(times[place]))
        faulty = np.flatnonzero((decoded.reason != OK) & ~passed)
        self.reasons.update(SENTENCES[reason] for reason in decoded.reason[faulty].tolist())
        room = MOST - len(self._faulty)
        self._more += max(len(faulty) - room, 0)
        for row in faulty[:room].tolist():
            start = frames.start[row]
            shown = frames.data[start : start + min(frames.captured[row], _SHOWN)].tobytes().hex()
            self._faulty.append((int(frames.number[row]), SENTENCES[int(decoded.reason[row])], shown))

    def note(self, sentence: str) -> None:
        """List what is to be known of the file, though nothing was lost."""
        self.reasons[sentence] += 1
        self._notes.append((self.frames, sentence))

    def refuse(self, sentence: str) -> None:
        """List what was lost of the file."""
        self.reasons[sentence] += 1
        self._faulty.append((self.frames, sentence, ""))

    def remarks(self) -> tuple[str, ...]:
        """Sentences on what is no record though nothing is wrong with it, notes first, then the most frequent."""
        notes = (f"{sentence[:1].upper()}{sentence[1:]}." for _, sentence in self._notes)
        passed = sorted(self._passed.items(), key=lambda item: -item[1][1])
        return (*notes, *(f"Passed over: {_counted(times, what)}." for what, (_, times) in passed))

    def table(self) -> pa.Table:
        """All lines, in the schema of ``REJECTED_SCHEMA``."""
        lines = [(number, reason, text) for number, reason, text in self._faulty]
        if self._more:
            lines.append((self.frames, f"{self._more:,} more faulty frames are not listed", ""))
        lines += [(row, f"{PASSED_OVER}{_counted(times, what)}", "") for what, (row, times) in self._passed.items()]
        lines += [(row, f"{PASSED_OVER}{sentence}", "") for row, sentence in self._notes]
        rows = [
            {"source_file": self.source, "row": row, "column": "frame", "reason": reason, "text": text}
            for row, reason, text in lines
        ]
        return pa.Table.from_pylist(rows, REJECTED_SCHEMA)

    def _what(self, kind: int) -> str:
        """What is passed over: a later fragment, or a frame by what it carries."""
        if kind == _FRAGMENT:
            return SENTENCES[LATER_FRAGMENT]
        nameless = kind >= FIRST_NUMBER and kind not in ETHER
        if nameless and kind not in self._nameless and len(self._nameless) == MOST_KINDS:
            return f"{SENTENCES[NO_IP]} ({OTHERS})"
        self._nameless |= {kind} if nameless else set()
        return f"{SENTENCES[NO_IP]} ({carried(kind)})"

    def _pass_over(self, what: str, number: int, times: int) -> None:
        self.reasons[what] += times
        first, before = self._passed.get(what, (number, 0))
        self._passed[what] = (first, before + times)


def _counted(times: int, what: str) -> str:
    return f"{times:,} frames: {what}" if times > 1 else what
