"""The style of every figure, kept in this module and out of matplotlib's global settings."""

import io
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from numpy.typing import ArrayLike, NDArray

from pipeline.base.escaping import in_figure, lines, printable

# One colour for each meaning. Their lightness differs, so that they stay distinct with a colour vision deficiency.
BENIGN: Final = "#3D6FA8"
UNKNOWN: Final = "#E3A934"
ANOMALOUS: Final = "#C64A33"  # also: attack
UNSEEN: Final = "#64286E"  # an attack without a label in training
INK: Final = "#1F2A35"
MUTED: Final = "#66727F"
GRID: Final = "#E4E8EC"
PAPER: Final = "#FFFFFF"

COLOURS: Final[Mapping[str, str]] = {
    "benign": BENIGN,
    "unknown": UNKNOWN,
    "anomalous": ANOMALOUS,
    "attack": ANOMALOUS,
    "seen": ANOMALOUS,
    "unseen": UNSEEN,
}
SPARE: Final = ("#4C8C6B", "#8A6D3B", "#5B6B8C", "#A0527E")  # for all other names

SMALL, NORMAL, LARGE = 8.0, 9.5, 13.0  # font sizes in points


def canvas(
    size: tuple[float, float],
    title: str,
    subtitle: str = "",
    caption: str = "",
    columns: Sequence[float] = (1.0,),
) -> tuple[Figure, list[Axes]]:
    """A figure with a title above, a caption below and one axis for each column.

    Args:
        size: width and height in inches.
        title: what the figure shows.
        subtitle: where the data come from, such as ``synthetic data``.
        caption: how many records, and what the marks mean.
        columns: relative widths of the axes.
    """
    width, height = size
    heads = _wrapped(title, width, LARGE)
    notes = _wrapped(caption, width, SMALL)
    above = 0.18 + 0.25 * len(heads) + (0.2 if subtitle else 0.0)
    below = 0.08 + 0.16 * len(notes)
    layout = ConstrainedLayoutEngine(
        rect=(0.1 / width, below / height, 1 - 0.25 / width, 1 - (above + below) / height), wspace=0.06
    )
    figure = Figure(figsize=size, layout=layout, facecolor=PAPER)
    text: dict[str, Any] = {"x": 0.14 / width, "ha": "left"}
    figure.text(y=1 - 0.12 / height, s="\n".join(heads), va="top", fontsize=LARGE, weight="bold", color=INK, **text)
    source = in_figure(subtitle)
    figure.text(y=1 - (above - 0.17) / height, s=source, va="baseline", fontsize=NORMAL, color=MUTED, **text)
    figure.text(y=0.09 / height, s="\n".join(notes), va="bottom", fontsize=SMALL, color=MUTED, linespacing=1.3, **text)
    axes = figure.subplots(1, len(columns), squeeze=False, width_ratios=list(columns))
    for ax in axes.flat:
        _dress(ax)
    return figure, list(axes.flat)


def svg(figure: Figure) -> bytes:
    """The figure as an SVG file: the same bytes for the same data.

    The layout is settled first and rounded: its solver differs by 1e-16 from call to call, and identifiers in the file
    are hashes of exact positions.
    """
    layout = figure.get_layout_engine()
    if layout is not None:
        layout.execute(figure)
        figure.set_layout_engine(None)  # not "none": that keeps a place, for which savefig draws everything once more
        for ax in figure.axes:
            ax.set_position(np.round(ax.get_position(original=True).bounds, 6).tolist())
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "flowsculpt", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", dpi=120, metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def label(ax: Axes, x: str = "", y: str = "", head: str = "") -> None:
    """Name the axes, and the panel where there are several."""
    ax.set_xlabel(in_figure(x), fontsize=NORMAL, color=MUTED)
    ax.set_ylabel(in_figure(y), fontsize=NORMAL, color=MUTED)
    ax.set_title(in_figure(head), fontsize=NORMAL, color=INK, loc="left", weight="bold")


