"""Figure of the shortcut audit: how well one feature alone separates attacks from benign records."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from pipeline.base.escaping import in_figure
from pipeline.reporting.figures import style
from pipeline.reporting.figures.style import ANOMALOUS, BENIGN, INK, MUTED, SMALL

MOST_ROWS = 40
Best = Mapping[str, tuple[str, float]]


def shortcuts(strongest: Best, without_known: Best, limit: float, subtitle: str = "") -> Figure:
    """The strongest single feature against each attack, the attack that is easiest to find on top.

    Args:
        strongest: attack -> the feature that tells it best, and its AUROC in [0.5, 1].
        without_known: the same without the known shortcuts; "" where there are no other features.
        limit: AUROC above which finding the attack proves little.
        subtitle: where the data come from.
    """
    order = sorted(strongest, key=lambda attack: -strongest[attack][1])
    separated, others = (sum(auroc > limit for _, auroc in best.values()) for best in (strongest, without_known))
    known = any(strongest[attack] != without_known[attack] for attack in order)
    title = f"One feature alone tells {separated} of {style.several(len(order), 'attack')} from benign"
    title += f", {others} without the known shortcuts" if known else ""
    caption = (
        f"Bar: AUROC of the strongest feature against the benign records, red above {limit:g}. 0.5 is chance."
        + " Ring: with the known shortcuts, where that is more." * known
        + f" The {MOST_ROWS} that are easiest to find are shown." * (len(order) > MOST_ROWS)
    )
    order = order[:MOST_ROWS]
    figure, (ax,) = style.canvas((9.5, 1.6 + 0.27 * max(len(order), 3)), title, subtitle, caption)
    if not order:
        style.nothing(ax, "too few records to judge")
        return figure
    at = style.rows(ax, order)
    auroc = np.array([without_known[attack][1] for attack in order])
    ax.barh(at, auroc - 0.5, left=0.5, height=0.6, color=[ANOMALOUS if area > limit else BENIGN for area in auroc])
    ax.axvline(limit, color=MUTED, linewidth=0.8, linestyle=":")
    ax.set_xlim(0.5, 1.0)
    for height, attack in zip(at, order, strict=True):
        (feature, best), (other, alone) = strongest[attack], without_known[attack]
        text = style.shorten(other, 28) + f" {alone:.3f}"
        if best > alone:
            ax.scatter(best, height, s=30, facecolor="none", edgecolor=INK, linewidth=1.1, zorder=3, clip_on=False)
            text += f"; {style.shorten(feature, 28)} {best:.3f}"
        ax.annotate(in_figure(text), (1.0, height), (12, 0), **_beside)
    style.label(ax, "AUROC of one feature")
    return figure


_beside: dict[str, Any] = {
    "textcoords": "offset points",
    "va": "center",
    "fontsize": SMALL,
    "color": MUTED,
    "annotation_clip": False,
}
