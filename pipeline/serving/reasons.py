"""Why a model raised an alert: which score and which features drove it, in raw units beside what is usual.

::

    syn_flag_count 43; 98 of 100 benign records: 0 to 2
    ports asked 98 in 5 s by this source; 98 of 100 benign records: 0 to 3

A feature counts for as much as the score falls if that feature alone takes the value of the most similar benign
records, of which the bundle keeps a few; see ``pipeline.evaluation.attribution``. What the hosts of a record did before
counts for as much as the score falls without it, and each fact of it for its part; see ``context_facts``.

The kind of an alert is coarse, so that alerts of one cause have the same: what its strongest reasons are about, such as
``port``, ``flags``, ``timing`` or ``source ports``. It does not depend on how many reasons are asked for.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import ArtifactError
from pipeline.base.samples import CONTEXT
from pipeline.datasets.labels import family
from pipeline.evaluation.replacement import Scoring, nearest, referred
from pipeline.serving import attacks, record_columns
from pipeline.serving.alerts.schema import Reason
from pipeline.serving.bundle import Bundle
from pipeline.serving.causes import LEAST_SHARE, MOST, Cause, Context, Explained, kind_of, strongest
from pipeline.serving.context_facts import Facts
from pipeline.serving.families import OTHERS, Families
from pipeline.serving.kept_records import Kept
from pipeline.serving.named_features import NamedFeatures
from pipeline.serving.quantities import quantity_of
from pipeline.serving.record_columns import Records

Floats = NDArray[np.float64]

_LAST: Final[deque["Explainer"]] = deque(maxlen=2)

TRIED: Final = 16  # features that are tried where each costs a score: those that differ most from similar records


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
        self.families = Families.of(bundle)

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        """That of a model; the last two are kept, for a scorer that explains a few alerts at a time.

        Raises:
            ArtifactError: the model keeps no benign records to compare with.
        """
        for each in _LAST:
            if each.bundle is bundle and isinstance(each, cls):
                return each
        made = cls(bundle)
        _LAST.append(made)
        return made

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
        given, like, reference = self._compared(records)
        if not len(given.x):
            return []
        tried = reference if self.scoring.replaced is not None else few(given.x, reference)
        scores = self._scores(given.x, context) if scores is None else scores
        fall = self.scoring.falls(given.x, tried, scores)
        shares = self.scoring.shares_of(scores)
        whole = self._whole(scores, like)
        picked = self._named(given, like, fall / whole[:, None])
        facts = Facts.of(self.bundle, self.scoring, scores, context, shares)
        features = picked.causes(fall, max(most, MOST))
        found = [each + facts(row, whole[row]) for row, each in enumerate(features)]
        kinds = [kind_of(strongest(each, MOST, LEAST_SHARE)) for each in found]
        return self._said(given, like, shares, kinds, [strongest(each, most, least_share) for each in found])

    def told(self, records: Records, features: Sequence[Sequence[str]]) -> list[list[Reason]]:
        """What n records have of features that are named for each, in raw units beside what is usual.

        No score is computed, so they explain a share of 0.

        Raises:
            SchemaError: a column is missing.
            DataError: a column holds what it should not.
        """
        given, like, _ = self._compared(records)
        picked = self._named(given, like, np.zeros(given.x.shape))
        place = {name: number for number, name in enumerate(self.bundle.features.columns)}
        return [[picked.cause(row, place[name], 0.0).reason for name in names] for row, names in enumerate(features)]

    def _compared(self, records: Records) -> tuple[Kept, NDArray[np.intp], NDArray[np.float32]]:
        """N records and their features, (n, k) the most similar benign ones, and (n, F) the medians of these."""
        given = Kept.of(self.bundle, record_columns.table(self.bundle.columns, records))
        return given, *referred(self.benign.x, given.x)

    def _named(self, given: Kept, like: NDArray[np.intp], share: Floats) -> NamedFeatures:
        return NamedFeatures(self.bundle.features.columns, self.quantities, given, self.benign, like, share)

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
        given: Kept,
        like: NDArray[np.intp],
        shares: Mapping[str, Floats],
        kinds: Sequence[str],
        causes: list[tuple[Cause, ...]],
    ) -> list[Explained]:
        drivers = np.array([*shares.values()])
        best, names = drivers.argmax(0), [*shares]
        attack = None if self.attacks is None else nearest(self.attacks.x, given.x, 1)[:, 0]
        families = None if self.families is None else self.families.probabilities(given.x)
        return [
            Explained(
                names[best[row]],
                float(drivers[best[row], row]),
                kinds[row],
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
        if self.families is None or families is None:
            return nearest_one, None
        best = int(families[row].argmax())
        name = self.families.names[best]
        is_small = nearest_one is not None and nearest_one not in self.families.names
        return (nearest_one if name == OTHERS and is_small else name), float(families[row, best])


def few(x: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float32]:
    """Reference values of the features that differ most from them; the others keep the value that they have."""
    apart = np.abs(x - reference)
    if apart.shape[1] <= TRIED:
        return reference
    edge = -np.partition(-apart, TRIED - 1, axis=1)[:, TRIED - 1 : TRIED]
    return np.where(apart >= edge, reference, x)
