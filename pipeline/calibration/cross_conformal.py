"""Cross-conformal calibration: every benign record sets the threshold, scored by a model that has not seen it.

Benign records are dealt into K folds by a hash of what the models see of them, so that copies share a fold. Model k is
fitted on the records outside of fold k. A new record has a fold too, by the same hash, and only the model of that fold
scores it. So no record is ever scored by a model that has seen it or a copy of it. The p-value compares the score with
those of all n benign records::

    p(x) = (1 + #{i: s_i >= s(x)}) / (n + 1)

Vovk's cross-conformal predictor compares x with the records of each fold by the model of that fold, and adds the
counts. A mean of several p-values is seldom small, so that fewer benign records than promised would raise an alarm, and
K models would have to score each record. For the form here, and a benign record that is exchangeable with the n:

- P(p <= a) <= a exactly, if the models of the other folds, and the tails that make one score of several, were fitted on
  x too. They differ from those that were by one record of many. Where one more record in a fit only lowers the scores
  of others, as it does for the distance to the nearest neighbour at a fixed scale, P(p <= a) <= a for the models as
  they are.
- P(p <= a) <= a (n + 1) / (m + 1) whatever the models are, for m records in the smallest fold: about K a
  (``worst_factor``). Proof: the records of its own fold that score as high as x are some of all that do, and among the
  records of its own fold x has a split-conformal p-value. The scales of the features and the tails of the scores are
  taken as given, although they are read from all n records.

The second bound is weaker than that of split conformal prediction, a, and than that of Vovk's form, 2 a + 2 K / n.

Sources: Vovk, "Cross-conformal predictors" (Annals of Mathematics and Artificial Intelligence, 2015); Barber, Candes,
Ramdas, Tibshirani, "Predictive inference with the jackknife+" (Annals of Statistics, 2021), section 2.3, on models that
one record hardly changes.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import SplitError
from pipeline.base.samples import row_hash, transposed

OUT_OF_FOLD: Final = "out_of_fold"  # samples beside the splits: the benign records, by models that have not seen them


IN_EVERY_MODEL: Final = -1  # in place of a fold: a record that every model is fitted on, and that sets no threshold


def worst_factor(fold: NDArray[np.int64]) -> float:
    """How many times as often as a level says benign records may be at it, whatever the models; ``fold`` is (n,)."""
    counted = fold[fold != IN_EVERY_MODEL]
    return (len(counted) + 1) / (int(np.bincount(counted).min()) + 1)


def route(x: NDArray[np.float32], folds: int, seed: int = 0) -> NDArray[np.int64]:
    """(n,) fold of each row of x, (n, F): a hash of the row, so that it depends on nothing else."""
    hashed = row_hash([*transposed(x), np.full(len(x), seed)])
    return (hashed % np.uint64(folds)).astype(np.int64)


def deal(x: NDArray[np.float32], together: Sequence[NDArray[Any]], folds: int, seed: int = 0) -> NDArray[np.int64]:
    """(n,) fold of each benign record: that of ``route``, or one for all records that share a value of ``together``.

    Args:
        x: (n, F) what the models see; copies share a fold.
        together: (n,) each: other values whose records share a fold, such as hosts.
        folds: K.
        seed: of the draw.

    Raises:
        SplitError: there are fewer than 2 folds, or one would be empty.
    """
    if folds < 2:
        raise SplitError(f"calibration: {folds} fold leaves no record out; allowed are 2 or more, or kind: split")
    fold = route(x, folds, seed)
    if together:
        group = _groups([row_hash([*transposed(x)]), *together])
        fold = _even(group, folds, seed)
    empty = folds - len(np.unique(fold))
    if empty:
        raise SplitError(
            f"calibration: {len(x):,} benign records leave {empty} of {folds} folds empty, as copies "
            f"{'and groups ' if together else ''}share one; lower stage2.calibration.folds, or give more records"
        )
    return fold


def _even(group: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """(n,) fold of each record; the largest groups first, each into the fold with the fewest records so far."""
    sizes = np.bincount(group)
    drawn = np.random.default_rng(seed).permutation(len(sizes))
    of_group, filled = np.empty(len(sizes), np.int64), np.zeros(folds, np.int64)
    for each in drawn[np.argsort(-sizes[drawn], kind="stable")]:
        of_group[each] = filled.argmin()
        filled[of_group[each]] += sizes[each]
    return of_group[group]


def _groups(units: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    """(n,) number of the group of each record: the connected parts of records that share a value of any unit."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n, edges, nodes = len(units[0]), [], len(units[0])
    for unit in units:
        values, code = np.unique(unit, return_inverse=True)
        edges.append(np.stack([np.arange(n), nodes + code]))
        nodes += len(values)
    rows, columns = np.concatenate(edges, axis=1)
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(nodes, nodes))
    group: NDArray[np.int64] = np.unique(connected_components(graph, directed=False)[1][:n], return_inverse=True)[1]
    return group
