"""Figure of the drift check: what has changed, and since when."""

import math
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from pipeline.reporting.figures import style
from pipeline.reporting.figures.style import ANOMALOUS, BENIGN, INK, MUTED, SMALL, UNKNOWN

MOST_BARS = 14
STRETCHES = 200  # of the martingale; each is drawn by two points, as the figure is part of a page in a database
PLATE = {"boxstyle": "square,pad=0.1", "facecolor": style.PAPER, "linewidth": 0}


def drift(
    distances: Mapping[str, float],
    changed: Mapping[str, bool],
    path: ArrayLike,
    alpha: float = 0.01,
    small: float = 0.05,
    large: float = 0.2,
    subtitle: str = "",
) -> Figure:
    """Distances between calibration and recent records, the largest on top, and the capital of the test martingale.

    Args:
        distances: score or feature -> KS distance in [0, 1]; the first is always shown.
        changed: the same names -> whether the change is significant.
        path: (m,) natural log of the capital after each record that looks benign.
        alpha: false alarm rate; the martingale alarms at 1 / alpha.
        small: distance of the score from which on thresholds are set anew.
        large: distance from which on the models are trained anew.
        subtitle: where the data come from.
    """
    log = np.asarray(path, dtype=np.float64) / math.log(10)
    alarm = -math.log10(alpha)
    reached = np.flatnonzero(log >= alarm)
    first = f"alarms at record {reached[0] + 1:,}" if reached.size else "raises no alarm"
    moved = sum(changed.values())
    title = f"Changed: {moved} of {len(distances)} scores and features"
    caption = (
        f"Left: Kolmogorov-Smirnov distance; dark bars are significant at {alpha:g} after Holm's correction. Right: "
        f"capital of a test martingale over {log.size:,} records that look benign; by chance it reaches the dashed "
        f"line with a probability of {style.percent(alpha)} at most."
    )
    names = _shown(distances)
    size = (11.0, 1.9 + 0.26 * max(len(names), 9))
    figure, (left, right) = style.canvas(size, f"{title}; the martingale {first}", subtitle, caption, (1.15, 1.0))
    _draw_distances(left, {name: distances[name] for name in names}, changed, small, large)
    _draw_capital(right, log, alarm)
    return figure


def _draw_distances(
    ax: Axes, distances: Mapping[str, float], changed: Mapping[str, bool], small: float, large: float
) -> None:
    style.label(ax, "KS distance to calibration")
    if not distances:
        style.nothing(ax, "nothing to compare")
        return
    at, values = style.rows(ax, list(distances)), list(distances.values())
    tones = [ANOMALOUS if v >= large else UNKNOWN if v >= small else BENIGN for v in values]
    shades = [style.tint(t, 0.85 if changed[n] else 0.3) for t, n in zip(tones, distances, strict=True)]
    ax.barh(at, values, height=0.62, color=shades)
    for height, value in zip(at, values, strict=True):
        ax.text(value + 0.008, height, f"{value:.3f}", fontsize=SMALL, color=INK, va="center", bbox=PLATE)
    ax.set_xlim(0, min(1.12, 1.2 * max([*values, 1.2 * large])))
    for edge, name in ((small, "small"), (large, "large")):
        ax.axvline(edge, color=INK, linewidth=0.9, linestyle=(0, (3, 3)))
        above = ax.get_xaxis_transform()
        ax.text(edge, 1.005, name, fontsize=SMALL, color=MUTED, ha="center", va="bottom", transform=above)


def _draw_capital(ax: Axes, log: NDArray[np.float64], alarm: float) -> None:
    style.label(ax, "recent records, oldest first", "log10 of the capital", head="Martingale")
    if not log.size:
        style.nothing(ax, "no records look benign")
        return
    at = _extremes(log)
    ax.plot(at + 1, log[at], color=BENIGN, linewidth=1.8)
    ax.axhline(alarm, color=ANOMALOUS, linewidth=1.2, linestyle=(0, (4, 3)))
    ax.set_xlim(1, max(log.size, 2))
    ax.set_ylim(min(log.min(), -1.0) * 1.1, max(log.max(), alarm) * 1.15)


def _extremes(values: NDArray[np.float64]) -> NDArray[np.intp]:
    """The places of the lowest and the highest value of each stretch, and both ends: all that a line can show."""
    stretches = np.array_split(np.arange(values.size), min(STRETCHES, values.size))
    ends = [0, values.size - 1]
    return np.unique([*ends, *(at[pick(values[at])] for at in stretches for pick in (np.argmin, np.argmax))])


def _shown(distances: Mapping[str, float]) -> list[str]:
    first, *others = distances or [""]
    others.sort(key=lambda name: -distances[name])
    return [first, *others][:MOST_BARS] if distances else []