def rows(ax: Axes, names: Sequence[str], longest: int = 34) -> NDArray[np.float64]:
    """(k,) heights of one horizontal row for each name, the first on top; the names stand at the left."""
    at = np.arange(len(names), dtype=np.float64)
    ax.set_yticks(at, [in_figure(shorten(printable(name), longest)) for name in names])
    ax.set_ylim(max(len(names), 1) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", labelcolor=INK)
    return at


def key(ax: Axes, **options: Any) -> None:
    """A legend without a frame, of all that has a label."""
    if ax.get_legend_handles_labels()[1]:
        ax.legend(frameon=False, fontsize=SMALL + 0.5, labelcolor=INK, handlelength=1.2, **options)


def nothing(ax: Axes, what: str) -> None:
    """Say that there is nothing to draw."""
    ax.set_axis_off()
    ax.text(0.5, 0.5, in_figure(what), transform=ax.transAxes, ha="center", va="center", fontsize=NORMAL, color=MUTED)


def tiles(
    ax: Axes, share: NDArray[np.float64], text: Sequence[Sequence[str]], colours: Sequence[Sequence[str]]
) -> None:
    """A table of (r, c) tiles, each with its text, and tinted with its own colour by ``share`` in [0, 1]."""
    for (r, c), value in np.ndenumerate(share):
        fill = tint(colours[r][c], float(value))
        ax.add_patch(mpl.patches.Rectangle((c - 0.48, r - 0.46), 0.96, 0.92, facecolor=fill, edgecolor="none"))
        ink = PAPER if _lightness(fill) < 0.55 else INK
        ax.text(c, r, in_figure(text[r][c]), ha="center", va="center", fontsize=SMALL + 0.5, color=ink)
    ax.set_xlim(-0.5, share.shape[1] - 0.5)
    ax.grid(visible=False)
    ax.tick_params(length=0)
    ax.tick_params(axis="x", top=True, labeltop=True, bottom=False, labelbottom=False, labelcolor=INK)
    ax.spines[:].set_visible(False)


def tint(colour: str, strength: float) -> tuple[float, float, float]:
    """The colour over paper: 0 is paper, 1 the colour itself."""
    red, green, blue = (1 - strength * (1 - part) for part in to_rgb(colour))
    return red, green, blue


def colour_of(name: str, position: int = 0) -> str:
    """The colour of a meaning, or a spare one."""
    return COLOURS.get(name, SPARE[position % len(SPARE)])


def count(n: float) -> str:
    """A count as people read it: 842, 12.3k, 2.83M."""
    for limit, unit in ((999_500, "M"), (9_999.5, "k")):
        if n >= limit:
            value = n / (1e6 if unit == "M" else 1e3)
            return f"{value:.3g}{unit}" if value < 999.5 else f"{value:.0f}{unit}"
    return f"{n:,.0f}"


def several(n: int, what: str) -> str:
    """``1 file``, ``8 files``."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def percent(share: float) -> str:
    """A share in percent with two or three significant digits."""
    value = 100 * share
    if 0 < value < 0.001:
        return "<0.001 %"
    return f"{min(value, 99.999):.5g} %" if 99.95 <= value < 100 else f"{value:.3g} %"


def shorten(name: str, longest: int = 34) -> str:
    """The name, without its middle where it is too long to stand beside an axis."""
    half = (longest - 1) // 2
    return name if len(name) <= longest else f"{name[:half]}…{name[-half:]}"


def stretch(values: NDArray[np.float64], core: NDArray[np.float64]) -> tuple[float, float] | None:
    """Centre and unit of an asinh axis, taken from ``core``; None where a linear axis shows ``core`` well enough."""
    finite, core = values[np.isfinite(values)], core[np.isfinite(core)]
    if core.size == 0:
        return None
    left, middle, right = (float(q) for q in np.quantile(core, [0.1, 0.5, 0.9]))
    unit = right - left or float(core.std())
    return (middle, unit) if unit > 0 and np.ptp(finite) > 20 * unit else None


def stretched(ax: Axes, centre: float, unit: float) -> None:
    """Give the x axis an asinh scale around ``centre`` and ticks at round numbers that do not crowd."""
    ax.set_xscale("function", functions=asinh(centre, unit))
    forward, backward = asinh(centre, unit)
    left, right = ax.get_xlim()
    span = forward(np.array([left, right]))
    wanted = backward(np.linspace(span[0], span[1], 9)[1:-1])
    ticks = spaced((_rounded(float(value)) for value in wanted), forward, 0.09 * (span[1] - span[0]), left, right)
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FixedFormatter([brief(tick) for tick in ticks]))


def asinh(centre: float, unit: float) -> tuple[Callable[[ArrayLike], Any], Callable[[ArrayLike], Any]]:
    """An inverse hyperbolic sine and its inverse: linear within a unit of the centre, logarithmic far from it."""
    return (
        lambda x: np.arcsinh((np.asarray(x, dtype=np.float64) - centre) / unit),
        lambda t: np.sinh(np.asarray(t, dtype=np.float64)) * unit + centre,
    )


def spaced(
    values: Iterable[float], forward: Callable[[ArrayLike], Any], gap: float, left: float, right: float
) -> list[float]:
    """The values within the limits, in order, that stand at least ``gap`` apart on the axis."""
    kept: list[float] = []
    for value in sorted({value for value in values if left <= value <= right}):
        if not kept or forward(value) - forward(kept[-1]) >= gap:
            kept.append(value)
    return kept


def brief(value: float) -> str:
    """A number on an axis or in a label: 0.25, −12, 3,400, 25k, 1.2M."""
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    large = 1000 <= abs(value) < 1e9
    return f"{'−' if value < 0 else ''}{count(abs(value)) if large else f'{abs(value):.3g}'}"


def _rounded(value: float) -> float:
    return float(f"{value:.1g}") if abs(value) < 10 or abs(value) >= 1000 else float(f"{value:.2g}")


def _dress(ax: Axes) -> None:
    ax.set_facecolor(PAPER)
    ax.set_axisbelow(True)
    ax.grid(color=GRID, linewidth=0.8)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.spines["bottom"].set_color(GRID)
    ax.tick_params(labelsize=SMALL + 0.5, colors=MUTED, length=0, pad=4)
    ax.tick_params(which="minor", length=0)


def _wrapped(text: str, width: float, size: float) -> list[str]:
    return [*map(in_figure, textwrap.wrap(lines(text), max(20, int((width - 0.3) * 120 / size))))]


def _lightness(colour: tuple[float, float, float]) -> float:
    red, green, blue = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue
