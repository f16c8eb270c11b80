"""How many alarms a model raises on traffic without labels: in all, over time, by host, beside what was promised."""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.calibration.thresholds.conformal import interval
from pipeline.evaluation import metrics
from pipeline.evaluation.sections import LEVEL, Asked

Mask = NDArray[np.bool_]

WINDOWS: Final = 10  # of equal numbers of records, in the order of time
MOST_HOSTS: Final = 10
DAY: Final = 86_400_000_000  # microseconds


def alarms(
    flagged: Mapping[str, Mask], asked: Asked, time: NDArray[np.int64] | None, host: NDArray[np.object_] | None
) -> dict[str, Any]:
    """The alarms of each threshold.

    Args:
        flagged: threshold -> (n,) mask of the records that it flags.
        asked: what the thresholds promise.
        time: (n,) microseconds; None where it is not known.
        host: (n,) address of the side that began, None where it is not known.

    Returns:
        ``n``, ``days`` (how long the records took), and for each threshold the alarms, their share with its interval,
        alarms per day, the share in each window of time, in how many windows it lies outside what was promised, and the
        hosts with most alarms.
    """
    n = len(next(iter(flagged.values())))
    days = float(time.max() - time.min()) / DAY if time is not None and n else None
    return {
        "n": n,
        "days": days,
        "from": None if time is None or not n else _day(time.min()),
        "to": None if time is None or not n else _day(time.max()),
        "thresholds": {name: _at(mask, asked.nominal.get(name), asked, time, host) for name, mask in flagged.items()},
    }


def _at(
    mask: Mask,
    nominal: float | None,
    asked: Asked,
    time: NDArray[np.int64] | None,
    host: NDArray[np.object_] | None,
) -> dict[str, Any]:
    n, found = len(mask), int(mask.sum())
    low, high = metrics.wilson(found, n) if n else (None, None)
    days = float(time.max() - time.min()) / DAY if time is not None and n else 0.0
    windows = [] if time is None or n < WINDOWS else _windows(mask, time)
    return {
        "alarms": found,
        "share": found / n if n else None,
        "low": low,
        "high": high,
        "promised": nominal,
        "per_day": found / days if days > 0 else None,
        "windows": windows,
        "windows_outside": _outside(windows, nominal, asked) if nominal is not None and windows else None,
        "hosts": {} if host is None else _hosts(mask, host),
    }


def _windows(mask: Mask, time: NDArray[np.int64]) -> list[dict[str, Any]]:
    """The share of alarms in windows of equal numbers of records."""
    order = np.argsort(time, kind="stable")
    return [
        {"from": _day(time[rows[0]]), "n": len(rows), "alarms": int(mask[rows].sum())}
        for rows in np.array_split(order, WINDOWS)
    ]


def _outside(windows: list[dict[str, Any]], nominal: float, asked: Asked) -> int:
    """In how many windows the share lies outside what chance allows at the rate that was promised."""
    count = 0
    for window in windows:
        low, high = interval(asked.n_calibration, nominal, LEVEL, tested=window["n"])
        count += not low <= window["alarms"] / window["n"] <= high
    return count


def _hosts(mask: Mask, host: NDArray[np.object_]) -> dict[str, int]:
    """The hosts with most alarms, and how many."""
    known = np.array([name or "" for name in host[mask]], dtype=str)
    names, counts = np.unique(known[known != ""], return_counts=True)
    order = np.argsort(-counts, kind="stable")[:MOST_HOSTS]
    return {str(names[place]): int(counts[place]) for place in order}


def _day(time: np.int64) -> str:
    return str(np.datetime64(int(time), "us").astype("datetime64[s]"))
