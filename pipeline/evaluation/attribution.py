"""Why a record got its score: which stage drove it, and which features.

Two accounts of the features, both against benign records that look like the alert:

replacement   how far the fused score falls if one feature takes its benign value, for any encoder, detector and fusion
terms         what each entry of the detector's own input adds to its score, where ``Detector.terms`` knows it

The first changes one feature at a time. If two features carry the same information, replacing one of them may change
nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError, SplitError
from pipeline.base.samples import Samples
from pipeline.evaluation.replacement import Floats, Given, Rows, Scoring, referred

MOST_BENIGN: Final = 20_000  # records that an alert is compared with


class Explained(Protocol):
    """A detector that may know what its input adds to its score; each answer may be None."""

    def terms(self, x: Rows) -> NDArray[Any] | None:
        """(n, Z) of (n, Z)."""
        ...

    def nearest(self, x: Rows) -> NDArray[Any] | None:
        """(n, k) rows of what it was fitted on."""
        ...


@dataclass(frozen=True)
class Native:
    """The detector, and what leads to it.

    Attributes:
        detector: fitted on benign records.
        map: (n, F) features to (n, Z) input of the detector.
        columns: the Z names of that input.
        fitted: (m,) ids of the records that it was fitted on, in their order; None where they are the benign ones that
            alerts are compared with.
    """

    detector: Explained
    map: Callable[[Rows], Rows]
    columns: tuple[str, ...]
    fitted: NDArray[np.uint64] | None = None

    def terms(self, z: Rows) -> Floats | None:
        """(n, Z) terms of (n, Z) input, or None."""
        return self.detector.terms(np.ascontiguousarray(z, np.float32))

    def nearest(self, z: Rows) -> NDArray[Any] | None:
        """(n, k) rows of what the detector was fitted on, or None."""
        return self.detector.nearest(np.ascontiguousarray(z, np.float32))


class Part(NamedTuple):
    """What one feature has to do with a score.

    Attributes:
        feature: its name.
        value: of the record, scaled.
        reference: benign value, scaled.
        contribution: in units of the fused score for a replacement, of the detector's score for a term.
    """

    feature: str
    value: float
    reference: float
    contribution: float


@dataclass(frozen=True)
class Explanation:
    """Why a record got its score.

    Attributes:
        record_id: whose.
        score: fused.
        shares: of each score in it, of sum 1, or 0 where none raises it.
        features: by the fall of the score under replacement, the greatest first.
        terms: by the detector's own terms, the greatest first; empty where it has none.
        references: ids of the benign records whose median is the reference, the nearest first.
        neighbours: ids of the benign records that the detector compared it with, the nearest first; or empty.
    """

    record_id: int
    score: float
    shares: Mapping[str, float]
    features: tuple[Part, ...]
    terms: tuple[Part, ...]
    references: tuple[int, ...]
    neighbours: tuple[int, ...]


def explain(
    alerts: Samples,
    benign: Samples,
    scoring: Scoring,
    native: Native | None = None,
    top: int = 5,
    beside: Given | None = None,
) -> list[Explanation]:
    """Explain the scores of ``alerts``, in their order; nothing is drawn, and no model is changed.

    Args:
        alerts: what to explain, with features as x.
        benign: the benign training records, with the same features; of many, evenly spaced ones are looked at.
        scoring: the decision rule.
        native: the detector, for its own account.
        top: features that are named for each alert.
        beside: (n,) scores by their names that do not come from the features, such as that of a context.

    Raises:
        SplitError: if there are no benign records.
        DataError: if the two differ in their columns, the names of ``native`` from its input in number, or the
            detector was fitted on more benign records.
        ValueError: if ``top`` is below 1.
    """
    _check(alerts, benign, top)
    if not len(alerts):
        return []
    every = -(-len(benign) // MOST_BENIGN)
    known = benign.select(slice(None, None, every))
    like, reference = referred(known.x, alerts.x)
    given = {**scoring.scores(alerts.x), **(beside or {})}
    shares, score, fall = scoring.shares_of(given), scoring.fused(given), scoring.falls(alerts.x, reference, given)
    features = _parts(alerts.columns, alerts.x, reference, fall, top)
    terms, neighbours = _native(native, alerts.x, reference, benign, top)
    return [
        Explanation(
            int(alerts.record_id[i]),
            float(score[i]),
            {name: float(share[i]) for name, share in shares.items()},
            features[i],
            terms[i],
            tuple(known.record_id[like[i]].tolist()),
            neighbours[i],
        )
        for i in range(len(alerts))
    ]


def rows(explanations: Sequence[Explanation]) -> list[dict[str, Any]]:
    """A row for each named feature: whose, by which account, at which rank; all with the same keys.

    Ids are sixteen hexadecimal digits, several of them with spaces between.
    """
    return [
        {
            "record_id": _ids(alert.record_id),
            "score": alert.score,
            **{f"share_{name}": share for name, share in alert.shares.items()},
            "account": account,
            "rank": rank,
            **part._asdict(),
            "references": _ids(*alert.references),
            "neighbours": _ids(*alert.neighbours),
        }
        for alert in explanations
        for account, parts in (("replacement", alert.features), ("terms", alert.terms))
        for rank, part in enumerate(parts, 1)
    ]


def _check(alerts: Samples, benign: Samples, top: int) -> None:
    if top < 1:
        raise ValueError(f"top must be at least 1, not {top}")
    if not len(benign):
        raise SplitError("explanation: no benign records to compare alerts with; give it the benign training records")
    if alerts.columns != benign.columns:
        differ = sorted(set(alerts.columns) ^ set(benign.columns)) or "their order"
        raise DataError(f"explanation: the alerts and the benign records differ in their columns: {differ}")


def _native(
    native: Native | None, x: Rows, reference: Rows, benign: Samples, top: int
) -> tuple[list[tuple[Part, ...]], list[tuple[int, ...]]]:
    """The parts by the detector's own terms, and the ids of its neighbours, of each record."""
    none: list[tuple[Any, ...]] = [()] * len(x)
    if native is None:
        return none, none
    z = native.map(x)
    if z.shape[1] != len(native.columns):
        raise DataError(f"explanation: the detector's input has {z.shape[1]} columns, but {len(native.columns)} names")
    terms, found = native.terms(z), native.nearest(z)
    ids = benign.record_id if native.fitted is None else native.fitted
    if found is not None and found.max() >= len(ids):
        raise DataError(
            f"explanation: the detector was fitted on {found.max() + 1} records or more, given are {len(ids)} "
            "benign ones; give it all that it was fitted on, in their order"
        )
    parts = none if terms is None else _parts(native.columns, z, native.map(reference), terms, top)
    return parts, none if found is None else [tuple(each) for each in ids[found].tolist()]


def _parts(
    columns: tuple[str, ...], x: Rows, reference: Rows, contributions: Floats, top: int
) -> list[tuple[Part, ...]]:
    """The ``top`` greatest contributions of each record; of equal ones the first column."""
    order = np.argsort(-contributions, axis=1, kind="stable")[:, :top]
    return [
        tuple(Part(columns[j], float(x[i, j]), float(reference[i, j]), float(contributions[i, j])) for j in chosen)
        for i, chosen in enumerate(order)
    ]


def _ids(*record_ids: int) -> str:
    return " ".join(f"{record_id:016x}" for record_id in record_ids)
