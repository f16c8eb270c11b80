"""Which epoch's weights are kept, when training stops, and how far a plateau has lowered the learning rate.

Each answer depends only on the rows of the history, so a resumed training gives the same one.
"""

from collections.abc import Sequence
from typing import Any

from pipeline.settings.training import FitSettings

Row = dict[str, Any]


def kept(rows: Sequence[Row], settings: FitSettings) -> Row | None:
    """The row of the epoch whose weights are kept; None if every epoch was undone."""
    left = [row for row in rows if not row["undone"]]
    if settings.keep == "last" and left:
        return left[-1]
    return best(rows, settings)


def best(rows: Sequence[Row], settings: FitSettings) -> Row | None:
    """The row of the best epoch, the first of equal ones; None if every epoch was undone.

    An epoch that has trained on a confidence update is better than any that has not, because the validation loss before
    the first update does not show the effect of updates. The confidence of the validation rows never changes. When it
    followed the updates, the chosen epochs were no better on held-out records; see the section on contamination in
    ``benchmarks/README.md``.
    """
    left = [row for row in rows if not row["undone"]]
    contenders = [row for row in left if row["updates"] > 0] or left
    return max(contenders, key=lambda row: _merit(row, settings), default=None)


def stops(rows: Sequence[Row], settings: FitSettings, waiting: bool) -> bool:
    """Whether training ends before its last epoch.

    Args:
        rows: of the epochs that are done.
        settings: of the training.
        waiting: whether the first epoch that trains on a confidence update is still to come; nothing ends before it.
    """
    if waiting or not rows:
        return False
    if settings.schedule == "plateau" and learning_rate(rows, settings) < settings.least_learning_rate:
        return True
    return 0 < settings.patience <= _epochs_since_the_best(rows, settings)


def learning_rate(rows: Sequence[Row], settings: FitSettings) -> float:
    """The learning rate of the epoch after ``rows`` under the schedule ``plateau``.

    It is halved each time ``plateau_patience`` epochs in a row do not reach a new lowest loss. An epoch that was undone
    does not count, because its weights are gone.
    """
    rate, lowest, waited = settings.learning_rate, float("inf"), 0
    for row in (row for row in rows if not row["undone"]):
        loss = row[settings.plateau_of]
        lowest, waited = (loss, 0) if loss < lowest else (lowest, waited + 1)
        if waited == settings.plateau_patience:
            rate, waited = rate / 2, 0
    return rate


def _merit(row: Row, settings: FitSettings) -> float:
    value: float = row[settings.select]
    return -value if settings.select == "val_loss" else value


def _epochs_since_the_best(rows: Sequence[Row], settings: FitSettings) -> int:
    found = best(rows, settings)
    return sum(row["epoch"] > found["epoch"] and not row["undone"] for row in rows) if found else 0
