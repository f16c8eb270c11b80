"""Distance to the nearest neighbours."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, cast

import torch
from torch import Tensor

from pipeline.base.errors import TrainingError
from pipeline.models.arrays.neighbours import Search
from pipeline.models.detectors.base import Detector
from pipeline.models.detectors.cells import cells, distinct, draw_evenly, number_of_cells
from pipeline.models.layers import Standardise
from pipeline.models.scoring import ROWS_AT_ONCE, in_parts

MOST_REFERENCES: Final = 10_000_000
POOL: Final = 16  # references that are near a row, from which ``replaced`` takes distances
ENTRIES: Final = 2**24  # of a block of distances on a device


class KNN(Detector):
    """Distance to the k-th nearest reference row, in standardised features.

    Ramaswamy, Rastogi, Shim, "Efficient Algorithms for Mining Outliers from Large Data Sets", 2000; the mean over the
    k distances is that of Angiulli, Pizzuti, "Fast Outlier Detection in High Dimensional Spaces", 2002. A reference row
    that is scored counts itself as its nearest neighbour.

    The search is exact. Of equal rows only k are kept, because more can never be among the k nearest. Of more rows than
    ``references`` a sample is kept in which each cluster has its share (``cells.draw_evenly``).

    Args:
        features: Z.
        neighbours: k.
        reduce: ``largest`` takes the k-th distance, ``mean`` the mean of the k.
        metric: ``whitened`` first removes the correlations between features, so that a value that does not fit the
            others is far away even if it is common by itself. Directions with less than a tenth of the variance of a
            feature are stretched as if they had that tenth.
        references: reference rows at most, from ``neighbours`` to 10,000,000.
        seed: of the clusters and of the rows drawn.
    """

    sized_by_data = ("reference", "rows", "sizes")
    reference: Tensor
    whitening: Tensor
    rows: Tensor
    sizes: Tensor

    def __init__(
        self,
        features: int,
        neighbours: int = 5,
        reduce: Literal["largest", "mean"] = "largest",
        metric: Literal["standardised", "whitened"] = "standardised",
        references: int = 32_000,
        seed: int = 0,
    ) -> None:
        super().__init__(features)
        if not 1 <= neighbours <= references <= MOST_REFERENCES:
            raise ValueError(
                f"neighbours must be at least 1, and references between neighbours and {MOST_REFERENCES:,}, "
                f"not {neighbours} and {references}"
            )
        if reduce not in ("largest", "mean"):
            raise ValueError(f"reduce must be 'largest' or 'mean', not {reduce!r}")
        if metric not in ("standardised", "whitened"):
            raise ValueError(f"metric must be 'standardised' or 'whitened', not {metric!r}")
        self.neighbours, self.reduce, self.references, self.seed = neighbours, reduce, references, seed
        self.metric = metric
        self.standardise = Standardise(features)
        if metric == "whitened":
            self.register_buffer("whitening", torch.eye(features))
        self.register_buffer("reference", torch.zeros(neighbours, features))
        self.register_buffer("rows", torch.zeros(neighbours, dtype=torch.int64))  # where they stood among those given
        self.register_buffer("sizes", torch.tensor([neighbours]))  # (C,) references of each cell, which stand together
        self._search: tuple[Tensor, Search] | None = None  # what it searches in comes first

    def fit(self, x: Tensor, y: Tensor | None = None) -> None:
        """Keep rows of x (n, F), standardised by all of them.

        Raises:
            TrainingError: if there are fewer rows than neighbours.
        """
        if len(x) < self.neighbours:
            raise TrainingError(
                f"detector knn: {self.neighbours} neighbours need at least as many records, given {len(x)}; "
                "lower stage2.knn.neighbours"
            )
        self.standardise.fit(x)
        if self.metric == "whitened":
            self.whitening.copy_(whitening(self.standardise(x.double())))
        rows = distinct(x, self.neighbours)
        rows = rows[draw_evenly(x[rows], self.references, self.seed, self._mapped)]
        order, sizes = _by_cell(self._mapped(x[rows]), self.seed)
        self.rows, self.sizes = rows[order].to(self.rows), sizes.to(self.sizes)
        self.reference = self._mapped(x[rows[order]]).to(self.reference)

    def _mapped(self, x: Tensor) -> Tensor:
        """Rows as distances are taken between them, (B, F)."""
        z: Tensor = self.standardise(x)
        return z @ self.whitening if self.metric == "whitened" else z

    def scores(self, x: Tensor) -> Tensor:
        """(n,) of (n, F): the search is faster the more rows it is given."""
        return self.score(x)

    def score(self, x: Tensor) -> Tensor:
        """Distance in standard deviations, (B, F) to (B,)."""
        return self._of_neighbours(self._score, x)

    def terms(self, x: Tensor) -> Tensor:
        """Squared differences from the neighbours, divided by the distance, (B, F): their sum is the score.

        d = sum over i of (z_i - r_i)^2 / d for a distance d; the mean of several is the sum of their means.
        """
        return self._of_neighbours(self._terms, x)

    def nearest(self, x: Tensor) -> Tensor:
        """(B, k) positions of the fitted rows that are nearest to x, (B, F), the nearest first."""
        return self.rows[self._neighbours(x)[1]]

    @property
    def replaces_quickly(self) -> bool:
        """True."""
        return True

    def replaced(self, x: Tensor, reference: Tensor) -> Tensor:
        """(B, F) scores if one entry alone is replaced: distances from the rows that may then be the nearest.

        These are the ``POOL`` nearest of x, and as many of ``reference``. So a score may be too high, where another row
        would be nearer still, but never too low.
        """
        most = min(max(POOL, self.neighbours), len(self.reference))
        both = self._neighbours(torch.cat([x, reference]), most)[1]  # one search costs less than two
        pool = torch.cat(both.chunk(2), dim=1) if len(x) else both.repeat(1, 2)
        at = torch.arange(len(x), device=x.device)
        return in_parts(lambda part: self._replaced(x[part], reference[part], pool[part]), at, ROWS_AT_ONCE)

    def _replaced(self, x: Tensor, reference: Tensor, pool: Tensor) -> Tensor:
        """|d + s W_i|^2 = |d|^2 + 2 s (W d)_i + s^2 |W_i|^2 for a difference d, a step s in entry i and the map W."""
        z = self._mapped(x)
        step = (self.standardise(reference) - self.standardise(x))[:, None]  # (B, 1, F)
        apart = z[:, None] - self.reference[pool]  # (B, P, F)
        whitened = self.metric == "whitened"
        towards = apart @ self.whitening.T if whitened else apart
        lengths = self.whitening.square().sum(1) if whitened else torch.ones_like(z[0])
        squares = apart.square().sum(-1, keepdim=True) + 2 * step * towards + step.square() * lengths
        return self._reduced(_distinct_least(squares, pool, self.neighbours).clamp_min(0).sqrt())

    def _of_neighbours(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """``function`` of how x, (B, F), differs from its neighbours, (B, k, F)."""
        z, nearest = self._neighbours(x)
        at = torch.arange(len(x), device=x.device)
        return in_parts(lambda part: function(z[part, None] - self.reference[nearest[part]]), at, ROWS_AT_ONCE)

    def _neighbours(self, x: Tensor, k: int | None = None) -> tuple[Tensor, Tensor]:
        """Rows as distances are taken between them, (B, F), and which references are nearest to each, (B, k)."""
        z, k = in_parts(self._mapped, x, ROWS_AT_ONCE), k or self.neighbours
        if z.device.type != "cpu":  # one product over all references is faster there
            return z, among_all(self.reference, z, k)
        if self._search is None or self._search[0] is not self.reference:
            self._search = self.reference, Search(self.reference.numpy(), self.sizes.numpy())
        return z, torch.from_numpy(self._search[1].nearest(z.detach().numpy(), k))

    def _score(self, apart: Tensor) -> Tensor:
        return self._reduced(apart.square().sum(-1).sqrt())

    def _reduced(self, distances: Tensor) -> Tensor:
        """The score of the distances of the k nearest, (B, k, ...)."""
        return distances.amax(1) if self.reduce == "largest" else distances.mean(1)

    def _terms(self, apart: Tensor) -> Tensor:
        distances = apart.square().sum(-1, keepdim=True).sqrt()
        parts = self._by_feature(apart) / distances.clamp_min(torch.finfo(apart.dtype).tiny)
        if self.reduce == "mean":
            return parts.mean(1)
        return parts.take_along_dim(distances.argmax(1, keepdim=True), 1).squeeze(1)

    def _by_feature(self, apart: Tensor) -> Tensor:
        """Squared distances, (B, k, F) differences as distances are taken, by the feature that they come from."""
        if self.metric == "standardised":
            return apart.square()
        # With d = e W, |d|^2 = sum over i of e_i (W d)_i.
        before = torch.linalg.solve(self.whitening.T, apart.flatten(0, 1).T).T.view_as(apart)
        by_feature: Tensor = before * (apart @ self.whitening.T)
        return by_feature

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        """Load, and put the references of a model that was stored without cells into cells."""
        reference, rows = state_dict.get(prefix + "reference"), state_dict.get(prefix + "rows")
        if reference is not None and rows is not None and prefix + "sizes" not in state_dict:
            order, sizes = _by_cell(reference, self.seed)
            now = {"reference": reference[order], "rows": rows[order], "sizes": sizes}
            cast(dict[str, Any], state_dict).update({prefix + name: value for name, value in now.items()})
        super()._load_from_state_dict(state_dict, prefix, *rest)


def among_all(reference: Tensor, z: Tensor, k: int) -> Tensor:
    """(n, k) positions of the references, (R, F), that are nearest to each row of z, (n, F), by one large product."""
    norms = reference.square().sum(1)
    parts = torch.split(z, max(1, ENTRIES // len(reference)))
    found = [torch.addmm(norms, part, reference.T, alpha=-2).topk(k, largest=False).indices for part in parts]
    return torch.cat([torch.zeros((0, k), dtype=torch.int64, device=z.device), *found])


def _distinct_least(squares: Tensor, pool: Tensor, k: int) -> Tensor:
    """(B, k, F) the k least of squares, (B, P, F), where each reference of the pool, (B, P), counts once."""
    if k == 1:
        return squares.amin(1, keepdim=True)
    order = pool.argsort(stable=True, dim=1)
    again = torch.zeros_like(pool, dtype=torch.bool).scatter_(1, order[:, 1:], pool.gather(1, order).diff(dim=1) == 0)
    return squares.masked_fill(again[..., None], torch.inf).topk(k, dim=1, largest=False).values


def _by_cell(reference: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """The order of the references, (R, F), by their cell, (R,), and how many each cell holds, (C,)."""
    cell = cells(reference, number_of_cells(len(reference)), seed)
    sizes = torch.bincount(cell)
    return cell.argsort(stable=True), sizes[sizes > 0]


def whitening(z: Tensor, floor: float = 0.1) -> Tensor:
    """V diag(1 / sqrt(max(w, floor))), (F, F): what makes the rows of z uncorrelated, and of variance 1 at most.

    Args:
        z: (n, F) standardised rows.
        floor: the least variance w of a direction that is stretched to 1.
    """
    variance, directions = torch.linalg.eigh(torch.cov(z.T, correction=0).reshape(z.shape[1], -1))
    whitened: Tensor = directions / variance.clamp_min(floor).sqrt()
    return whitened
