"""Times, lengths of time, shares and raw values, as the pages write them."""

from datetime import UTC, datetime
from typing import Any

from flows.triage.index import NO_TIME
from pipeline.serving.counts import counted


def moment(when: datetime | int | None, seconds: bool = True) -> str:
    """A time in UTC for people; "" for none. A number counts microseconds since 1970."""
    if when is None or when == NO_TIME:
        return ""
    if not isinstance(when, datetime):
        when = datetime.fromtimestamp(when / 1e6, UTC)
    return when.strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def since(first: datetime, last: datetime) -> str:
    """When something began that lasted until ``last``: without the date where that is the same."""
    return f"{first:%H:%M}" if first.date() == last.date() else f"{first:%Y-%m-%d %H:%M}"


def span(seconds: float) -> str:
    """A length of time for people."""
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            return counted(round(seconds / size), word)
    return f"{seconds:g} second{'s' * (seconds != 1)}"


def raw(value: Any) -> str:
    """A value of a raw column for people; "" for none."""
    if isinstance(value, float):
        return f"{value:,.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.6g}"
    return "" if value is None else str(value)


def few(value: float) -> str:
    """A small number of incidents; whatever is too small to matter is one in a million at most."""
    return f"at most {value:.2g}" if value >= 1e-6 else "less than 0.000001"


def share(value: float | None) -> str:
    """A share in percent; a dash for none."""
    return "–" if value is None else f"{100 * value:.3g} %"
