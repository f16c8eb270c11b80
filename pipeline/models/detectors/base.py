"""The contract of a detector, which turns a latent into an anomaly score."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.base.errors import CollapseError
from pipeline.models.base import Batch, Scorer
from pipeline.models.scoring import ROWS_AT_ONCE, in_parts

LEAST_SPREAD = 1e-3
LARGEST_TIE = 0.999
FEW = 100  # records; that few may simply be too few to learn from


class Detector(Scorer):
    """Turns a latent into a score.

    A subclass takes ``features`` first, then its own settings, and implements ``score``.

    Attributes:
        trains_on: the training rows that it is fitted on.
        sized_by_data: buffers whose first dimension depends on the data; ``load_state_dict`` resizes them.
        features: width of its input, the Z of the encoder.
    """

    trains_on: ClassVar[Literal["benign", "all"]] = "benign"
    sized_by_data: ClassVar[tuple[str, ...]] = ()

    def __init__(self, features: int) -> None:
        super().__init__()
        if features < 1:
            raise ValueError(f"features must be at least 1, not {features}")
        self.features = features

    def scores(self, x: Tensor) -> Tensor:
        """(n,) scores of (n, F), computed in parts."""
        return in_parts(self.score, x, ROWS_AT_ONCE)

    def fit(self, x: Tensor, y: Tensor | None = None) -> None:
        """Fit what needs no training steps; a closed-form detector is finished after this.

        Args:
            x: (n, F).
            y: (n,) 0 for a benign row, else the number of the attack's family, from 1 on; only read by a closed-form
                detector that learns from seen attacks.
        """

    def fit_raw(self, x: Tensor, y: Tensor) -> None:
        """``fit`` without the part that ``fit_units`` does."""
        self.fit(x, y)

    def raw(self, x: Tensor) -> Tensor:
        """(n, M) scores of the M parts of the detector, each in its own unit, of x (n, F), computed in parts."""
        return self.scores(x)[:, None]

    def of_raw(self, raw: Tensor) -> Tensor:
        """(n,) scores of rows whose parts have the scores ``raw``, (n, M)."""
        return raw[:, 0]

    def fit_units(self, raw: Tensor) -> None:
        """Fit a common unit for the scores of the parts, by ``raw`` (n, M) of benign rows that no part has seen."""

    def loss(self, batch: Batch) -> Tensor:
        """The mean score, which for a density is its negative log-likelihood."""
        return self.score(batch.x).mean()

    def terms(self, x: Tensor) -> Tensor | None:
        """What each entry of x, (B, F), adds to the score, (B, F); None if the score is no sum over entries."""
        return None

    def nearest(self, x: Tensor) -> Tensor | None:
        """(B, k) positions of the fitted rows that are nearest to x, (B, F); None for a model that keeps no rows."""
        return None

    @property
    def replaces_quickly(self) -> bool:
        """Whether ``replaced`` costs a few scores of each row, however many entries it has."""
        return False

    def replaced(self, x: Tensor, reference: Tensor) -> Tensor:
        """(B, F) score of each row of x, (B, F), if one entry alone takes its value in ``reference``, (B, F).

        Here every such row is scored. A detector that knows its own form is quicker.
        """
        found = self.scores(x)[:, None].repeat(1, x.shape[1])
        for part in torch.split((x != reference).nonzero(), ROWS_AT_ONCE):
            some, at = part.unbind(1)
            changed = x[some]
            changed[torch.arange(len(some)), at] = reference[some, at]
            found[some, at] = self.scores(changed)
        return found

    def spread(self, x: Tensor) -> float | None:
        """How far apart the latents of x (n, F) lie, relative to before training; None for a model without a latent."""
        return None

    @torch.no_grad()
    def verify(self, x: Tensor) -> None:
        """Refuse a trained detector that gives all rows of x, (n, F), the same scores.

        Raises:
            CollapseError: it says what has collapsed, and what to do.
        """
        reason = self._collapse(x)
        if reason:
            raise CollapseError(f"detector {type(self).__name__}, {len(x)} records: {reason}")

    def _collapse(self, x: Tensor) -> str | None:
        score = self.scores(x)
        bad = (~score.isfinite()).nonzero()
        if len(bad):
            return (
                f"the score of row {int(bad[0])} is {float(score[bad[0]])}, and {len(bad)} scores in all are not "
                "finite; lower learning_rate, or check the features for extreme values"
            )
        spread = self.spread(x) if (x != x[:1]).any() else None
        if spread is not None and not spread >= LEAST_SPREAD:
            return (
                f"the latents lie {spread:.2g} times as far apart as before training, allowed is {LEAST_SPREAD:g} or "
                "more: all records are mapped to one point; train for fewer epochs, or lower learning_rate"
            )
        return _tied(score, x)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        """Resize buffers to the loaded ones in their first dimension; any other difference in shape is an error."""
        for name in self.sized_by_data:
            stored, own = state_dict.get(prefix + name), getattr(self, name)
            if stored is not None and stored.ndim == own.ndim:
                setattr(self, name, own.new_empty(len(stored), *own.shape[1:]))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def at_most(value: NDArray[np.float64]) -> NDArray[np.float32]:
    """The largest float32 that is not above each value, so that a float32 x compares with it as with the value."""
    rounded = value.astype(np.float32)
    return np.where(rounded > value, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def draw(x: Tensor, rows: int, seed: int) -> Tensor:
    """At most ``rows`` rows of x, (n, F), drawn by ``seed``."""
    drawn = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:rows]
    return x[drawn.to(x.device)]


def draw_with_attacks(y: Tensor, rows: int, share: float, seed: int) -> Tensor:
    """At most ``rows`` positions in y, (n,), drawn by ``seed`` so that no rare attack is lost.

    All attacks are kept if they fit into ``share`` of the rows, or if there are too few benign rows to fill the rest.
    Otherwise every family is cut to the same number of rows, so that rare families stay whole.

    Args:
        y: 0 for a benign row, else the number of an attack's family.
        rows: how many at most.
        share: of these rows that attacks may take.
        seed: of the draw.
    """
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed)).to(y.device)
    if len(y) <= rows:
        return order
    families, sizes = torch.unique(y[y != 0], return_counts=True)
    for_attacks = max(int(share * rows), rows - int((y == 0).sum()))
    most = _level(sizes.tolist(), for_attacks)
    kept = torch.zeros(len(y), dtype=torch.bool, device=y.device)
    for family in families:
        kept[order[y[order] == family][:most]] = True
    kept[order[y[order] == 0][: rows - int(kept.sum())]] = True
    return order[kept[order]]


def _level(sizes: Sequence[int], total: int) -> int:
    """The largest limit per group such that groups of these sizes, cut to it, have ``total`` members or fewer."""
    left, most = total, max(sizes, default=0)
    for i, size in enumerate(sorted(sizes)):
        even = left // (len(sizes) - i)
        if size > even:
            return even
        left -= size
    return most


def _tied(score: Tensor, x: Tensor) -> str | None:
    """What is wrong with scores, (n,), that hardly differ although the rows x, (n, F), do; None if nothing is."""
    values, counts = torch.unique(score, return_counts=True)
    few, share = len(values) < min(3, len(x)), float(counts.max()) / len(x) if len(x) else 0.0
    if few and len(values) < min(3, len(torch.unique(x, dim=0))):
        remedy = f"{len(x)} records are too few to learn from, so ingest more" if len(x) < FEW else _REMEDY
        return f"the scores of rows that differ have {len(values)} distinct values, so they rank nothing; {remedy}"
    if len(values) > 1 and share > LARGEST_TIE:
        value = values[counts.argmax()]
        if len(torch.unique(x[score == value], dim=0)) > 1:
            return f"{100 * share:.4g} % of the records have the one score {float(value):.6g}; {_REMEDY}"
    return None


_REMEDY = "check that the latent varies, or choose other settings or another detector"
