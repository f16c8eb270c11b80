"""Which family of known attacks a record is like, by the head that was taught them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.models.arrays.base import Form
from pipeline.models.arrays.boosting import BoostingForm
from pipeline.models.arrays.folds import FoldsForm
from pipeline.serving import bundle_parts
from pipeline.serving.bundle import Bundle

Floats = NDArray[np.float64]

OTHERS: Final = "others"  # families that are too small for trees of their own, together


@dataclass(frozen=True)
class Families:
    """The families that a head has trees for.

    Attributes:
        names: of the G families, in the order of their trees.
        head: the trees.
    """

    names: tuple[str, ...]
    head: Form = field(repr=False)

    @classmethod
    def of(cls, bundle: Bundle) -> Self | None:
        """Those of a model; None where its head tells no families apart, or is older than their names."""
        head = None if bundle.model.head is None else bundle.model.head.form
        one = head.models[0] if isinstance(head, FoldsForm) else head
        if head is None or not isinstance(one, BoostingForm) or one.families == "together":
            return None
        about, _ = bundle_parts.decoded(Path("head"), bundle.sealed.files, "head", bundle.sealed.hashes)
        names = _with_trees(about.get("families", {}), one.least)
        sets = len(one.start) - (one.families == "both" and len(one.start) > 1)
        return cls(names, head) if names and len(names) == sets else None

    def probabilities(self, x: NDArray[np.float32]) -> Floats:
        """(n, G) probability of each family, as if benign records and families were as frequent as in training.

        Each set of trees tells one family f from benign records, so exp(log-odds) is p(f | x) / p(benign | x). As all
        probabilities have the sum 1, p(f | x) = exp(odds_f) / (1 + sum over g of exp(odds_g)).
        """
        odds = self.head.raw(x).astype(np.float64)[:, -len(self.names) :]
        top = np.maximum(odds.max(1, keepdims=True), 0)
        parts = np.exp(odds - top)
        found: Floats = parts / (np.exp(-top) + parts.sum(1, keepdims=True))
        return found


def _with_trees(counts: Mapping[str, int], least: int) -> tuple[str, ...]:
    """The families with trees of their own; those of fewer than ``least`` rows share the last ones."""
    small = [name for name, count in counts.items() if count < least]
    large = [name for name in sorted(counts) if name not in small]
    return (*large, *(small if len(small) == 1 else [OTHERS] * bool(small)))
