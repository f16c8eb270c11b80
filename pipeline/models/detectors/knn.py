"""Distance to the nearest neighbours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

import torch
from torch import Tensor

from pipeline.base.errors import TrainingError
from pipeline.models.arrays.base import Places
from pipeline.models.arrays.knn import KNNForm, Searching, mapped
from pipeline.models.arrays.neighbours import Search
from pipeline.models.arrays.parts import Rows
from pipeline.models.arrays.standardise import Standardise as Standardised
from pipeline.models.arrays.stored import Stored
from pipeline.models.detectors.cells import cells, distinct, draw_evenly, number_of_cells
from pipeline.models.detectors.closed_form import ClosedForm
from pipeline.models.layers import Standardise
from pipeline.models.scoring import array

MOST_REFERENCES: Final = 10_000_000
ENTRIES: Final = 2**24  # of a block of distances on a device


class KNN(ClosedForm):
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
        """Rows as distances are taken between them, (n, F), as the form maps them to the last bit."""
        standardise = Standardised(array(self.standardise.mean), array(self.standardise.scale))
        whitened = array(self.whitening) if self.metric == "whitened" else None
        return torch.from_numpy(mapped(array(x), standardise, whitened)).to(x.device)

    def _formed(self, arrays: Stored) -> KNNForm:
        return KNNForm.of(
            arrays,
            self.features,
            neighbours=self.neighbours,
            reduce=self.reduce,
            metric=self.metric,
            search=self._searching,
        )

    def _searching(self, reference: Rows, sizes: Places) -> Searching:
        """What finds the nearest references where the model is: on a device one large product is the fastest way."""
        return Search(reference, sizes) if self.reference.device.type == "cpu" else AmongAll(self.reference)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        """Load, and put the references of a model that was stored without cells into cells."""
        reference, rows = state_dict.get(prefix + "reference"), state_dict.get(prefix + "rows")
        if reference is not None and rows is not None and prefix + "sizes" not in state_dict:
            order, sizes = _by_cell(reference, self.seed)
            now = {"reference": reference[order], "rows": rows[order], "sizes": sizes}
            cast(dict[str, Any], state_dict).update({prefix + name: value for name, value in now.items()})
        super()._load_from_state_dict(state_dict, prefix, *rest)


@dataclass(frozen=True)
class AmongAll:
    """Finds the nearest of all references by one large product.

    Attributes:
        reference: (R, F) on a device.
    """

    reference: Tensor

    def nearest(self, z: Rows, k: int) -> Places:
        """(n, k) positions of the references that are nearest to each row of z, (n, F), the nearest first."""
        return array(among_all(self.reference, torch.from_numpy(z).to(self.reference), k))


def among_all(reference: Tensor, z: Tensor, k: int) -> Tensor:
    """(n, k) positions of the references, (R, F), that are nearest to each row of z, (n, F), by one large product."""
    norms = reference.square().sum(1)
    parts = torch.split(z, max(1, ENTRIES // len(reference)))
    found = [torch.addmm(norms, part, reference.T, alpha=-2).topk(k, largest=False).indices for part in parts]
    return torch.cat([torch.zeros((0, k), dtype=torch.int64, device=z.device), *found])


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
