"""Pictures as numbers: where the bars of a timeline and the marks of a reason stand. The templates draw them as SVG."""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.triage.index import NO_TIME
from pipeline.serving.alerts.schema import Reason

WIDTH, HEIGHT = 720, 56
BARS: Final = 72
SCALE: Final = 300  # length of the scale of a reason
STEPS: Final = (1, 5, 15, 60, 300, 900, 3600, 10800, 43200, 86400)  # seconds that a bar may stand for


class Bar(NamedTuple):
    """Of a timeline."""

    x: float
    y: float
    width: float
    height: float
    time: int
    alerts: int


class Timeline(NamedTuple):
    """Alerts by time.

    Attributes:
        bars: one for each stretch of time that has alerts.
        first: of the alerts, in microseconds since 1970.
        last: of them.
        seconds: that a bar stands for.
        most: alerts of the highest bar.
        untimed: alerts without a time.
    """

    bars: list[Bar]
    first: int
    last: int
    seconds: float
    most: int
    untimed: int


def timeline(times: NDArray[np.int64]) -> Timeline | None:
    """The (n,) times of alerts, in microseconds; None where none has a time."""
    known = times[times != NO_TIME]
    if not known.size:
        return None
    first, last = int(known.min()), int(known.max())
    seconds = _step((last - first) / 1e6)
    counts = np.bincount(((known - first) // round(seconds * 1e6)).astype(np.intp))
    most, width = int(counts.max()), WIDTH / max(counts.size, 12)
    bars = [
        _bar(place, int(counts[place]), most, width, first + round(place * seconds * 1e6))
        for place in np.flatnonzero(counts).tolist()
    ]
    return Timeline(bars, first, last, seconds, most, int(times.size - known.size))


def _step(span: float) -> float:
    """Seconds that each bar stands for, so that there are at most ``BARS`` or so."""
    least = span / BARS
    return next((step for step in STEPS if step >= least), math.ceil(least / 86400) * 86400)


def _bar(place: int, alerts: int, most: int, width: float, time: int) -> Bar:
    height = max(2.0, HEIGHT * alerts / most)
    return Bar(round(place * width, 1), round(HEIGHT - height, 1), round(max(1.0, width - 1), 1), height, time, alerts)


class Drawn(NamedTuple):
    """A reason as a picture: the place of the value and of what is usual on a scale of ``SCALE``.

    Attributes:
        reason: what is drawn.
        low: where the usual range begins; None where there is none to draw.
        width: of the usual range.
        value: where the value stands.
        beyond: whether it is outside the usual range.
    """

    reason: Reason
    low: float | None
    width: float
    value: float
    beyond: bool


def drawn(reasons: Sequence[Reason]) -> list[Drawn]:
    """Each reason as a picture."""
    return [_drawn(each) for each in reasons]


def _drawn(reason: Reason) -> Drawn:
    value, low, high = reason.value, reason.low, reason.high
    if value is None or low is None or high is None or not all(map(math.isfinite, (value, low, high))):
        return Drawn(reason, None, 0.0, 0.0, False)
    unit = max(abs(low), abs(high), high - low, 1e-12) / 2
    places = [math.asinh(each / unit) for each in (low, high, value)]  # linear near what is usual, logarithmic far away
    least, most = min(*places, 0.0), max(*places, 0.0)
    stretch = (SCALE - 16) / max(most - least, 1e-9)
    left, right, at = (round(8 + (each - least) * stretch, 1) for each in places)
    return Drawn(reason, left, max(2.0, round(right - left, 1)), at, not low <= value <= high)
