"""The reasons of an alert, for the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.base.escaping import printable

if TYPE_CHECKING:
    from pipeline.serving.alerts.schema import Reason


def lines(reasons: "Sequence[Reason]") -> str:
    """A line for each reason: how much of the surprise it explains, and what the record has beside what is usual."""
    return "\n".join(f"{100 * each.share:5.0f} %   {printable(each.text)}" for each in reasons)


def likeness(family: str | None, probability: float | None, attack: int | None, name: str | None) -> str:
    """Which known attacks a record is like; "" where the model knows none."""
    if family is None:
        return ""
    said = f"most like {family}" if probability is None else f"most like {family}, probability {_share(probability)}"
    return said if attack is None else f"{said}; nearest known attack {name} {attack:016x}"


def _share(probability: float) -> str:
    """A probability in two digits, which is neither 0 nor 1 by rounding alone."""
    return "over 0.99" if probability > 0.99 else f"{probability:.2g}" if probability >= 0.01 else "below 0.01"
