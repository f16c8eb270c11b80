"""One-class support vector machine."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.base.errors import TrainingError
from pipeline.models.arrays.ocsvm import OCSVMForm
from pipeline.models.arrays.stored import Stored
from pipeline.models.detectors.base import draw
from pipeline.models.detectors.closed_form import ClosedForm
from pipeline.models.layers import Standardise

Floats = NDArray[np.float64]

MAX_ROWS = {"exact": 10_000, "nystroem": 100_000}


class OCSVM(ClosedForm):
    """How far a row lies outside the smallest region that holds most rows: rho - sum_i w_i exp(-gamma |x - s_i|^2).

    Scholkopf, Platt, Shawe-Taylor, Smola, Williamson, "Estimating the Support of a High-Dimensional Distribution",
    2001; ``exact`` is solved by scikit-learn's OneClassSVM. ``nystroem`` maps the rows to the kernels at a few of
    them (Williams, Seeger, "Using the Nystroem Method to Speed Up Kernel Machines", 2000) and descends the primal
    problem; its feature map is linear in those kernels, so that both end in the same sum. Far from all s_i the score
    saturates at rho.

    Args:
        features: Z; rows are standardised.
        kernel_map: ``exact`` or ``nystroem``.
        nu: share of the training rows that may lie outside, at most; default as in scikit-learn.
        gamma: of the kernel; ``scale`` is 1 / (Z Var(x)) over the standardised rows that are fitted.
        components: kernels of ``nystroem``.
        max_rows: rows that are fitted at most, drawn by ``seed``; None for 10,000 ``exact``, whose time is quadratic,
            and 100,000 ``nystroem``.
        seed: of the rows and kernels drawn and of the descent.
    """

    sized_by_data = ("supports", "weights")
    supports: Tensor
    weights: Tensor
    gamma: Tensor
    rho: Tensor

    def __init__(
        self,
        features: int,
        kernel_map: Literal["exact", "nystroem"] = "exact",
        nu: float = 0.5,
        gamma: float | Literal["scale"] = "scale",
        components: int = 256,
        max_rows: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(features)
        if kernel_map not in MAX_ROWS:
            raise ValueError(f"kernel_map must be 'exact' or 'nystroem', not {kernel_map!r}")
        if not 0 < nu <= 1:
            raise ValueError(f"nu must be above 0 and at most 1, not {nu}")
        if gamma != "scale" and not (isinstance(gamma, int | float) and gamma > 0):
            raise ValueError(f"gamma must be 'scale' or above 0, not {gamma!r}")
        self.max_rows = MAX_ROWS[kernel_map] if max_rows is None else max_rows
        if components < 1 or self.max_rows < 2:
            raise ValueError(f"components must be at least 1 and max_rows 2, not {components} and {self.max_rows}")
        self.kernel_map, self.nu, self.width, self.components, self.seed = kernel_map, nu, gamma, components, seed
        self.standardise = Standardise(features)
        self.register_buffer("supports", torch.zeros(1, features))
        self.register_buffer("weights", torch.zeros(1))
        self.register_buffer("gamma", torch.ones(()))
        self.register_buffer("rho", torch.zeros(()))

    def fit(self, x: Tensor, y: Tensor | None = None) -> None:
        """Solve for the rows x (n, F).

        Raises:
            TrainingError: if there are fewer than 2 rows.
        """
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        if len(x) < 2:
            raise TrainingError(f"detector ocsvm: at least 2 records are needed, given {len(x)}")
        self.standardise.fit(x)
        rows = self.standardise(draw(x, self.max_rows, self.seed)).double().cpu().numpy()
        gamma = self.width if isinstance(self.width, int | float) else 1 / (self.features * (rows.var() or 1.0))
        with threadpool_limits(1):
            solve = self._exact if self.kernel_map == "exact" else self._nystroem
            supports, weights, rho = solve(rows, gamma)
        self.supports = torch.from_numpy(supports).to(self.supports)
        self.weights = torch.from_numpy(weights).to(self.weights)
        self.rho.fill_(rho)
        self.gamma.fill_(gamma)

    def _exact(self, rows: Floats, gamma: float) -> tuple[Floats, Floats, float]:
        from sklearn.svm import OneClassSVM

        machine = OneClassSVM(nu=self.nu, gamma=gamma, cache_size=500).fit(rows)
        return machine.support_vectors_, machine.dual_coef_[0], float(machine.offset_[0])

    def _nystroem(self, rows: Floats, gamma: float) -> tuple[Floats, Floats, float]:
        from sklearn.kernel_approximation import Nystroem
        from sklearn.linear_model import SGDOneClassSVM

        components = min(self.components, len(rows))
        kernels = Nystroem(gamma=gamma, n_components=components, random_state=self.seed)
        machine = SGDOneClassSVM(nu=self.nu, random_state=self.seed).fit(kernels.fit_transform(rows))
        return kernels.components_, kernels.normalization_.T @ machine.coef_, float(machine.offset_[0])

    def _formed(self, arrays: Stored) -> OCSVMForm:
        return OCSVMForm.of(arrays, self.features)
