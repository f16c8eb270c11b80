"""Figures of ingest, validate and preprocess: what the records are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import ArrayLike

from pipeline.reporting.figures import style
from pipeline.reporting.figures.style import ANOMALOUS, BENIGN, INK, MUTED, SMALL

MOST_ROWS = 40


def class_counts(counts: Mapping[str, Mapping[str, int]], subtitle: str = "") -> Figure:
    """Records of each attack, and of each source file.

    Args:
        counts: source file -> attack -> records.
        subtitle: where the data come from.
    """
    totals: dict[str, int] = {}
    for by_attack in counts.values():
        for attack, n in by_attack.items():
            totals[attack] = totals.get(attack, 0) + n
    n, benign = sum(totals.values()), totals.get("benign", 0)
    title = f"{style.percent(benign / n)} of {n:,} records are benign" if n else "There are no records"
    attacks = sum(1 for attack, size in totals.items() if size and attack != "benign")
    found = f"{style.several(attacks, 'attack')} in {style.several(len(counts), 'file')}"
    caption = f"{found}; the left axis is logarithmic, the right one is not."
    height = 1.5 + 0.27 * max(len(totals), len(counts), 4)
    figure, (left, right) = style.canvas((10.5, height), title, subtitle, caption, columns=(1.0, 1.0))
    if not n:
        for ax in (left, right):
            style.nothing(ax, "no records")
        return figure
    order = sorted(totals, key=lambda attack: (-totals[attack], attack))
    at = style.rows(left, order)
    sizes = np.array([totals[attack] for attack in order])
    left.barh(at, sizes, height=0.66, color=[BENIGN if attack == "benign" else ANOMALOUS for attack in order])
    left.set_xscale("log")
    left.set_xlim(0.7, 8 * sizes.max())
    for height_at, size in zip(at, sizes, strict=True):
        left.annotate(f"{size:,}", (max(size, 0.7), height_at), (4, 0), **_beside)
    style.label(left, "records", head="by attack")
    _files(right, counts)
    return figure


def expectations(
    names: Sequence[str],
    unexpected_share: ArrayLike,
    allowed_share: ArrayLike,
    hard: ArrayLike,
    subtitle: str = "",
) -> Figure:
    """The share of records that breaks each expectation, beside the share allowed; the worst ones where there are many.

    Args:
        names: the k expectations.
        unexpected_share: (k,) share of the records that break it.
        allowed_share: (k,) share that may.
        hard: (k,) mask of the expectations whose breach stops the line.
        subtitle: where the data come from.
    """
    share, allowed = np.asarray(unexpected_share, dtype=np.float64), np.asarray(allowed_share, dtype=np.float64)
    strict, broken = np.asarray(hard, dtype=bool), share > allowed
    order = np.lexsort((allowed, -share, ~broken))[:MOST_ROWS]
    title = f"{int((~broken).sum())} of {len(names)} expectations hold"
    if broken.any():
        title += f"; {int((broken & strict).sum())} hard and {int((broken & ~strict).sum())} soft ones are broken"
    shown = f"; the {len(order)} that come nearest to a breach are shown" if len(order) < len(names) else ""
    caption = f"Dot: share of records that break it; bar: share allowed. A hard one (■) stops the line{shown}."
    figure, (ax,) = style.canvas((8.5, 1.6 + 0.24 * max(len(order), 3)), title, subtitle, caption)
    if not len(order):
        style.nothing(ax, "no expectations")
        return figure
    at = style.rows(ax, [f"{'■' if strict[i] else '□'} {names[i]}" for i in order], longest=52)
    seen = np.concatenate([share[order], allowed[order]])
    floor = min(10.0 ** np.floor(np.log10(seen[seen > 0].min())), 1e-2) / 3 if (seen > 0).any() else 1e-4
    ax.set_xscale("log")
    ax.set_xlim(floor, 2)
    ax.barh(at, np.maximum(allowed[order], floor) - floor, left=floor, height=0.6, color=style.tint(BENIGN, 0.22))
    colours = [ANOMALOUS if broken[i] else BENIGN for i in order]
    ax.scatter(np.maximum(share[order], floor), at, s=28, color=colours, zorder=3, clip_on=False)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: style.percent(value)))
    for height, i in zip(at, order, strict=True):
        if broken[i]:
            ax.annotate(style.percent(share[i]), (share[i], height), (6, 0), **_beside)
    style.label(ax, "share of records; left edge = none")
    return figure


def splits(table: Mapping[str, Mapping[str, int]], subtitle: str = "", unseen: Sequence[str] = ()) -> Figure:
    """Records of each attack in each split, tinted by their logarithm.

    Args:
        table: split -> attack -> records.
        subtitle: where the data come from.
        unseen: attacks that occur in the unseen test split only.
    """
    names = sorted({attack for by_attack in table.values() for attack in by_attack})
    sizes = {attack: sum(by.get(attack, 0) for by in table.values()) for attack in names}
    order = sorted(names, key=lambda attack: (attack != "benign", attack in unseen, -sizes[attack], attack))
    columns = list(table)
    n = np.array([[table[split].get(attack, 0) for split in columns] for attack in order], dtype=np.float64)
    n = n.reshape(len(order), len(columns))
    title = f"{style.several(int(n.sum()), 'record')} in {style.several(len(columns), 'split')}"
    if unseen:
        title += f"; {style.several(len(unseen), 'attack')} kept for the unseen test"
    caption = (
        "Each tile counts records; the tint grows with their logarithm. Blue benign, red seen, violet unseen attacks."
    )
    width = max(7.0, 2.6 + 1.05 * len(columns))
    figure, (ax,) = style.canvas((width, 1.7 + 0.3 * max(len(order), 2)), title, subtitle, caption)
    if not n.size:
        style.nothing(ax, "no records")
        return figure
    style.rows(ax, order)
    share = np.log1p(n) / np.log1p(max(n.max(), 1)) * 0.85
    tone = [style.colour_of("benign" if a == "benign" else "unseen" if a in unseen else "seen") for a in order]
    text = [["" if value == 0 else style.count(value) for value in row] for row in n]
    style.tiles(ax, share, text, [[colour] * len(columns) for colour in tone])
    heads = [f"{split}\n{style.count(total)}" for split, total in zip(columns, n.sum(0), strict=True)]
    ax.set_xticks(range(len(columns)), heads)
    return figure


def feature_spread(columns: Sequence[str], quantiles: ArrayLike, subtitle: str = "") -> Figure:
    """The range of the scaled values of each feature, the widest first.

    Args:
        columns: the F features.
        quantiles: (F, 7) minimum, 1, 25, 50, 75, 99 %, maximum.
        subtitle: where the data come from.
    """
    q = np.asarray(quantiles, dtype=np.float64).reshape(len(columns), 7)
    order = np.argsort(-(q[:, 6] - q[:, 0]), kind="stable")
    widest = float((q[:, 6] - q[:, 0]).max(initial=0.0))
    title = f"{style.several(len(columns), 'scaled feature')}; the widest spans {style.brief(widest)} units"
    caption = "Thin line: minimum to maximum; band: 1 to 99 %; bar: 25 to 75 %; dot: median. Validation rows."
    figure, (ax,) = style.canvas((8.5, 1.6 + 0.17 * max(len(columns), 8)), title, subtitle, caption)
    if not len(columns):
        style.nothing(ax, "no features")
        return figure
    at, q = style.rows(ax, [columns[i] for i in order]), q[order]
    ax.tick_params(axis="y", labelsize=SMALL - 1)
    ax.hlines(at, q[:, 0], q[:, 6], color=style.tint(BENIGN, 0.45), linewidth=0.8)
    ax.barh(at, q[:, 5] - q[:, 1], left=q[:, 1], height=0.5, color=style.tint(BENIGN, 0.3))
    ax.barh(at, q[:, 4] - q[:, 2], left=q[:, 2], height=0.5, color=style.tint(BENIGN, 0.8))
    ax.scatter(q[:, 3], at, s=9, color=INK, zorder=3)
    if widest > 40:
        ax.set_xscale("asinh", linear_width=2.0)
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: style.brief(value)))
    style.label(ax, "scaled value" + (", asinh axis" if widest > 40 else ""))
    return figure


_beside: dict[str, Any] = {"textcoords": "offset points", "va": "center", "fontsize": SMALL, "color": MUTED}


def _files(ax: Axes, counts: Mapping[str, Mapping[str, int]]) -> None:
    same_kind = len({name.partition(".")[2] for name in counts}) == 1  # then the suffix says nothing
    at = style.rows(ax, [name.partition(".")[0] if same_kind else name for name in counts], longest=46)
    benign = np.array([by.get("benign", 0) for by in counts.values()], dtype=np.float64)
    attack = np.array([sum(by.values()) for by in counts.values()], dtype=np.float64) - benign
    ax.barh(at, benign, height=0.66, color=BENIGN, label="benign")
    ax.barh(at, attack, left=benign, height=0.66, color=ANOMALOUS, label="attack")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: style.count(value)))
    style.label(ax, "records", head="by file")
    style.key(ax, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2, borderaxespad=0.1)
