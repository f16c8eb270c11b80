"""The map of the latent: where benign records, seen attacks and unseen ones lie, each attack by its name."""

from collections.abc import Callable, Collection
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from pipeline.base.escaping import in_figure, printable
from pipeline.reporting.figures import style
from pipeline.reporting.figures.style import GRID, INK, SMALL

MOST_POINTS = 4000
MOST_NAMED = 11  # of the seen attacks, and of the unseen ones; the others share the last mark
MARKS: Final = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "p")
HEADS: Final = {"benign": "benign", "seen": "seen attacks", "unseen": "unseen attacks"}

Points = NDArray[np.float64]
Rows = Callable[[NDArray[np.intp]], ArrayLike]  # (k,) of n rows -> their latent, (k, Z)
Projection = Callable[[Points], Points]  # (n, Z) -> (n, 2)


def latent_map(
    z: ArrayLike | Rows,
    attack: ArrayLike,
    y: ArrayLike,
    unseen: Collection[str] = (),
    rows: int = MOST_POINTS,
    project: Projection | None = None,
    method: str = "",
    subtitle: str = "",
) -> Figure:
    """The latent in two dimensions: its directions of greatest variance, or what ``project`` makes of it.

    At most ``rows`` points are drawn: as many of benign records as of seen and of unseen attacks, and as many of each
    attack, as far as there are enough.

    Args:
        z: (n, Z) latent, or what gives that of some rows only.
        attack: (n,) attack names.
        y: (n,) labels, 1 for an attack.
        unseen: attacks without a label in training.
        rows: largest number of points.
        project: (n, Z) points -> (n, 2); None for principal components.
        method: the name of ``project``.
        subtitle: where the data come from.
    """
    names = np.asarray(attack).astype(str)
    kind = np.where(np.asarray(y) == 0, "benign", np.where(np.isin(names, list(unseen)), "unseen", "seen"))
    drawn = _drawn(kind, names, rows)
    points = np.asarray(z(drawn) if callable(z) else np.asarray(z)[drawn], dtype=np.float64)
    title, axes, flat = _flat(points, project, method)
    caption = f"{len(drawn):,} of {len(kind):,} records drawn, as evenly from each name as there are; the farthest are "
    figure, (ax, key) = style.canvas((9.5, 5.6), title, subtitle, caption + "moved to the edge.", columns=(1.0, 0.34))
    key.set_axis_off()
    if not len(drawn):
        style.nothing(ax, "no records")
        return figure
    box = _box(flat)
    across, up = np.clip(flat, box[0], box[1]).T
    handles = [
        handle
        for head in HEADS
        for handle in _draw(ax, head, names[drawn], across, up, (kind[drawn] == head, names[kind == head]))
    ]
    ax.set_xlim(*box[:, 0])
    ax.set_ylim(*box[:, 1])
    style.label(ax, *axes)
    ax.spines["left"].set(visible=True, color=GRID)
    legend: dict[str, Any] = {"frameon": False, "fontsize": SMALL, "labelcolor": INK, "handlelength": 1.0}
    key.legend(handles=handles, loc="upper left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.0, **legend)
    return figure


def _draw(
    ax: Axes, kind: str, names: NDArray[np.str_], across: Points, up: Points, own: tuple[Any, NDArray[np.str_]]
) -> list[Line2D]:
    """Draw the points of one kind, with a mark for each name, and return the entries of the legend."""
    mask, everyone = own
    found, counts = np.unique(everyone, return_counts=True)
    order = [str(name) for name in found[np.lexsort((found, -counts))]]
    handles = (
        [Line2D([], [], linestyle="", label=f"{HEADS[kind]} ({len(everyone):,})")] if kind != "benign" and order else []
    )
    for place, name in enumerate(order):
        at, last = mask & (names == name), place >= MOST_NAMED
        mark, tone = MARKS[min(place, MOST_NAMED - 1)], _tone(kind, place)
        ax.scatter(across[at], up[at], s=11, marker=mark, alpha=0.55, linewidths=0, color=[tone], rasterized=True)
        text = "benign" if kind == "benign" else in_figure(style.shorten(printable(name), 24))
        if not last:
            text += f" ({int(counts[found == name][0]):,})"
            handles.append(Line2D([], [], linestyle="", marker=mark, markersize=5, color=tone, label=text))
    if len(order) > MOST_NAMED:
        handles.append(Line2D([], [], linestyle="", label=f"and {len(order) - MOST_NAMED} more, marked like the last"))
    return handles


def _tone(kind: str, place: int) -> Any:
    """The colour of the kind, lighter for every second name so that neighbours differ."""
    return style.tint(style.colour_of(kind), 1.0 if place % 2 == 0 else 0.62)


def _flat(points: Points, project: Projection | None, method: str) -> tuple[str, tuple[str, str], Points]:
    """The title, the names of the axes and the (n, 2) points."""
    if not len(points):
        return "No latent", ("", ""), np.zeros((0, 2))
    if project is not None:
        return f"The latent, laid out by {method}", (f"{method} 1", f"{method} 2"), project(points)
    flat, explained = _principal(points)
    title = f"{style.percent(explained)} of the latent's variance lies in two directions"
    return title, ("first principal component", "second principal component"), flat


def _principal(z: Points) -> tuple[Points, float]:
    """(n, 2) principal components and the share of the variance that they hold."""
    low, high = np.quantile(z, [0.005, 0.995], axis=0)
    centred = z - np.median(z, axis=0)
    core = np.clip(z, low, high)  # a few far records must not choose the directions
    core = core - core.mean(0)
    variance, axes = np.linalg.eigh(core.T @ core)
    axes = axes[:, ::-1][:, :2]
    axes = axes * np.where(axes[np.abs(axes).argmax(0), range(axes.shape[1])] < 0, -1, 1)  # one sign, always
    flat = np.zeros((len(z), 2))
    flat[:, : axes.shape[1]] = centred @ axes
    total = float(variance.sum())
    return flat, float(variance[::-1][:2].sum()) / total if total > 0 else 1.0


def _drawn(kind: NDArray[np.str_], names: NDArray[np.str_], most: int) -> NDArray[np.intp]:
    """Positions of the points to draw: as many of each kind, and as many of each name of a kind."""
    random = np.random.default_rng(0)
    kinds = {str(name): np.flatnonzero(kind == name) for name in np.unique(kind)}
    picked = [np.zeros(0, dtype=np.intp)]
    for head, room in _rooms({name: len(at) for name, at in kinds.items()}, most).items():
        groups = {str(name): kinds[head][names[kinds[head]] == name] for name in np.unique(names[kinds[head]])}
        for name, take in _rooms({name: len(at) for name, at in groups.items()}, room).items():
            picked.append(np.sort(random.permutation(groups[name])[:take]))
    return np.concatenate(picked)


def _rooms(sizes: dict[str, int], room: int) -> dict[str, int]:
    """How many of each name to draw: the room that small ones leave goes to the larger ones."""
    taken = {}
    for rank, name in enumerate(sorted(sizes, key=lambda name: (sizes[name], name))):
        taken[name] = min(sizes[name], room // (len(sizes) - rank))
        room -= taken[name]
    return taken


def _box(flat: Points) -> Points:
    """(2, 2) lower and upper limits that hold nearly all points and some air."""
    low, high = np.quantile(flat, [0.01, 0.99], axis=0)
    air = np.maximum(0.12 * (high - low), 1e-6 * np.maximum(1.0, np.abs(high)))
    return np.stack([low - air, high + air])
