"""The operations by name, and the other classes of faults with the operations that each is injected into."""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from benchmarks.injected import alerts, keeping, limits, mounts, promotions, races, stages, together
from benchmarks.injected.bench import Bench, Trial
from benchmarks.injected.operations import Operation

_ALL: Final = (*stages.OPERATIONS, *alerts.OPERATIONS, *promotions.OPERATIONS, *keeping.OPERATIONS)
NAMES: Final = [each.name for each in _ALL]
MOST: Final = ("preprocess", "score", "alerts-deliver", "labels", "promote", "outbox-keep", "keys-retire")
FEW: Final = ("score", "alerts-deliver", "labels", "promote")


class Faults(NamedTuple):
    """A class of faults.

    Attributes:
        inject: gives the trials of an operation.
        operations: that it is injected into.
        most: trials of each operation, where they are not a list.
        missing: why it cannot be tried here; "" where it can.
    """

    inject: Callable[[Bench, int, int], Iterator[Trial]]
    operations: tuple[Operation, ...]
    most: int = 0
    missing: Callable[[], str] = lambda: ""


def operation(name: str) -> Operation:
    """The operation that has a name."""
    return next(each for each in _ALL if each.name == name)


def _some(names: tuple[str, ...]) -> tuple[Operation, ...]:
    return tuple(map(operation, names))


CLASSES: Final[dict[str, Faults]] = {
    "full disk": Faults(mounts.full, _some(MOST), 10, mounts.missing),
    "read-only folder": Faults(mounts.read_only, _some(MOST), 6, mounts.missing),
    "power cut": Faults(mounts.cut, _some(MOST), 8, mounts.missing),
    "vanishing folder": Faults(races.vanishing, _some(MOST), 6),
    "clock": Faults(limits.clocks, _some(FEW)),
    "file descriptors": Faults(limits.descriptors, _some(FEW)),
    "address space": Faults(limits.memory, _some((*FEW, "stage2"))),
    "locked database": Faults(races.writers, together.WRITING, 6),
    "two at once": Faults(races.meeting, together.MEETING, 6),
}
