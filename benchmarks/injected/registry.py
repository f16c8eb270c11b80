"""The operations by name."""

from typing import Final

from benchmarks.injected import alerts, keeping, promotions, stages
from benchmarks.injected.operations import Operation

_ALL: Final = (*stages.OPERATIONS, *alerts.OPERATIONS, *promotions.OPERATIONS, *keeping.OPERATIONS)
NAMES: Final = [each.name for each in _ALL]


def operation(name: str) -> Operation:
    """The operation that has a name."""
    return next(each for each in _ALL if each.name == name)
