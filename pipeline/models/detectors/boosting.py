"""Gradient-boosted trees on the seen attacks: a supervised head."""

from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.base.errors import TrainingError
from pipeline.base.parallel import cores, in_order
from pipeline.models.arrays.boosting import BoostingForm
from pipeline.models.arrays.stored import Stored
from pipeline.models.detectors.base import draw_with_attacks
from pipeline.models.detectors.binning import Binned, binned
from pipeline.models.detectors.closed_form import ClosedForm
from pipeline.models.detectors.growing_tree import Growth
from pipeline.models.detectors.growth import Grown, grow, packed

LEAST_EXCESS: Final = 1e-3  # of log-odds that hardly differ


class Boosting(ClosedForm):
    """How much like seen attacks a row is, by gradient-boosted trees.

    Friedman, "Greedy Function Approximation: A Gradient Boosting Machine", 2001, on histograms; the trees are those of
    scikit-learn (``growth``). Small trees, each split on a share of the features, use several features of an attack and
    not only the one that separates the seen attacks best. This carries over better to unseen attacks.

    Log-odds of different trees have no common unit. They are measured by the upper tail of benign rows that the trees
    have not seen, above its quantile t, with a mean excess e. These rows are left out of the fit part by part::

        surprise(x) = log(1 + exp(log(1 / (1 - quantile)) + (log-odds(x) - t) / e))

    For rare scores this is about -log P(a benign row is as high). For all others it is near 0, however benign a row
    looks, so one set of trees cannot outweigh what another finds. One set learns all seen attacks together. Each family
    f also has its own trees, so that a frequent family does not outvote a rare one::

        score(x) = surprise_together(x) + max over f of surprise_f(x)

    With one family, or ``together``, the score is the log-odds.

    The nodes of all trees lie in one vector, and a leaf leads to itself; see ``arrays.trees``.

    Args:
        features: Z.
        families: ``both``, as above | ``each``: the second part alone | ``together``: the first part alone.
        trees: T, of a family.
        leaves: of a tree, at most.
        learning_rate: by which each tree's values are shrunk.
        share: of the features that a split chooses from.
        l2: penalty on the values of the leaves.
        least: rows that a family needs for its own trees; smaller families share one set.
        parts: how many parts the benign rows are left out in.
        quantile: of the benign log-odds, at which the tail begins.
        max_rows: rows at most that the trees are grown on, drawn by ``seed``.
        attack_share: share of these rows that attacks may take; if they are more, large families are cut first.
        sample: rows that a tree is grown on, of more. Those that the trees so far are not sure of are drawn most often,
            anew for every tenth tree; see ``growth.draw``.
        seed: of the rows drawn and of the features of each split.
    """

    trains_on = "all"
    sized_by_data = ("root", "start", "begin", "excess", "feature", "threshold", "left", "right", "value")

    root: Tensor
    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    value: Tensor
    start: Tensor
    begin: Tensor
    excess: Tensor
    depth: Tensor

    def __init__(
        self,
        features: int,
        *,
        families: Literal["both", "each", "together"] = "both",
        trees: int = 100,
        leaves: int = 8,
        learning_rate: float = 0.1,
        share: float = 0.2,
        l2: float = 1.0,
        least: int = 20,
        parts: int = 3,
        quantile: float = 0.99,
        max_rows: int = 500_000,
        attack_share: float = 0.5,
        sample: int = 20_000,
        seed: int = 0,
    ) -> None:
        super().__init__(features)
        if families not in ("both", "each", "together"):
            raise ValueError(f"families must be 'both', 'each' or 'together', not {families!r}")
        if trees < 1 or leaves < 2 or max_rows < 2 or sample < 100:
            raise ValueError(
                "trees must be at least 1, leaves and max_rows 2, sample 100, "
                f"not {trees}, {leaves}, {max_rows}, {sample}"
            )
        if not 0 < share <= 1 or learning_rate <= 0 or l2 < 0:
            raise ValueError(
                f"share must lie in (0, 1], learning_rate above 0, l2 at 0 or above, not {share}, {learning_rate}, {l2}"
            )
        if least < 1 or parts < 2 or not 0 < quantile < 1:
            raise ValueError(
                f"least must be at least 1, parts 2, quantile must lie in (0, 1), not {least}, {parts}, {quantile}"
            )
        self.families, self.least, self.parts, self.quantile = families, least, parts, quantile
        self.trees, self.leaves, self.learning_rate = trees, leaves, learning_rate
        if not 0 < attack_share < 1:
            raise ValueError(f"attack_share must lie in (0, 1), not {attack_share}")
        self.share, self.l2, self.max_rows, self.seed = share, l2, max_rows, seed
        self.attack_share, self.sample = attack_share, sample
        self.register_buffer("root", torch.zeros(0, dtype=torch.int64))  # (G T,) node that each tree begins at
        for name in ("feature", "left", "right"):
            self.register_buffer(name, torch.zeros(0, dtype=torch.int64))  # (N,) of all nodes
        for name in ("threshold", "value"):
            self.register_buffer(name, torch.zeros(0))  # (N,)
        self.register_buffer("start", torch.zeros(1))  # (G,) log-odds before the first tree
        self.register_buffer("begin", torch.zeros(1))  # (G,) where the tail begins
        self.register_buffer("excess", torch.ones(1))  # (G,) mean above that
        self.register_buffer("depth", torch.zeros((), dtype=torch.int64))

    def fit(self, x: Tensor, y: Tensor | None = None) -> None:
        """Grow the trees on x (n, F) and y (n,), the number of each attack's family; without labels do nothing.

        Raises:
            TrainingError: a class is absent.
        """
        if y is None:
            return
        values, attack, groups = self._grown(x, y)
        tails = [(0.0, 1.0)]
        if len(groups) > 1:
            tails = self._tails(values, attack, groups)
        self.begin, self.excess = torch.tensor(tails).to(self.begin).unbind(1)

    def fit_raw(self, x: Tensor, y: Tensor) -> None:
        """Grow the trees as ``fit`` does, but fit no tails."""
        self._grown(x, y)

    def fit_units(self, raw: Tensor) -> None:
        """Fit the tails on the log-odds, (n, G), of benign rows that the trees have not seen."""
        odds = raw.double().cpu().numpy()
        tails = [self._tail_of(column) for column in odds.T] if odds.shape[1] > 1 else [(0.0, 1.0)]
        self.begin, self.excess = torch.tensor(tails).to(self.begin).unbind(1)

    def _grown(self, x: Tensor, y: Tensor) -> tuple[NDArray[np.float32], NDArray[np.bool_], list[NDArray[np.bool_]]]:
        """Grow and keep the trees; return their rows, a mask of the attacks, and the mask of each set of trees."""
        rows = draw_with_attacks(y, self.max_rows, self.attack_share, self.seed)
        values, number = x[rows].float().cpu().numpy(), y[rows].cpu().numpy()
        attack = number != 0
        if attack.all() or not attack.any():
            absent = "benign records" if attack.any() else "seen attacks"
            raise TrainingError(
                f"detector boosting: it tells seen attacks from benign records, but there are no {absent} among the "
                f"{len(attack)} training records; check ingest.path and preprocess.unseen, or set stage2.head=none"
            )
        groups, rows_in_bins = self._groups(number), binned(values)
        sets = [~attack | group for group in groups]
        grown = list(in_order(lambda kept: self._grow(rows_in_bins, attack, kept), sets, cores()))
        for name, array in packed([tree for each in grown for tree in each.trees]).items():
            setattr(self, name, torch.from_numpy(array).to(getattr(self, name)))
        self.depth.fill_(max(each.depth for each in grown))
        self.start = torch.tensor([each.start for each in grown]).to(self.start)
        self.begin, self.excess = torch.zeros_like(self.start), torch.ones_like(self.start)
        return values, attack, groups

    def _groups(self, number: NDArray[Any]) -> list[NDArray[np.bool_]]:
        """(n,) mask of the attacks of each set of trees; the set of all attacks, if there is one, comes first."""
        numbers, counts = np.unique(number[number != 0], return_counts=True)
        small = np.isin(number, numbers[counts < self.least])
        large = [number == family for family in numbers[counts >= self.least]]
        groups = large + [small] * bool(small.any())
        if self.families == "together" or len(groups) == 1:
            return [number != 0]
        return groups if self.families == "each" else [number != 0, *groups]

    def _grow(self, rows: Binned, attack: NDArray[np.bool_], kept: NDArray[np.bool_]) -> Grown:
        """A set of trees for the rows that are kept, (n,), grown on one thread; several sets grow at once."""
        growth = Growth(self.trees, self.leaves, self.learning_rate, self.share, self.l2, self.seed, self.sample)
        return grow(rows.part(kept), attack[kept], growth)

    def _tails(
        self, values: NDArray[np.float32], attack: NDArray[np.bool_], groups: list[NDArray[np.bool_]]
    ) -> list[tuple[float, float]]:
        """``_tail_of`` the log-odds of benign rows by each set of trees, grown without them part by part."""
        benign = int((~attack).sum())
        part = np.random.default_rng(self.seed).integers(self.parts, size=benign)
        order = np.argsort(attack, kind="stable")  # benign rows come first
        values, attack, known = values[order], attack[order], np.concatenate([part, np.full(len(attack) - benign, -1)])
        rows, numbers = binned(values), np.unique(part)

        def tail(group: NDArray[np.bool_]) -> tuple[float, float]:
            odds = []
            for left_out in (known == number for number in numbers):
                kept = ~attack & (~left_out | (len(numbers) == 1))  # a single part cannot be left out
                fewer = float(np.log(kept.sum() / benign))  # fewer benign rows raise the odds of an attack
                odds.append(self._grow(rows, attack, kept | group[order]).odds(values[left_out]) + fewer)
            return self._tail_of(np.concatenate(odds))

        return list(in_order(tail, groups, cores()))

    def _tail_of(self, odds: NDArray[np.float64]) -> tuple[float, float]:
        """Where the tail of log-odds, (n,), begins, and their mean excess above that."""
        begin = float(np.quantile(odds, self.quantile))
        above = odds[odds > begin]
        return begin, max(float((above - begin).mean()), LEAST_EXCESS) if above.size else 1.0

    def _formed(self, arrays: Stored) -> BoostingForm:
        return BoostingForm.of(arrays, self.features, families=self.families, quantile=self.quantile, least=self.least)
