"""Figures of stage1 and stage2: how a model learnt, and how it scores the records."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import ArrayLike, NDArray

from pipeline.base.escaping import in_figure
from pipeline.calibration.thresholds.base import VERDICTS, Thresholds
from pipeline.reporting.figures import style
from pipeline.reporting.figures.style import INK, MUTED, PAPER, SMALL, UNKNOWN

BINS = 91  # odd: a constant score lies within a bin and not on an edge


def loss_curves(
    history: Sequence[Mapping[str, float]], best_epoch: int | None = None, name: str = "Loss", subtitle: str = ""
) -> Figure:
    """Training and validation loss of each epoch.

    Args:
        history: one row an epoch with ``epoch``, ``train_loss`` and, where it was measured, ``val_loss``.
        best_epoch: the epoch whose weights were kept.
        name: of the model or of its loss.
        subtitle: where the data come from.
    """
    title = f"{name} over {style.several(len(history), 'epoch')}"
    if best_epoch is not None:
        title += f"; the weights of epoch {best_epoch} were kept"
    caption = "Mean over each epoch; validation rows are not trained on."
    figure, (ax,) = style.canvas((7.5, 4.2), title, subtitle, caption)
    if not history:
        style.nothing(ax, "no epoch was finished")
        return figure
    lines = {"train_loss": ("training", MUTED, 1.4), "val_loss": ("validation", INK, 2.2)}
    for column, (what, colour, width) in lines.items():
        points = np.array([(row["epoch"], row[column]) for row in history if np.isfinite(row.get(column, np.nan))])
        if points.size:
            ax.plot(*points.T, color=colour, linewidth=width, marker="o", markersize=3, label=what)
    best = {row["epoch"]: row.get("val_loss", row.get("train_loss", np.nan)) for row in history}
    if best_epoch in best and np.isfinite(best[best_epoch]):
        ax.axvline(best_epoch, color=UNKNOWN, linewidth=1.2, zorder=1)
        ax.scatter([best_epoch], [best[best_epoch]], s=64, color=UNKNOWN, edgecolor=PAPER, zorder=4, label="kept")
    epochs = [row["epoch"] for row in history]
    ax.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.margins(y=0.1)
    style.label(ax, "epoch", "loss")
    style.key(ax, loc="upper right")
    return figure


def no_loss(name: str, subtitle: str = "") -> Figure:
    """In place of loss curves: why there are none.

    Args:
        name: of the model.
        subtitle: where the data come from.
    """
    title = f"{name} has no loss curve"
    why = f"{name} is fitted to training records without epochs, so there is no loss that falls from one to the next."
    figure, (ax,) = style.canvas((7.5, 1.5), title, subtitle, why)
    ax.set_axis_off()
    return figure


def score_histogram(
    scores: ArrayLike,
    groups: ArrayLike,
    thresholds: Thresholds | None = None,
    name: str = "score",
    subtitle: str = "",
) -> Figure:
    """The distribution of the scores of each group over the intervals of the verdicts.

    Where a linear axis would hide most records, the axis is linear near the centre and logarithmic in the tails. An
    infinite score is drawn at the edge.

    Args:
        scores: (n,), higher = more anomalous.
        groups: (n,) labels (0 benign, 1 attack) or names such as ``benign``, ``seen``, ``unseen``.
        thresholds: where benign ends and anomalous begins.
        name: of the score.
        subtitle: where the data come from.
    """
    values, names = np.asarray(scores, dtype=np.float64), group_names(groups)
    order = sorted(set(names), key=lambda group: (group != "benign", group))
    title = _spread_title(values, names, thresholds, name)
    sizes = ", ".join(f"{group} n = {int((names == group).sum()):,}" for group in order)
    caption = f"{sizes}. Each group's bars sum to 100 %, on a square-root axis."
    figure, (ax,) = style.canvas((8.5, 4.4), title, subtitle, caption)
    if not np.isfinite(values).any():
        style.nothing(ax, "no finite scores")
        return figure
    benign = values[names == "benign"]
    stretch = style.stretch(values, benign if benign.size else values)
    edges = _edges(values, thresholds, stretch)
    shown = np.clip(values, edges[0], edges[-1])
    for position, group in enumerate(order):
        share = np.histogram(shown[names == group], edges)[0] / max((names == group).sum(), 1)
        stairs(ax, share, edges, style.colour_of(group, position), group)
    ax.set_xlim(edges[0], edges[-1])
    if stretch:
        style.stretched(ax, *stretch)
    ax.set_yscale("function", functions=(lambda v: np.sqrt(np.maximum(v, 0)), np.square))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: style.percent(value)))
    ax.set_ylim(0, min(1.15 * ax.get_ylim()[1], 1.02))
    if thresholds:
        bands(ax, thresholds)
    style.label(ax, name + (", asinh axis" if stretch else ""), "share of the group")
    style.key(ax, loc="upper right")
    if thresholds:
        name_bands(ax, thresholds)
    return figure


def stairs(ax: Axes, share: NDArray[np.float64], edges: NDArray[np.float64], tone: str, label: str) -> None:
    """The histogram of a group: a light area below a line."""
    ax.stairs(share, edges, fill=True, color=tone, alpha=0.28)
    ax.stairs(share, edges, color=tone, linewidth=1.5, label=in_figure(label))


def group_names(groups: ArrayLike) -> NDArray[np.str_]:
    """(n,) names of groups, from labels (0 benign, 1 attack) or names."""
    given = np.asarray(groups)
    return np.where(given == 0, "benign", "attack") if given.dtype.kind in "iubf" else given.astype(str)


def _spread_title(
    scores: NDArray[np.float64], groups: NDArray[np.str_], thresholds: Thresholds | None, name: str
) -> str:
    if not scores.size or thresholds is None:
        return f"{name[:1].upper()}{name[1:]} of {scores.size:,} records"
    alarms = scores > thresholds.high
    parts = [
        f"{style.percent(float(alarms[of].mean()))} of {what}"
        for what, of in (("benign records", groups == "benign"), ("attacks", groups != "benign"))
        if of.any()
    ]
    return f"Called anomalous: {' and '.join(parts)}"


def _edges(
    scores: NDArray[np.float64], thresholds: Thresholds | None, stretch: tuple[float, float] | None
) -> NDArray[np.float64]:
    finite = scores[np.isfinite(scores)]
    marks = [cut for cut in ((thresholds.low, thresholds.high) if thresholds else ()) if np.isfinite(cut)]
    low, high = min(finite.min(), *marks, np.inf), max(finite.max(), *marks, -np.inf)
    air = 0.02 * (high - low) or max(1.0, abs(high)) * 0.05
    if stretch is None:
        return np.linspace(low - air, high + air, BINS + 1)
    forward, backward = style.asinh(*stretch)
    a, b = forward(low), forward(high)
    edges: NDArray[np.float64] = backward(np.linspace(a - 0.02 * (b - a), b + 0.02 * (b - a), BINS + 1))
    return edges


def bands(ax: Axes, thresholds: Thresholds) -> None:
    """Shade the intervals of the verdicts within the limits of the x axis."""
    left, right = ax.get_xlim()
    cuts = [left, *np.clip([thresholds.low, thresholds.high], left, right), right]
    for name, start, end in zip(VERDICTS, cuts[:-1], cuts[1:], strict=True):
        ax.axvspan(start, end, color=style.tint(style.colour_of(name), 0.12), linewidth=0, zorder=0)
    for cut in cuts[1:-1]:
        if left < cut < right:
            ax.axvline(cut, color=INK, linewidth=0.9)


def name_bands(ax: Axes, thresholds: Thresholds) -> None:
    """Name the intervals of the verdicts above the axis, beside its legend."""
    low, high = style.brief(thresholds.low), style.brief(thresholds.high)
    texts = (f"benign ≤ {low}", f"{low} < unknown ≤ {high}", f"{high} < anomalous")
    patches = [
        Patch(color=style.tint(style.colour_of(name), 0.3), label=text)
        for (name, interval), text in zip(thresholds.intervals().items(), texts, strict=True)
        if interval
    ]
    groups = ax.get_legend()
    ax.legend(handles=patches, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, borderaxespad=0.1, frameon=False,
              fontsize=SMALL + 0.5, labelcolor=INK, handlelength=1.2)  # fmt: skip
    if groups:
        ax.add_artist(groups)
