"""What people have said so far: ``data/labels.jsonl``, followed as it grows, whoever writes it."""

import threading
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.artifacts import labels, paths
from pipeline.artifacts.labels import Label


@dataclass(frozen=True)
class Said:
    """All labels at one moment; ``history`` is the whole log without raw columns, the oldest first."""

    history: tuple[Label, ...]

    @cached_property
    def standing(self) -> frozenset[int]:
        """The places in ``history`` of the labels that nobody took back."""
        there = {id(label) for label in labels.standing(self.history)}
        return frozenset(place for place, label in enumerate(self.history) if id(label) in there)

    @cached_property
    def own_last(self) -> frozenset[int]:
        """The places of those that are the last of their person on their record: what one can take back."""
        found = {(self.history[place].record_id, self.history[place].by): place for place in sorted(self.standing)}
        return frozenset(found.values())

    @cached_property
    def last(self) -> dict[int, Label]:
        """Record id -> its last label that stands."""
        return labels.last(self.history)

    @cached_property
    def ids(self) -> NDArray[np.uint64]:
        """(m,) the records that have one, ascending."""
        return np.array(sorted(self.last), dtype=np.uint64)

    @cached_property
    def verdicts(self) -> list[str]:
        """(m,) what it says of each: ``confirmed``, ``dismissed`` or ``unsure``."""
        return [self.last[number].verdict for number in self.ids.tolist()]


class Marks:
    """The newest state of the log. Only what was added since is read again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read: tuple[int, int] = (0, 0)  # inode of the log, and how many bytes of it were read
        self._state = Said(())

    def now(self) -> Said:
        """What the log holds.

        Raises:
            ArtifactError: a line of it is no label.
        """
        with self._lock:
            if not paths.LABELS.exists():
                self._read, self._state = (0, 0), Said(())
                return self._state
            with paths.LABELS.open("rb") as log:
                self._follow(*labels.tail(log, *self._read))
            return self._state

    def _follow(self, new: list[Label], read: tuple[int, int], again: bool) -> None:
        """Add what was read; ``again`` where the log is another one than before."""
        if new or again:
            before = () if again else self._state.history
            self._state = Said((*before, *(replace(label, columns={}) for label in new)))
        self._read = read
