"""The page of a drift check: the outcome, why, and what a person does about it."""

from base64 import b64encode
from typing import TYPE_CHECKING, Final

import numpy as np

from pipeline.artifacts import paths
from pipeline.base.escaping import in_markdown
from pipeline.serving import own_model

if TYPE_CHECKING:
    from flows.drift_check import Finding

NEXT: Final = {  # outcome -> what a person does about it
    "train": "**Training is asked for**: `flowsculpt train`. Nothing was registered or promoted.",
    "attacks": "**Look at the alarms** in `{scored}`. The traffic has attacks in it; no threshold was moved.",
    "unknown": (
        "**Fit a model to this network**: `flowsculpt adopt PATH`, with a stretch of its own traffic. No threshold was "
        "moved: what a wrong model calls benign may be anything."
    ),
}


def markdown(found: "Finding", picture: bytes = b"") -> str:
    """A page: the outcome, why, and what follows.

    Args:
        found: what the check found.
        picture: the figure as SVG, which the page shows; none for a terminal.
    """
    lines = [
        f"# Drift: {found.outcome}",
        f"Version {found.version}{own_model.suffix()}: {in_markdown(found.reason)}.",
    ]
    lines += [f"{found.records:,} recent records, {found.kept:,} of which look benign."]
    if found.aside:
        compared = found.side or "with a context"
        lines += [
            f"Compared are those {compared}; {found.aside:,} others only count as alarms, and their thresholds stay."
        ]
    lines += ["\n".join(f"- {in_markdown(str(each))}" for each in found.alarms)] if found.alarms else []
    if found.path.size:
        lines += [f"The test martingale reached 10^{found.path.max() / np.log(10):.1f}."]
    lines += [NEXT[found.outcome].format(scored=own_model.scored().as_posix())] if found.outcome in NEXT else []
    if found.registered is not None:
        lines += [f"Version {found.registered} has the thresholds that follow. The gate: {in_markdown(found.gate)}."]
    if picture:
        lines += [f"![Distances, and the martingale](data:image/svg+xml;base64,{b64encode(picture).decode()})"]
    lines += [f"Figure and table: `{paths.DRIFT.as_posix()}/`."]
    return "\n\n".join(lines)
