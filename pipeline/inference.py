"""The one decision rule: features -> encoder -> detector (and head) -> calibrated score -> verdict.

The evaluation, the scoring of new records and the registered model all decide with ``TwoStage.judge``. What a record
gives away is its *evidence*: the margin of the first stage, the density score of the second, and where there is one the
score of a supervised head. They speak in different units, so each is first turned into its *surprise*, -log of the
share of benign calibration records that score as high; a fusion makes one score of them; thresholds and p-values are
fitted on the fused scores of the benign calibration records.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from torch import Tensor, nn

from pipeline import confidence as confidences
from pipeline.errors import ArtifactError, ConfigError, DataError, SplitError, near_miss
from pipeline.nn import in_batches
from pipeline.registry import find
from pipeline.thresholds import Percentile, Strategy, Thresholds
from pipeline.thresholds.base import without_nan
from pipeline.thresholds.percentile import percentiles as percentiles_of

Floats = NDArray[np.float64]

KNOTS: Final = 513


@dataclass(frozen=True)
class Tail:
    """Surprise of a score: -log P(a benign score is as high), continuous and strictly increasing over all reals.

    Between the knots, which are quantiles of the calibration scores, -log of the empirical survival is interpolated
    (a tie counts one half, so the survival is neither 0 nor 1). Above the last knot u, the tail is exponential::

        surprise(s) = surprise(u) + (s - u) / E[S - u | S > u]

    Below the first knot v it falls towards 0, and never rewards a benign look without bound::

        surprise(s) = surprise(v) / (1 + (v - s) / scale)

    Attributes:
        knots: (k,) ascending scores.
        surprises: (k,) surprise at each knot, ascending and positive.
        above: mean excess above the last knot, in units of the score.
        below: scale of the fall below the first knot, in units of the score.
    """

    knots: Floats
    surprises: Floats
    above: float
    below: float

    @classmethod
    def fit(cls, scores: ArrayLike, exceeding: int = 20) -> Self:
        """The tail of benign calibration scores, (n,).

        Half of the knots are even in rank, half in the logarithm of the rank from the top, so that a heavy tail is
        followed to where the scores end. The exponential begins below the ``exceeding`` highest scores, or below the
        higher half of a few. Constant scores give one knot, and their magnitude as the scale on both sides.

        Raises:
            SplitError: if there are no scores.
            DataError: if a score is NaN or infinite.
        """
        values = np.sort(_finite(scores))
        n = values.size
        tail = min(exceeding, n // 2)
        body = np.linspace(0, n - 1 - tail, KNOTS // 2 + 1)
        top = n - 1 - np.geomspace(max(n // 2, 1), max(tail, 1), KNOTS // 2)  # surprise grows by equal steps
        at = np.concatenate([body, top]).round().clip(min=0).astype(np.intp)
        knots = np.unique(values[at])
        higher = n - np.searchsorted(values, knots, side="right")
        tied = n - np.searchsorted(values, knots, side="left") - higher
        excess = values[values > knots[-1]] - knots[-1]
        varied = values[0] < values[-1]  # the deviation of a constant may be rounded to more than 0
        spread = (float(values.std()) if varied else 0.0) or max(1.0, float(np.abs(values[0])))
        above = float(excess.mean()) if excess.size else spread
        below = float(np.median(values) - values[0]) or spread
        least = 1e-9 * spread  # a scale of nearly 0 would overflow in the division
        return cls(knots, -np.log((higher + tied / 2) / n), max(above, least), max(below, least))

    def surprise(self, scores: ArrayLike) -> Floats:
        """(n,) surprise, at least 0, of ``scores``, (n,)."""
        s = np.asarray(scores, dtype=np.float64)
        first, last = self.knots[0], self.knots[-1]
        inside = np.interp(s, self.knots, self.surprises)
        over = np.maximum(s - last, 0) / self.above
        under = np.maximum(first - s, 0) / self.below
        surprise: Floats = np.where(s < first, self.surprises[0] / (1 + under), inside + over)
        return surprise


EVIDENCE: Final = ("margin", "density", "head")
"""What a record may give away, in the order in which every array and function takes it; a head is optional."""


class Evidence(NamedTuple):
    """What one of them says: its (n,) raw scores and their (n,) surprise."""

    value: Floats
    surprise: Floats


Fusion = Callable[[Mapping[str, Evidence]], Floats]
"""Evidence that counts, by its name, to (n,) fused scores."""


def fisher(evidence: Mapping[str, Evidence]) -> Floats:
    """Sum of the surprises. Source: Fisher, "Statistical Methods for Research Workers" (1925), section 21.1."""
    total: Floats = _surprises(evidence).sum(axis=0)
    return total


def highest(evidence: Mapping[str, Evidence]) -> Floats:
    """The greatest surprise; a thousandth of the others keeps the order where the greatest ones are equal."""
    surprises = _surprises(evidence)
    greatest: Floats = surprises.max(axis=0)
    rest: Floats = surprises.sum(axis=0) - greatest
    return greatest + rest / 1000


def harmonic(evidence: Mapping[str, Evidence]) -> Floats:
    """-log of the harmonic mean of the shares: between the sum and the greatest surprise, whatever depends on what.

    Source: Wilson, "The harmonic mean p-value for combining dependent tests" (PNAS, 2019), equation 1.
    """
    surprises = _surprises(evidence)
    mean: Floats = logsumexp(surprises, axis=0) - math.log(len(surprises))
    return mean


def density_alone(evidence: Mapping[str, Evidence]) -> Floats:
    """The surprise of the second stage."""
    return evidence["density"].surprise


def cascade(evidence: Mapping[str, Evidence]) -> Floats:
    """As published: the second stage's score, and one constant above all others where the first stage says attack.

    Source: Chhetri, Thapa, Chen, "Latent Sculpting" (arXiv 2512.22179, 2025): a record is anomalous where it is closer
    to the attack centroid (margin > 0) or its score exceeds the threshold. The published constant is the highest score
    of the test set plus 1; infinity takes its place, so that a score depends on its own record alone.
    """
    return np.where(evidence["margin"].value > 0, math.inf, evidence["density"].value)


def _surprises(evidence: Mapping[str, Evidence]) -> Floats:
    """(k, n) of k pieces of evidence."""
    return np.stack([each.surprise for each in evidence.values()])


FUSIONS: Final[Mapping[str, Fusion]] = {
    "fisher": fisher,
    "max": highest,
    "harmonic": harmonic,
    "density": density_alone,
    "cascade": cascade,
}
_NEEDS: Final = {"density": ("density",), "cascade": ("margin", "density")}


@dataclass(frozen=True)
class Calibration:
    """The decision on top of the evidence, fitted on benign records that no model has seen.

    Wherever ``scores`` are taken, they are those of ``EVIDENCE`` in its order: margin, density, and a head's if there
    is one, (n,) each, higher = more anomalous.

    Attributes:
        fusion: name of the fusion.
        tails: name -> tail of the evidence, all that there is.
        counted: names of the evidence that the fusion takes.
        reference: (n,) fused scores of the calibration records, ascending.
        thresholds: name -> fused score above which a record is flagged: ``p99``, ``p97`` ...
        intervals: where benign ends and anomalous begins.
    """

    fusion: str
    tails: Mapping[str, Tail]
    counted: tuple[str, ...]
    reference: Floats
    thresholds: Mapping[str, float]
    intervals: Thresholds

    @classmethod
    def fit(
        cls,
        margin: ArrayLike,
        density: ArrayLike,
        fusion: str = "fisher",
        percentiles: Sequence[float] = (99, 97, 95),
        strategy: Strategy | None = None,
        *,
        head: ArrayLike | None = None,
        counted: Sequence[str] | None = None,
    ) -> Self:
        """Calibrate on benign records.

        Args:
            margin: (n,) of the first stage, higher = more anomalous.
            density: (n,) of the second stage, higher = more anomalous.
            fusion: a name in ``FUSIONS``.
            percentiles: in percent, one for each named threshold.
            strategy: fits the intervals; ``Percentile()`` if None.
            head: (n,) of a supervised head, if there is one.
            counted: names of the evidence that the fusion takes, all if None.

        Raises:
            SplitError: if there are no records.
            DataError: if a score is NaN or infinite, or the evidence differs in its rows.
            UnknownPluginError: if ``fusion`` is not a known name.
            ConfigError: ``counted`` names evidence that there is not, or none that the fusion needs.
        """
        values = dict(zip(EVIDENCE, map(_finite, [margin, density, *([] if head is None else [head])]), strict=False))
        _require_rows(values)
        names = _counted(fusion, tuple(values), counted)
        tails = {name: Tail.fit(value) for name, value in values.items()}
        scores = _fuse(fusion, tails, names, values)
        # The paper's percentiles are those of the second stage's score over all benign records, flagged or not.
        cut = values["density"] if fusion == "cascade" else scores
        named = {f"p{percent:g}": float(percentiles_of(cut, [percent])[0]) for percent in percentiles}
        return cls(fusion, tails, names, np.sort(scores), named, (strategy or Percentile())(cut))

    def score(self, *scores: ArrayLike) -> Floats:
        """(n,) fused scores; higher = more anomalous.

        Raises:
            DataError: if one of ``scores`` is NaN, or there are more or fewer of them than at calibration.
        """
        if len(scores) != len(self.tails):
            raise DataError(f"calibration: made for {', '.join(self.tails)}, given {len(scores)} of them")
        return _fuse(self.fusion, self.tails, self.counted, dict(zip(self.tails, scores, strict=True)))

    def surprises(self, *scores: ArrayLike) -> dict[str, Floats]:
        """Name -> (n,) surprise of the evidence that counts: what each adds to the fused score of ``fisher``."""
        values = dict(zip(self.tails, scores, strict=True))
        return {name: self.tails[name].surprise(values[name]) for name in self.counted}

    def exceeds(self, name: str, *scores: ArrayLike) -> NDArray[np.bool_]:
        """(n,) mask of the records flagged at the threshold ``name``.

        Raises:
            KeyError: if there is no such threshold.
            DataError: if a score is NaN.
        """
        if name not in self.thresholds:
            raise KeyError(f"no threshold {name!r}; known: {', '.join(self.thresholds)}")
        return self.score(*scores) > self.thresholds[name]

    def p_value(self, score: ArrayLike) -> Floats:
        """(n,) split-conformal p-values of fused scores: (1 + #{calibration >= score}) / (n + 1).

        A benign record that is exchangeable with the calibration records has p <= a with a probability of at most a.
        Source: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World" (2005), section 2.2.
        """
        n = self.reference.size
        return (1 + n - np.searchsorted(self.reference, np.asarray(score, dtype=np.float64), side="left")) / (n + 1)

    def verdict(self, *scores: ArrayLike) -> NDArray[np.str_]:
        """(n,) verdicts ``benign``, ``unknown`` or ``anomalous``.

        Raises:
            DataError: if a score is NaN.
        """
        return self.intervals.verdict(self.score(*scores))

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """All that ``load`` needs: what JSON can hold, and arrays."""
        values = {
            "fusion": self.fusion,
            "evidence": list(self.tails),
            "counted": list(self.counted),
            "n": self.reference.size,
            "thresholds": dict(self.thresholds),
            "intervals": self.intervals.intervals(),
        }
        arrays = {"reference": self.reference}
        for name, tail in self.tails.items():
            arrays[f"{name}.knots"] = tail.knots
            arrays[f"{name}.surprises"] = tail.surprises
            arrays[f"{name}.scales"] = np.array([tail.above, tail.below])
        return values, arrays

    @classmethod
    def load(cls, values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The calibration whose ``state`` this is.

        Raises:
            ArtifactError: if a part is missing or unsound.
        """
        try:
            tails = {
                name: Tail(arrays[f"{name}.knots"], arrays[f"{name}.surprises"], *map(float, arrays[f"{name}.scales"]))
                for name in values["evidence"]
            }
            find(FUSIONS, values["fusion"])
            counted = _counted(values["fusion"], tuple(tails), values["counted"])
            intervals = Thresholds.from_intervals(values["intervals"])
            reference, thresholds = arrays["reference"], dict(values["thresholds"])
            return cls(values["fusion"], tails, counted, reference, thresholds, intervals)
        except (ConfigError, KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"calibration: not the state of a calibration: {error!r}; calibrate again") from error


class Encoder(Protocol):
    """The first stage: features -> latent, and a margin that is positive nearer to the attacks."""

    def __call__(self, x: Tensor) -> Tensor:
        """(B, Z) latent of (B, F) features."""
        ...

    def margin(self, z: Tensor) -> Tensor:
        """(B,) of (B, Z), higher = more anomalous."""
        ...


class Detector(Protocol):
    """The second stage, or a head: latent -> score."""

    def score(self, x: Tensor) -> Tensor:
        """(B,) of (B, Z), higher = more anomalous."""
        ...


@dataclass(frozen=True)
class Judgement:
    """What is said of n records.

    Attributes:
        evidence: name -> (n,) scores, of ``EVIDENCE`` as far as there are.
        score: (n,) fused; higher = more anomalous, as in all of them.
        p_value: (n,) split-conformal, small where a record is unlike benign ones.
        confidence: (n,) +1 benign, 0 unknown, -1 anomalous.
        verdict: (n,) ``benign``, ``unknown`` or ``anomalous``.
    """

    evidence: Mapping[str, Floats]
    score: Floats
    p_value: Floats
    confidence: NDArray[np.float32]
    verdict: NDArray[np.str_]

    @classmethod
    def of(cls, calibration: Calibration, *scores: ArrayLike) -> Self:
        """Decide on the (n,) scores of ``EVIDENCE``, in its order.

        Raises:
            DataError: if one of them is NaN.
        """
        values = [np.asarray(each, dtype=np.float64) for each in scores]
        score = calibration.score(*values)
        sure = confidences.binary(score, calibration.intervals)
        evidence = dict(zip(calibration.tails, values, strict=True))
        verdict = calibration.intervals.verdict(score)
        return cls(evidence, score, calibration.p_value(score), sure, verdict)

    @property
    def margin(self) -> Floats:
        """(n,) of the first stage."""
        return self.evidence["margin"]

    @property
    def density(self) -> Floats:
        """(n,) of the second stage."""
        return self.evidence["density"]

    @property
    def head(self) -> Floats:
        """(n,) of the supervised head, NaN where there is none."""
        return self.evidence.get("head", np.full(len(self.score), math.nan))


def with_features(z: Tensor, x: Tensor, pass_features: bool) -> Tensor:
    """What the second stage sees: the latent z (B, Z), and behind it the features x (B, F) where they are passed on."""
    return torch.cat([z, x], dim=1) if pass_features else z


@dataclass(frozen=True)
class TwoStage:
    """Features in, judgement out; the models are moved to the device and set to evaluation.

    Attributes:
        encoder: first stage.
        detector: second stage, fitted on what ``with_features`` makes of the encoder's latent.
        calibration: the decision on top of the evidence.
        batch_size: records that pass through the models at once.
        device: where the models run.
        head: a supervised detector beside the second stage, on what that sees.
        pass_features: whether the second stage sees the features beside the latent.
    """

    encoder: Encoder
    detector: Detector
    calibration: Calibration
    batch_size: int = 8192
    device: str = "cpu"
    head: Detector | None = None
    pass_features: bool = False

    def __post_init__(self) -> None:
        stages: list[object] = [self.encoder, self.detector, self.head]
        for stage in stages:
            if isinstance(stage, nn.Module):
                stage.to(self.device).eval()  # dropout must not decide

    def judge(self, x: NDArray[np.float32]) -> Judgement:
        """Judge (n, F) features, each record on its own."""
        return Judgement.of(self.calibration, *self.scores(x).T)

    def scores(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, E) scores of the evidence for (n, F) features, in the order of ``EVIDENCE``."""
        if not len(x):
            return np.zeros((0, 2 if self.head is None else 3), np.float32)
        return in_batches(self._evidence, x, self.batch_size, self.device)

    def _evidence(self, x: Tensor) -> Tensor:
        z = self.encoder(x)
        seen = with_features(z, x, self.pass_features)
        scores = [self.encoder.margin(z), self.detector.score(seen)]
        return torch.stack(scores if self.head is None else [*scores, self.head.score(seen)], dim=1)


def _fuse(fusion: str, tails: Mapping[str, Tail], counted: Sequence[str], scores: Mapping[str, ArrayLike]) -> Floats:
    values = {name: without_nan(value, _SPELT[name]) for name, value in scores.items()}
    evidence = {name: Evidence(values[name], tails[name].surprise(values[name])) for name in counted}
    return find(FUSIONS, fusion)(evidence)


_SPELT: Final = {"margin": "margin", "density": "second stage", "head": "head"}


def _counted(fusion: str, available: Sequence[str], named: Sequence[str] | None) -> tuple[str, ...]:
    """The evidence that the fusion takes, in the order of ``EVIDENCE``."""
    find(FUSIONS, fusion)
    names = set(available if named is None else named)
    for name in names.difference(available):
        remedy = "set stage2.head, or leave it out" if name == "head" else "leave it out"
        raise ConfigError(
            f"calibrate.evidence: there is no {name!r}{near_miss(name, available)}; there are {', '.join(available)}; "
            f"{remedy}"
        )
    needs = _NEEDS.get(fusion, ())
    missing = [name for name in needs if name not in names]
    if missing or not names:
        raise ConfigError(
            f"calibrate.evidence: the fusion {fusion!r} needs {' and '.join(needs) or 'at least one'}, given "
            f"{', '.join(sorted(names)) or 'nothing'}"
        )
    return tuple(name for name in available if name in names)


def _require_rows(values: Mapping[str, Floats]) -> None:
    if len({value.shape for value in values.values()}) > 1:
        sizes = ", ".join(f"{value.size} of {_SPELT[name]}" for name, value in values.items())
        raise DataError(f"calibration: the evidence differs in its rows: {sizes}")


def _finite(scores: ArrayLike) -> Floats:
    values = np.asarray(scores, dtype=np.float64)
    if values.size == 0:
        raise SplitError("calibration: no benign records to calibrate on; enlarge the calibration split")
    broken = ~np.isfinite(values)
    if broken.any():
        raise DataError(
            f"calibration: {broken.sum()} of {values.size} benign scores are NaN or infinite, the first at position "
            f"{broken.argmax()}; the model that gave them has not converged"
        )
    return values
