"""Hides attacks among the benign train rows, as they would be in traffic that nobody has labelled."""

import math
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import SplitError
from pipeline.base.samples import row_hash
from pipeline.preprocessing.splits import LEFT_OUT, SPLITS


def contaminate(
    attack: NDArray[np.object_],
    content: NDArray[np.uint64],
    split: NDArray[np.int8],
    names: Collection[str],
    share: float,
    seed: int = 0,
) -> tuple[NDArray[np.bool_], NDArray[np.int8]]:
    """(n,) mask of the attacks to hide among the benign train rows, and the split of each row after that.

    With b benign train rows and h hidden ones, h / (b + h) = ``share``. Seen attacks are taken from ``train``, unseen
    attacks from ``test_unseen``. The draw depends on content and seed, so a larger share hides the same rows and more.

    A hidden content occurs in no other split and nowhere with the label of an attack. So contents that other rows of an
    evaluated split have are not drawn, and copies that are not hidden themselves are left out of all splits.

    Args:
        attack: (n,) canonical names, ``benign`` for benign rows.
        content: (n,) hash of the values that a model will see.
        split: (n,) as ``assign`` gives it.
        names: attacks that may be hidden; they are drawn in the proportion in which they occur.
        share: of hidden rows among the train rows labelled benign, below 1.
        seed: of the draw.

    Raises:
        SplitError: there are too few such attacks, or no attack of train would keep its label.
    """
    train, attacks = split == SPLITS.index("train"), attack != "benign"
    taken = np.isin(attack, list(names)) & attacks & (train | (split == SPLITS.index("test_unseen")))
    others = ~taken & ~train & (split != LEFT_OUT)
    rows = np.flatnonzero(taken & ~np.isin(content, content[others]))
    benign = int((train & ~attacks).sum())
    wanted = max(1, round(share * benign / (1 - share)))
    _require_enough(wanted, len(rows), benign, sorted(names), share)
    draw = row_hash([content[rows], np.full(len(rows), seed)])
    hidden = np.zeros(len(attack), dtype=bool)
    hidden[rows[np.argsort(draw, kind="stable")[:wanted]]] = True
    copies = np.isin(content, content[hidden]) & attacks & ~hidden
    after = np.where(hidden, SPLITS.index("train"), np.where(copies, LEFT_OUT, split)).astype(np.int8)
    if not ((after == SPLITS.index("train")) & attacks & ~hidden).any():
        raise SplitError(
            f"preprocess.contamination: a share of {share:g} hides every attack of train, and none is left with its "
            "label; lower preprocess.contamination.share, or name fewer preprocess.contamination.attacks"
        )
    return hidden, after


def _require_enough(wanted: int, there: int, benign: int, names: list[str], share: float) -> None:
    of_names = f"attacks of {', '.join(names)}" if names else "attacks"
    if not there:
        raise SplitError(
            f"preprocess.contamination: there are no {of_names} to hide in train; name attacks that the records have "
            "in preprocess.contamination.attacks, or set preprocess.contamination.share to 0"
        )
    if wanted > there:
        possible = math.floor(1e4 * there / (there + benign)) / 1e4
        raise SplitError(
            f"preprocess.contamination.share: {share:g} would hide {wanted:,} {of_names} among {benign:,} benign train "
            f"rows, and there are {there:,}; at most {possible:g} is possible"
        )
