"""What of a capture became no record, and why: counted, and listed as far as the list is bounded."""

from collections import Counter

import numpy as np
import pyarrow as pa

from pipeline.datasets.base import PASSED_OVER, REJECTED_SCHEMA
from pipeline.datasets.packets.decode import Decoded
from pipeline.datasets.packets.frames import Frames
from pipeline.datasets.packets.reasons import LATER_FRAGMENT, NO_IP, OK, PASSED, SENTENCES, carried

MOST = 10_000  # faulty frames of a file that are listed one by one
_SHOWN = 64  # bytes of such a frame


class Rejects:
    """Of one file. ``row`` is the number of a frame.

    Args:
        source: name of the file.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.frames = 0
        self._faulty: list[tuple[int, str, str]] = []
        self._more = 0
        self._passed: Counter[str] = Counter()
        self._first: dict[str, int] = {}

    def add(self, frames: Frames, decoded: Decoded) -> None:
        """Count the frames that hold no packet."""
        self.frames += len(frames)
        if (decoded.reason == OK).all():
            return
        for reason in PASSED:
            mine = decoded.reason == reason
            kinds = decoded.ether[mine] if reason == NO_IP else np.full(mine.sum(), LATER_FRAGMENT)
            for kind, first, times in zip(*np.unique(kinds, return_index=True, return_counts=True), strict=True):
                what = f"carries no IP ({carried(int(kind))})" if reason == NO_IP else SENTENCES[reason]
                self._pass_over(what, int(frames.number[mine][first]), int(times))
        faulty = np.flatnonzero((decoded.reason != OK) & ~np.isin(decoded.reason, PASSED))
        room = MOST - len(self._faulty)
        self._more += max(len(faulty) - room, 0)
        for row in faulty[:room].tolist():
            start = frames.start[row]
            shown = frames.data[start : start + min(frames.captured[row], _SHOWN)].tobytes().hex()
            self._faulty.append((int(frames.number[row]), SENTENCES[int(decoded.reason[row])], shown))

    def note(self, sentence: str) -> None:
        """List what is to be known of the file, though nothing was lost."""
        self._passed[sentence] = 1
        self._first[sentence] = self.frames

    def refuse(self, sentence: str) -> None:
        """List what was lost of the file."""
        self._faulty.append((self.frames, sentence, ""))

    def table(self) -> pa.Table:
        """All lines, in the schema of ``REJECTED_SCHEMA``."""
        lines = [(number, reason, text) for number, reason, text in self._faulty]
        if self._more:
            lines.append((self.frames, f"{self._more:,} more faulty frames are not listed", ""))
        for sentence, times in self._passed.items():
            counted = f"{times:,} frames: {sentence}" if times > 1 else sentence
            lines.append((self._first[sentence], f"{PASSED_OVER}{counted}", ""))
        rows = [
            {"source_file": self.source, "row": row, "column": "frame", "reason": reason, "text": text}
            for row, reason, text in lines
        ]
        return pa.Table.from_pylist(rows, REJECTED_SCHEMA)

    def _pass_over(self, what: str, number: int, times: int) -> None:
        self._passed[what] += times
        self._first[what] = min(self._first.get(what, number), number)
