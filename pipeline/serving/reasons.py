"""Why a model raised an alert: which score and which features drove it, in raw units beside what is usual.

::

    syn_flag_count 43; 98 of 100 benign records: 0 to 2
    ports asked 98 in 5 s by this source; 98 of 100 benign records: 0 to 3

A feature counts for as much as the score falls if that feature alone takes the value of the most similar benign
records, of which the bundle keeps a few; see ``pipeline.evaluation.attribution``. What the hosts of a record did before
counts for as much as the score falls without it, and each fact of it for its part; see ``context_facts``.

The kind of an alert is coarse, so that alerts of one cause have the same: what its strongest reasons are about, such as
``port``, ``flags``, ``timing`` or ``source ports``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from pipeline.base.errors import ArtifactError
from pipeline.base.samples import CONTEXT
from pipeline.datasets.labels import family
from pipeline.evaluation.attribution import Scoring, nearest, referred
from pipeline.models.detectors.boosting import Boosting
from pipeline.models.detectors.folds import Folds
from pipeline.preprocessing.context.past import Matrix
from pipeline.serving import attacks, benign, bundle_parts, context_facts, record_columns
from pipeline.serving.alerts.schema import Reason
from pipeline.serving.bundle import Bundle
from pipeline.serving.context_facts import Fact
from pipeline.serving.quantities import Quantity, quantity_of
from pipeline.serving.record_columns import Records
from pipeline.serving.usual import Usual, sentence

Floats = NDArray[np.float64]

MOST: Final = 5  # reasons of an alert
FEWEST: Final = 2
LEAST_SHARE: Final = 0.05  # that a reason beyond these explains
TRIED: Final = 16  # features that are tried where each costs a score: those that differ most from similar records
OTHERS: Final = "others"  # families that are too small for trees of their own


@dataclass(frozen=True)
class Cause:
    """One reason of one alert.

    Attributes:
        reason: in raw units.
        theme: what it is about, coarsely.
        similar: what similar benign records have: the median of numbers, the commonest of words; None of a context.
        fall: how far the fused score falls without it.
    """

    reason: Reason
    theme: str
    similar: float | str | None
    fall: float


@dataclass(frozen=True)
class Explained:
    """Why one record got its score.

    Attributes:
        driver: the score with the largest share in the fused one: ``margin``, ``detector``, ``head`` or ``context``.
        driver_share: its share, from 0 to 1.
        kind: what the strongest reasons are about.
        family: of attacks that it is most like; None where the model knows none.
        family_probability: by the head, as if benign records and these attacks were as frequent as in training; None
            without a head that tells families apart.
        causes: the strongest first.
        similar_benign: id of the most similar benign record that the model keeps.
        similar_attack: id of the most similar attack; None where it keeps none.
        similar_attack_name: of that.
    """

    driver: str
    driver_share: float
    kind: str
    family: str | None
    family_probability: float | None
    causes: tuple[Cause, ...]
    similar_benign: int
    similar_attack: int | None
    similar_attack_name: str | None


@dataclass(frozen=True)
class Context:
    """What the hosts of n records did before.

    Attributes:
        score: (n,) of it, NaN where a record has none.
        x: (n, F) the facts; None where only the score is known.
    """

    score: NDArray[Any]
    x: Matrix | None = None

    def take(self, rows: NDArray[np.intp]) -> "Context":
        """Those of some of the records."""
        return Context(self.score[rows], None if self.x is None else self.x[rows])


def scoring_of(bundle: Bundle) -> Scoring:
    """The decision rule of a model in two halves: features to its scores, and these to one; without any context."""
    calibration, model = bundle.calibration, bundle.model

    def scores(x: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
        return dict(zip(calibration.surprisals, model.scores(x).T.astype(np.float64), strict=False))

    quick = model.replaced if model.replaces_quickly else None
    return Scoring(scores, lambda given: calibration.score(*given.values()), quick)


class Explainer:
    """Explains the scores of one model.

    Args:
        bundle: the model.

    Raises:
        ArtifactError: it keeps no benign records to compare with.
    """

    def __init__(self, bundle: Bundle) -> None:
        known = bundle.benign()
        if known is None:
            raise ArtifactError(
                "this model keeps no benign records to compare an alert with, as it was registered by an older "
                "version; train it again: flowsculpt train"
            )
        self.bundle, self.scoring = bundle, scoring_of(bundle)
        self.benign = Kept.of(bundle, known)
        seen = bundle.attacks()
        self.attacks = None if seen is None else Kept.of(bundle, seen)
        self.names = [] if seen is None else seen.column(attacks.ATTACK).to_pylist()
        self.quantities = [quantity_of(feature, bundle.features) for feature in bundle.features.columns]
        self._usual: dict[Quantity, Usual] = {}

    def explain(
        self,
        records: Records,
        context: Context | None = None,
        most: int = MOST,
        least_share: float = LEAST_SHARE,
        scores: Mapping[str, NDArray[Any]] | None = None,
    ) -> list[Explained]:
        """Why each of n records got its score, in their order.

        Args:
            records: as ``Bundle.predict`` takes them.
            context: what their hosts did before, where it is known.
            most: reasons of each.
            least_share: that a reason explains, beyond the first ``FEWEST``.
            scores: (n,) of the records by their names, as a ``Prediction`` has them, where they are known.

        Raises:
            SchemaError: a column is missing.
            DataError: a column holds what it should not.
        """
        table = record_columns.table(self.bundle.columns, records)
        if not table.num_rows:
            return []
        given = Kept.of(self.bundle, table)
        like, reference = referred(self.benign.x, given.x)
        tried = reference if self.scoring.replaced is not None else _few(given.x, reference)
        scores = self._scores(given.x, context) if scores is None else scores
        fall = self.scoring.falls(given.x, tried, scores)
        shares = self.scoring.shares_of(scores)
        whole = self._whole(scores, like)
        picked = _Picked(self, given, like, fall / whole[:, None])
        facts = _Facts.of(self.bundle, self.scoring, scores, context, shares)
        found = [picked.causes(row, fall, most) + facts(row, whole[row]) for row in range(table.num_rows)]
        return self._said(given, like, shares, [_strongest(each, most, least_share) for each in found])

    def told(self, records: Records, features: Sequence[Sequence[str]]) -> list[list[Reason]]:
        """What n records have of features that are named for each, in raw units beside what is usual.

        No score is computed, so they explain a share of 0.

        Raises:
            SchemaError: a column is missing.
            DataError: a column holds what it should not.
        """
        table = record_columns.table(self.bundle.columns, records)
        if not table.num_rows:
            return []
        given = Kept.of(self.bundle, table)
        like, _ = referred(self.benign.x, given.x)
        picked = _Picked(self, given, like, np.zeros(given.x.shape))
        place = {name: number for number, name in enumerate(self.bundle.features.columns)}
        return [[picked.cause(row, place[name], 0.0).reason for name in names] for row, names in enumerate(features)]

    def usual(self, quantity: Quantity) -> Usual:
        """What the benign records have of a quantity."""
        if quantity not in self._usual:
            self._usual[quantity] = Usual.of(quantity, quantity.values(self.benign.columns))
        return self._usual[quantity]

    def _scores(self, x: NDArray[np.float32], context: Context | None) -> dict[str, NDArray[Any]]:
        scores = {name: np.asarray(each) for name, each in self.scoring.scores(x).items()}
        if CONTEXT in self.bundle.calibration.surprisals:
            scores[CONTEXT] = np.full(len(x), np.nan) if context is None else np.asarray(context.score, np.float64)
        return scores

    def _whole(self, scores: Mapping[str, NDArray[Any]], like: NDArray[np.intp]) -> Floats:
        """(n,) how far the score lies above those of the most similar benign records, (n, k); at least a trace.

        That is what there is to explain. Their contexts count as usual.
        """
        rows, places = np.unique(like, return_inverse=True)
        usual = {name: np.asarray(each) for name, each in self.scoring.scores(self.benign.x[rows]).items()}
        usual = {name: np.median(each[places.reshape(like.shape)], axis=1) for name, each in usual.items()}
        if CONTEXT in scores:
            usual[CONTEXT] = np.where(np.isnan(scores[CONTEXT]), np.nan, -np.inf)
        whole: Floats = (self.scoring.fused(scores) - self.scoring.fused(usual)).clip(1e-9)
        return whole

    def _said(
        self,
        given: "Kept",
        like: NDArray[np.intp],
        shares: Mapping[str, Floats],
        causes: list[tuple[Cause, ...]],
    ) -> list[Explained]:
        drivers = np.array([*shares.values()])
        best, names = drivers.argmax(0), [*shares]
        attack = None if self.attacks is None else nearest(self.attacks.x, given.x, 1)[:, 0]
        families = self._families(given.x)
        return [
            Explained(
                names[best[row]],
                float(drivers[best[row], row]),
                _kind(why),
                *self._family(row, families, attack),
                why,
                int(self.benign.ids[like[row, 0]]),
                None if attack is None or self.attacks is None else int(self.attacks.ids[attack[row]]),
                None if attack is None else self.names[attack[row]],
            )
            for row, why in enumerate(causes)
        ]

    def _family(
        self, row: int, families: Floats | None, attack: NDArray[np.intp] | None
    ) -> tuple[str | None, float | None]:
        nearest_one = None if attack is None else family(self.names[attack[row]])
        if families is None:
            return nearest_one, None
        best = int(families[row].argmax())
        name = self.families[best]
        return (nearest_one if name == OTHERS else name), float(families[row, best])

    def _families(self, x: NDArray[np.float32]) -> Floats | None:
        """(n, G) probability of each family that the head knows; None where it tells none apart.

        Each set of trees tells one family from benign records: its odds are those of the family against benign. So with
        all of them p_f = odds_f / (1 + sum over g of odds_g).
        """
        head = self.bundle.model.head
        if not isinstance(head, Boosting | Folds) or not self.families:
            return None
        with torch.inference_mode():
            odds = head.raw(torch.from_numpy(x)).double().cpu().numpy()[:, -len(self.families) :]
        top = np.maximum(odds.max(1, keepdims=True), 0)
        parts = np.exp(odds - top)
        found: Floats = parts / (np.exp(-top) + parts.sum(1, keepdims=True))
        return found

    @cached_property
    def families(self) -> list[str]:
        """The families that the head has trees for, in their order; none where it tells none apart."""
        head = self.bundle.model.head
        one = head.models[0] if isinstance(head, Folds) else head
        about, _ = bundle_parts.decoded(Path("head"), self.bundle.sealed.files, "head")
        counts = about.get("families", {})
        if not isinstance(one, Boosting) or one.families == "together":
            return []
        large = [name for name in sorted(counts) if counts[name] >= one.least]
        small = [name for name in counts if counts[name] < one.least]
        names = [*large, *([] if not small else small if len(small) == 1 else [OTHERS])]
        sets = len(one.start) - (one.families == "both" and len(one.start) > 1)
        return names if len(names) == sets else []


@dataclass(frozen=True)
class Kept:
    """n records, raw and as features.

    Attributes:
        ids: (n,) of them; zeros where they have none.
        columns: raw column -> (n,) values.
        x: (n, F) features.
    """

    ids: NDArray[np.uint64]
    columns: Mapping[str, NDArray[Any]]
    x: NDArray[np.float32]

    @classmethod
    def of(cls, bundle: Bundle, table: pa.Table) -> "Kept":
        """Those of a table that holds the columns of a model."""
        has_ids = benign.ID in table.column_names
        ids = table.column(benign.ID).to_numpy() if has_ids else np.zeros(table.num_rows, np.uint64)
        columns = dict(record_columns.arrays(bundle.columns, table))
        mapped = bundle.features.map(columns)
        return cls(ids, columns, np.stack([mapped[name] for name in bundle.features.columns], axis=1))


class _Picked:
    """The features of n records that are named, and what the records have there.

    Args:
        explainer: of the model.
        given: the records.
        like: (n, k) the most similar benign records.
        share: (n, F) of the surprise that each feature explains.
    """

    def __init__(self, explainer: Explainer, given: Kept, like: NDArray[np.intp], share: Floats) -> None:
        self.explainer, self.given, self.like, self.share = explainer, given, like, share
        self._values: dict[Quantity, tuple[list[Any], NDArray[Any]]] = {}

    def causes(self, row: int, fall: Floats, most: int) -> list[Cause]:
        """The ``most`` features whose replacement lets the score of a record fall most, each column once."""
        found: dict[str, Cause] = {}
        for place in np.argsort(-fall[row], kind="stable").tolist():
            quantity = self.explainer.quantities[place]
            if quantity.name not in found:
                found[quantity.name] = self.cause(row, place, float(fall[row, place]))
            if len(found) == most:
                break
        return [*found.values()]

    def cause(self, row: int, place: int, fall: float) -> Cause:
        """One feature of one record, by its place, with the fall of the score."""
        quantity = self.explainer.quantities[place]
        own, theirs = self._columns(quantity)
        value, usual = own[row], self.explainer.usual(quantity)
        similar = _middle(theirs[self.like[row]])
        is_word = isinstance(value, str)
        reason = Reason(
            self.explainer.bundle.features.columns[place],
            None if is_word or not np.isfinite(value) else float(value),
            value if is_word else None,
            quantity.unit,
            usual.low,
            usual.high,
            usual.text,
            float(np.clip(self.share[row, place], 0, 1)),
            sentence(quantity, usual, value, similar),
        )
        return Cause(reason, quantity.theme, similar, fall)

    def _columns(self, quantity: Quantity) -> tuple[list[Any], NDArray[Any]]:
        """What the records have of a quantity, and what the benign records have."""
        if quantity not in self._values:
            own, theirs = (quantity.values(each) for each in (self.given.columns, self.explainer.benign.columns))
            self._values[quantity] = (own.tolist(), theirs)
        return self._values[quantity]


@dataclass(frozen=True)
class _Facts:
    """The facts of the contexts of n records, with what they explain.

    Attributes:
        facts: the F columns of contexts.
        x: (n, F); None where no facts are known.
        rise: (n, F) see ``context_facts.rises``.
        fall: (n,) how far the score falls without the context.
        low, high: (F,) what is usual, or None.
    """

    facts: tuple[Fact, ...] = ()
    x: Matrix | None = None
    rise: Floats | None = None
    fall: Floats | None = None
    low: Matrix | None = None
    high: Matrix | None = None

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        scoring: Scoring,
        scores: Mapping[str, NDArray[Any]],
        context: Context | None,
        shares: Mapping[str, Floats],
    ) -> "_Facts":
        """Those of records with these scores."""
        past = bundle.looks_back
        if past is None or context is None or context.x is None or CONTEXT not in bundle.calibration.used:
            return cls()
        known = np.isfinite(context.score) & (shares[CONTEXT] > 0)
        rise = np.zeros(context.x.shape)
        if known.any():
            rise[known] = context_facts.rises(past, bundle.calibration, context.x[known])
        silent = {**scores, CONTEXT: np.where(np.isnan(scores[CONTEXT]), np.nan, -np.inf)}
        fall = scoring.fused(scores) - scoring.fused(silent)
        usual = (past.usual.get("low"), past.usual.get("high"))
        return cls(tuple(Fact.of(name) for name in past.columns), context.x, rise, fall, *usual)

    def __call__(self, row: int, whole: float, most: int = 3) -> list[Cause]:
        """The strongest facts of a record; ``whole`` is how far its score falls if all is as usual."""
        if self.x is None or self.rise is None or self.fall is None:
            return []
        rise = self.rise[row]
        chosen = context_facts.strongest(self.facts, rise, most)
        parts = rise[chosen] / max(float(rise[chosen].sum()), 1e-12) if chosen else rise[:0]
        return [
            self._cause(row, place, float(self.fall[row] * part), whole)
            for place, part in zip(chosen, parts.tolist(), strict=True)
        ]

    def _cause(self, row: int, place: int, fall: float, whole: float) -> Cause:
        assert self.x is not None
        fact = self.facts[place]
        value = fact.raw(float(self.x[row, place]))
        low, high = (None if each is None else fact.raw(float(each[place])) for each in (self.low, self.high))
        usual = "" if low is None or high is None else fact.usual(low, high)
        share = float(np.clip(fall / whole, 0, 1))
        text = fact.sentence(value, low, high)
        reason = Reason(fact.name, value, None, fact.unit, low, high, usual, share, text)
        return Cause(reason, context_facts.theme(fact), None, fall)


def _few(x: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reference values of the features that differ most from them; the others keep the value that they have."""
    apart = np.abs(x - reference)
    if apart.shape[1] <= TRIED:
        return reference
    edge = -np.partition(-apart, TRIED - 1, axis=1)[:, TRIED - 1 : TRIED]
    return np.where(apart >= edge, reference, x)


def _strongest(causes: list[Cause], most: int, least_share: float) -> tuple[Cause, ...]:
    """The causes that explain most, in their order."""
    order = sorted(causes, key=lambda cause: -cause.fall)[:most]
    return tuple(each for place, each in enumerate(order) if place < FEWEST or each.reason.share >= least_share)


def _kind(causes: tuple[Cause, ...]) -> str:
    """The theme that explains most."""
    shares: dict[str, float] = {}
    for cause in causes:
        shares[cause.theme] = shares.get(cause.theme, 0.0) + cause.reason.share
    return max(shares, key=lambda theme: shares[theme], default="")


def _middle(values: NDArray[Any]) -> float | str:
    if values.dtype == object:
        names, counts = np.unique(values.astype(str), return_counts=True)
        return str(names[counts.argmax()])
    finite = np.sort(values[np.isfinite(values)])
    return float(finite[len(finite) // 2]) if finite.size else float(values[0])
