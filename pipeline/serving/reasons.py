"""Why a model raised an alert: which score and which features drove it, beside what similar benign records have.

The reasons are those of ``pipeline.evaluation.attribution``: a feature counts for as much as the score falls if that
feature alone takes the value of the most similar benign records, of which the bundle keeps a few.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.base.errors import ArtifactError
from pipeline.base.samples import CONTEXT, Samples
from pipeline.calibration.calibration import Calibration
from pipeline.evaluation.attribution import Explanation, Scoring, explain
from pipeline.preprocessing.derived import DERIVED
from pipeline.preprocessing.features import Features
from pipeline.preprocessing.frequency import FREQUENCY
from pipeline.serving import benign, record_columns
from pipeline.serving.bundle import Bundle
from pipeline.serving.record_columns import Records

UNDEFINED = "_undefined"  # behind the column of which a feature says whether it is one


@dataclass(frozen=True)
class Reason:
    """One feature of one alert.

    Attributes:
        row: of the record among those that were asked for, from 0.
        driver: the score with the largest share in the fused one: ``margin``, ``detector``, ``head`` or ``context``.
        share: its share, from 0 to 1.
        rank: of the feature, from 1.
        feature: its name.
        value: what the record has, as it was recorded.
        benign: what similar benign records have: the median of numbers, the commonest of words.
        fall: how far the fused score falls if the feature alone takes their value.
    """

    row: int
    driver: str
    share: float
    rank: int
    feature: str
    value: float | str
    benign: float | str
    fall: float


def scoring_of(bundle: Bundle) -> Scoring:
    """The decision rule of a model in two halves: features to its scores, and these to one; without any context."""
    calibration = bundle.calibration

    def scores(x: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        return dict(zip(calibration.surprisals, bundle.model.scores(x).T.astype(np.float64), strict=False))

    return Scoring(scores, lambda given: calibration.score(*given.values()))


def shares_of(calibration: Calibration, scores: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """(n,) share of each score in the fused one, of n records with these scores, contexts among them."""
    n = len(next(iter(scores.values())))
    whole = Scoring(lambda _: scores, lambda given: calibration.score(*given.values()))
    return whole.shares(np.zeros((n, 0), np.float32))


def with_shares(found: Sequence[Explanation], shares: Mapping[str, NDArray[np.float64]]) -> list[Explanation]:
    """The explanations of n records with other shares of their scores, (n,) each."""
    return [
        replace(each, shares={name: float(share[row]) for name, share in shares.items()})
        for row, each in enumerate(found)
    ]


def reasons(
    bundle: Bundle, records: Records, top: int = 5, context: NDArray[np.floating[Any]] | None = None
) -> list[Reason]:
    """The ``top`` features that drove the score of each record, record by record, the strongest first.

    Args:
        bundle: the model.
        records: n records, as ``Bundle.predict`` takes them.
        top: features that are named for each, at least 1.
        context: (n,) scores of their contexts, as ``Bundle.predict`` takes them; it may be what drove a score, and has
            no part in the features.

    Raises:
        SchemaError: a column is missing.
        DataError: a column holds what it should not.
        ArtifactError: the model keeps no benign records.
    """
    known = bundle.benign()
    if known is None:
        raise ArtifactError(
            "this model keeps no benign records to compare an alert with, as it was registered by an older version; "
            "train it again: flowsculpt train"
        )
    table = record_columns.table(bundle.columns, records)
    alerts = _samples(bundle, table, np.arange(table.num_rows, dtype=np.uint64))
    ids = known.column(benign.ID).to_numpy()
    found = explain(alerts, _samples(bundle, known, ids), scoring_of(bundle), top=top)
    if CONTEXT in bundle.calibration.used and context is not None and found:
        scores = {name: np.asarray(score) for name, score in scoring_of(bundle).scores(alerts.x).items()}
        scores[CONTEXT] = np.asarray(context, dtype=np.float64)
        found = with_shares(found, shares_of(bundle.calibration, scores))
    place = {record_id: row for row, record_id in enumerate(ids.tolist())}
    given, theirs = (dict(record_columns.arrays(bundle.columns, each)) for each in (table, known))
    return [
        reason
        for row, each in enumerate(found)
        for reason in _of_one(row, each, bundle.features, given, theirs, [place[one] for one in each.references])
    ]


def _samples(bundle: Bundle, table: pa.Table, ids: NDArray[np.uint64]) -> Samples:
    n = table.num_rows
    names, ones = np.full(n, "benign", dtype=object), np.ones(n, np.float32)
    return Samples(ids, np.zeros(n, np.int8), names, ones, ones.astype(bool), bundle.x(table), bundle.features.columns)


def _of_one(
    row: int,
    explanation: Explanation,
    features: Features,
    given: Mapping[str, NDArray[Any]],
    theirs: Mapping[str, NDArray[Any]],
    similar: list[int],
) -> list[Reason]:
    driver = max(explanation.shares, key=lambda name: explanation.shares[name])
    own = {name: values[[row]] for name, values in given.items()}
    others = {name: values[similar] for name, values in theirs.items()}
    return [
        Reason(
            row,
            driver,
            explanation.shares[driver],
            rank,
            part.feature,
            _middle(_recorded(part.feature, features, own)),
            _middle(_recorded(part.feature, features, others)),
            part.contribution,
        )
        for rank, part in enumerate(explanation.features, 1)
    ]


def _recorded(feature: str, features: Features, columns: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """(n,) what a feature was made of: a recorded value, a word, or what is derived from several columns."""
    name = feature.removesuffix(FREQUENCY) if feature.removesuffix(FREQUENCY) in features.rarities else feature
    name = name if name in columns or name in DERIVED else name.removesuffix(UNDEFINED)
    if name in DERIVED:
        with np.errstate(all="ignore"):
            return DERIVED[name].formula(*(columns[need] for need in DERIVED[name].needs))
    if name not in columns:  # a word has a feature for itself, behind the name of its column
        name = max((word for word in features.words if name.startswith(word)), key=len)
    return columns[name]


def _middle(values: NDArray[Any]) -> float | str:
    if values.dtype == object:
        names, counts = np.unique(values.astype(str), return_counts=True)
        return str(names[counts.argmax()])
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else float(values[0])
