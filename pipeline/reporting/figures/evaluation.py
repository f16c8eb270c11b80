"""Figures of calibrate and evaluate: what a score and a decision are worth."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator, PercentFormatter
from numpy.typing import ArrayLike, NDArray

from pipeline.base.escaping import in_figure
from pipeline.calibration.thresholds.base import VERDICTS
from pipeline.reporting.figures import style
from pipeline.reporting.figures.style import BENIGN, GRID, INK, MUTED, SMALL


class Curve(Protocol):
    """What ``metrics.Curve`` gives: the rates of each distinct threshold."""

    @property
    def recall(self) -> NDArray[np.float64]:
        """(k + 1,) from 0 to 1."""
        ...

    @property
    def fpr(self) -> NDArray[np.float64]:
        """(k + 1,) from 0 to 1."""
        ...

    @property
    def n_attack(self) -> int:
        """How many attacks there are."""
        ...

    @property
    def n_benign(self) -> int:
        """How many benign records there are."""
        ...

    def precision(self, balanced: bool = False) -> NDArray[np.float64]:
        """(k,) precision at each threshold."""
        ...


def roc_pr(curves: Mapping[str, Curve], subtitle: str = "") -> Figure:
    """Recall against the false positive rate (on a logarithmic axis), and precision against recall.

    Args:
        curves: section such as ``seen``, ``unseen`` -> curve; one without attacks or benign records is left out.
        subtitle: where the data come from.
    """
    useful = {name: curve for name, curve in curves.items() if curve.n_attack and curve.n_benign}
    at = {name: float(curve.recall[curve.fpr <= 0.01].max()) for name, curve in useful.items()}
    found = ", ".join(f"{style.percent(recall)} of {name} attacks" for name, recall in at.items())
    title = f"At 1 % false positives: {found} found" if found else "There is no curve to draw"
    sizes = "; ".join(f"{name}: {c.n_attack:,} attacks, {c.n_benign:,} benign" for name, c in useful.items())
    sizes = sizes or "No section has both classes"
    caption = f"{sizes}. Dashed: a score that knows nothing. Precision is at the prevalence of each section."
    figure, (left, right) = style.canvas((10.5, 4.9), title, subtitle, caption, columns=(1.0, 1.0))
    if not useful:
        style.nothing(left, "needs attacks and benign records")
        style.nothing(right, "")
        return figure
    floor = 10.0 ** np.floor(np.log10(0.5 / max(curve.n_benign for curve in useful.values())))
    for position, (name, curve) in enumerate(useful.items()):
        tone, prevalence = style.colour_of(name, position), curve.n_attack / (curve.n_attack + curve.n_benign)
        x, y = _thinned(np.maximum(curve.fpr, floor), curve.recall, logarithmic=True)
        left.plot(x, y, color=tone, linewidth=2, drawstyle="steps-post", label=in_figure(name))
        precision = curve.precision()
        x, y = _thinned(curve.recall, np.append(precision[0], precision), logarithmic=False)
        right.plot(x, y, color=tone, linewidth=2, label=in_figure(name))
        right.axhline(prevalence, color=tone, linewidth=1, linestyle=(0, (3, 3)), alpha=0.7)
    chance = np.geomspace(floor, 1, 60)
    left.plot(chance, chance, color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
    left.axvline(0.01, color=GRID, linewidth=2, zorder=0)
    left.set_xscale("log")
    left.set_xlim(floor, 1)
    left.xaxis.set_minor_locator(NullLocator())
    right.set_xlim(0, 1.005)
    left.xaxis.set_major_formatter(FuncFormatter(lambda value, _: style.percent(value)))
    for ax in (left, right):
        ax.set_ylim(-0.01, 1.02)
        ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    right.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    style.label(left, "false positive rate", "recall", head="ROC")
    style.label(right, "recall", "precision", head="Precision and recall")
    style.key(left, loc="upper left")
    return figure


def recall_per_attack(sections: Mapping[str, Mapping[str, Any]], threshold: str, subtitle: str = "") -> Figure:
    """Recall of each attack at one threshold, with its Wilson interval and n.

    Args:
        sections: section such as ``seen``, ``unseen`` -> its ``recall_by_attack`` of the report.
        threshold: name of the threshold.
        subtitle: where the data come from.
    """
    bars = [
        (section, attack, by["n"], by[threshold])
        for section, by_attack in sections.items()
        for attack, by in sorted(by_attack.items(), key=lambda item: (-(item[1][threshold]["recall"] or 0), item[0]))
        if by["n"]
    ]
    half = sum(1 for *_, rate in bars if rate["recall"] >= 0.5)
    title = f"At {threshold}, at least half the records of {half} of {len(bars)} attacks are found"
    caption = "Whisker: 95 % Wilson interval; n: records of the attack in the test set."
    figure, (ax,) = style.canvas((8.5, 1.5 + 0.29 * max(len(bars), 3)), title, subtitle, caption)
    if not bars:
        style.nothing(ax, "no attacks")
        return figure
    at = style.rows(ax, [attack for _, attack, *_ in bars])
    for position, section in enumerate(sections):
        mine = [i for i, bar in enumerate(bars) if bar[0] == section]
        if mine:
            _draw_bars(ax, at[mine], [bars[i][3] for i in mine], style.colour_of(section, position), section)
            if mine[0] > 0:
                ax.axhline(mine[0] - 0.5, color=GRID, linewidth=1.5)
    for height, (_, _, n, rate) in zip(at, bars, strict=True):
        size = f"n = {n:,}" if n < 1e6 else f"n = {style.count(n)}"
        ax.text(1.04, height, style.percent(rate["recall"]), fontsize=SMALL + 0.5, color=INK, va="center")
        ax.text(1.3, height, size, fontsize=SMALL + 0.5, color=MUTED, va="center", ha="right")
    ax.set_xlim(0, 1.31)
    ax.set_xticks(np.linspace(0, 1, 5))
    ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    style.label(ax, "recall")
    style.key(ax, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4, borderaxespad=0.1)
    return figure


def _draw_bars(
    ax: Axes, at: NDArray[np.float64], rates: Sequence[Mapping[str, float]], tone: str, section: str
) -> None:
    """The recall of each attack of a section as a bar, with a whisker over its interval."""
    ax.barh(at, [rate["recall"] for rate in rates], height=0.62, color=style.tint(tone, 0.75), label=in_figure(section))
    ax.hlines(at, [rate["low"] for rate in rates], [rate["high"] for rate in rates], color=INK, linewidth=1.1)


def confusion(counts: Mapping[str, Mapping[str, int]], subtitle: str = "") -> Figure:
    """Verdicts against the truth; each row sums to 100 %.

    Args:
        counts: truth, such as ``benign`` or an attack -> verdict -> records.
        subtitle: where the data come from.
    """
    n = np.array([[by.get(verdict, 0) for verdict in VERDICTS] for by in counts.values()], dtype=np.float64)
    n = n.reshape(len(counts), 3)
    totals = n.sum(axis=1, keepdims=True)
    share = np.divide(n, totals, out=np.zeros_like(n), where=totals > 0)
    title = f"Verdicts on {int(n.sum()):,} records"
    if "benign" in counts and totals[list(counts).index("benign"), 0]:
        title += f": {style.percent(share[list(counts).index('benign'), 2])} of benign ones raise an alarm"
    caption = "Rows: the truth; columns: the verdict. Tint and percentage are shares of the row."
    figure, (ax,) = style.canvas((7.5, 1.75 + 0.42 * max(len(counts), 2)), title, subtitle, caption)
    if not counts:
        style.nothing(ax, "no records")
        return figure
    style.rows(ax, [f"{name}  (n = {int(total):,})" for name, total in zip(counts, totals[:, 0], strict=True)], 44)
    text = [
        [f"{style.percent(part)}   {style.count(value)}" if total else "–" for part, value in zip(*row, strict=True)]
        for row, total in zip(zip(share, n, strict=True), totals[:, 0], strict=True)
    ]
    style.tiles(ax, 0.06 + 0.84 * share, text, [[style.colour_of(verdict) for verdict in VERDICTS]] * len(counts))
    ax.set_xticks(range(3), VERDICTS)
    return figure


def calibration_curve(
    nominal: ArrayLike, realised: ArrayLike, interval: ArrayLike, n: int = 0, subtitle: str = ""
) -> Figure:
    """Promised against realised false positive rate on benign records that calibration has not seen.

    Args:
        nominal: (k,) promised rates, ascending.
        realised: (k,) realised rates.
        interval: (k, 2) lower and upper bounds of the realised rates.
        n: benign records that they were measured on.
        subtitle: where the data come from.
    """
    x, y = np.asarray(nominal, dtype=np.float64), np.asarray(realised, dtype=np.float64)
    under, over = np.asarray(interval, dtype=np.float64).reshape(-1, 2).T
    kept = np.isfinite(x) & np.isfinite(y) & (x > 0)
    x, y, under, over = x[kept], y[kept], under[kept], over[kept]
    title = "There is no false positive rate to compare"
    if x.size:
        nearest = int(np.abs(np.log(x / 0.01)).argmin())
        title = f"{style.percent(x[nearest])} false positives were promised, {style.percent(y[nearest])} came"
    of = f" of {n:,} benign test records" if n else " of benign test records"
    caption = (
        f"Line: realised share{of} flagged; band: 95 % Wilson interval; dashed: as promised. Both axes logarithmic."
    )
    figure, (ax,) = style.canvas((5.8, 5.4), title, subtitle, caption)
    if not x.size:
        style.nothing(ax, "needs benign test records")
        return figure
    positive = np.concatenate([x, y[y > 0], under[under > 0]])
    floor = 10.0 ** np.floor(np.log10(max(0.9 * positive.min(), 1e-6)))
    ax.plot([floor, 1], [floor, 1], color=MUTED, linewidth=1, linestyle=(0, (3, 3)))
    ax.fill_between(x, np.maximum(under, floor), np.maximum(over, floor), color=style.tint(BENIGN, 0.22), linewidth=0)
    ax.plot(x, np.maximum(y, floor), color=BENIGN, linewidth=2)
    if x.size < 30:
        ax.vlines(x, np.maximum(under, floor), np.maximum(over, floor), color=BENIGN, linewidth=0.9)
        ax.scatter(x, np.maximum(y, floor), s=18, color=BENIGN, zorder=3, clip_on=False)
    _percent_axes(ax, floor)
    style.label(ax, "promised false positive rate", "realised false positive rate")
    return figure


def _percent_axes(ax: Axes, floor: float) -> None:
    ax.set_xscale("log")
    ax.set_yscale("log")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: style.percent(value)))
    ax.set_xlim(floor, 1)
    ax.set_ylim(floor, 1)
    ax.set_aspect("equal")


def _thinned(
    x: NDArray[np.float64], y: NDArray[np.float64], logarithmic: bool, cells: int = 400
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The first and last point of the path in each cell of a fine grid; the eye sees no more."""
    across = np.log10(x) / 6 if logarithmic else x
    cell = np.stack([np.round(across * cells), np.round(y * cells)])
    moved = np.append(True, (np.diff(cell, axis=1) != 0).any(axis=0))
    kept = moved | np.append(moved[1:], True)
    return x[kept], y[kept]
