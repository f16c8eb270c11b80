"""Figure of a confidence update: the distribution of the scores, and the thresholds that cut it."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import ArrayLike, NDArray

from pipeline.calibration.thresholds.base import VERDICTS, Analysis, Thresholds
from pipeline.reporting.figures import style
from pipeline.reporting.figures.models import bands, group_names, name_bands, stairs
from pipeline.reporting.figures.style import INK, MUTED


def confidence_analysis(
    scores: ArrayLike,
    groups: ArrayLike,
    thresholds: Thresholds,
    analysis: Analysis,
    *,
    title: str = "",
    subtitle: str = "",
) -> Figure:
    """The histogram from which a strategy read its thresholds, with the tail that it fitted.

    Args:
        scores: (n,), higher = more anomalous.
        groups: (n,) labels (0 benign, 1 attack) or names such as ``benign``, ``attack``; one name for all where the
            truth is not known.
        thresholds: where benign ends and anomalous begins.
        analysis: the histogram and the tail that the strategy read from these scores.
        title: in place of the shares of the verdicts.
        subtitle: where the data come from.
    """
    values, names = np.asarray(scores, dtype=np.float64), group_names(groups)
    order = sorted(set(names), key=lambda group: (group != "benign", group))
    edges = _wide(analysis.edges)
    caption = _caption(values, names, order, edges, tail=len(analysis.tail) > 0)
    figure, (ax,) = style.canvas((8.5, 4.4), title or _shares(values, thresholds), subtitle, caption)
    if not values.size:
        style.nothing(ax, "no records")
        return figure
    shown = np.clip(values, edges[0], edges[-1])
    if len(order) > 1:
        ax.stairs(np.histogram(shown, edges)[0] / values.size, edges, color=MUTED, linewidth=0.9, label="all")
    for position, group in enumerate(order):
        share = np.histogram(shown[names == group], edges)[0] / values.size
        stairs(ax, share, edges, style.colour_of(group, position), group)
    ax.set_ylim(0, 1.15 * ax.get_ylim()[1])
    _draw_tail(ax, analysis, float(edges[1] - edges[0]))
    ax.set_xlim(*_limits(edges, thresholds))
    ax.set_yscale("function", functions=(lambda v: np.sqrt(np.maximum(v, 0)), np.square))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: style.percent(value)))
    bands(ax, thresholds)
    style.label(ax, "score", "share of all records")
    style.key(ax, loc="upper right")
    name_bands(ax, thresholds)
    return figure


def _shares(values: NDArray[np.float64], thresholds: Thresholds) -> str:
    if not values.size:
        return "There are no scores to judge"
    verdict = thresholds.verdict(values)
    return ", ".join(f"{style.percent(float((verdict == name).mean()))} {name}" for name in VERDICTS)


def _caption(
    values: NDArray[np.float64], names: NDArray[np.str_], order: list[str], edges: NDArray[np.float64], tail: bool
) -> str:
    sizes = ", ".join(f"{group} n = {int((names == group).sum()):,}" for group in order) or "No records"
    beyond = int(((values < edges[0]) | (values > edges[-1])).sum())
    parts = [f"{sizes}. {style.several(edges.size - 1, 'bin')} that sum to 100 %, on a square-root axis."]
    if tail:
        parts.append("Line: the fitted tail.")
    if beyond:
        parts.append(f"{style.several(beyond, 'score')} beyond the ends are counted in the end bins.")
    return " ".join(parts)


def _wide(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """The edges; the one bin of a constant score gets a width that can be seen."""
    if edges[0] < edges[-1]:
        return edges
    return edges + np.linspace(-1, 1, edges.size) * max(1.0, abs(float(edges[0]))) * 0.05


def _draw_tail(ax: Axes, analysis: Analysis, width: float) -> None:
    if len(analysis.tail):
        at, density = analysis.tail.T
        ax.plot(at, density * width, color=INK, linewidth=1.6, linestyle=(0, (4, 2)), label="fitted tail")


def _limits(edges: NDArray[np.float64], thresholds: Thresholds) -> tuple[float, float]:
    """Limits of the axis: they hold the histogram, and a threshold outside it that leaves it half of the axis."""
    first, last = float(edges[0]), float(edges[-1])
    span = last - first
    near = [cut for cut in (thresholds.low, thresholds.high) if first - span / 2 <= cut <= last + span / 2]
    return min(first, *near, last) - 0.02 * span, max(last, *near, first) + 0.02 * span
