"""The one decision rule: features -> encoder -> detector -> calibrated score -> verdict.

The evaluation, the scoring of new records and the registered model all decide with ``TwoStage.judge``. The two stages
speak in different units, so each is first turned into its *surprise*, -log of the share of benign calibration records
that score as high; a fusion makes one score of the two; thresholds and p-values are fitted on the fused scores of the
benign calibration records.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from pipeline import confidence as confidences
from pipeline.errors import ArtifactError, DataError, SplitError
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


class Evidence(NamedTuple):
    """What one stage says: its (n,) raw scores and their (n,) surprise."""

    value: Floats
    surprise: Floats


Fusion = Callable[[Evidence, Evidence], Floats]


def fisher(margin: Evidence, density: Evidence) -> Floats:
    """Sum of the surprises. Source: Fisher, "Statistical Methods for Research Workers" (1925), section 21.1."""
    return margin.surprise + density.surprise


def highest(margin: Evidence, density: Evidence) -> Floats:
    """The greater surprise; a thousandth of the other one keeps the order where the greater ones are equal."""
    greater, other = np.maximum(margin.surprise, density.surprise), np.minimum(margin.surprise, density.surprise)
    return greater + other / 1000


def density_alone(margin: Evidence, density: Evidence) -> Floats:
    """The surprise of the second stage."""
    return density.surprise


def cascade(margin: Evidence, density: Evidence) -> Floats:
    """As published: the second stage's score, and one constant above all others where the first stage says attack.

    Source: Chhetri, Thapa, Chen, "Latent Sculpting" (arXiv 2512.22179, 2025): a record is anomalous where it is closer
    to the attack centroid (margin > 0) or its score exceeds the threshold. The published constant is the highest score
    of the test set plus 1; infinity takes its place, so that a score depends on its own record alone.
    """
    return np.where(margin.value > 0, math.inf, density.value)


FUSIONS: Final[Mapping[str, Fusion]] = {
    "fisher": fisher,
    "max": highest,
    "density": density_alone,
    "cascade": cascade,
}


@dataclass(frozen=True)
class Calibration:
    """The decision on top of two stages' scores, fitted on benign records that neither stage has seen.

    Attributes:
        fusion: name of the fusion.
        margin: tail of the first stage's margin.
        density: tail of the second stage's score.
        reference: (n,) fused scores of the calibration records, ascending.
        thresholds: name -> fused score above which a record is flagged: ``p99``, ``p97`` ...
        intervals: where benign ends and anomalous begins.
    """

    fusion: str
    margin: Tail
    density: Tail
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
    ) -> Self:
        """Calibrate on benign records.

        Args:
            margin: (n,) of the first stage, higher = more anomalous.
            density: (n,) of the second stage, higher = more anomalous.
            fusion: a name in ``FUSIONS``.
            percentiles: in percent, one for each named threshold.
            strategy: fits the intervals; ``Percentile()`` if None.

        Raises:
            SplitError: if there are no records.
            DataError: if a score is NaN or infinite, or the stages differ in their rows.
            UnknownPluginError: if ``fusion`` is not a known name.
        """
        margins, densities = _finite(margin), _finite(density)
        if margins.shape != densities.shape:
            raise DataError(f"calibration: {margins.size} margins, but {densities.size} scores of the second stage")
        tails = Tail.fit(margins), Tail.fit(densities)
        scores = _fuse(fusion, tails, margins, densities)
        # The paper's percentiles are those of the second stage's score over all benign records, flagged or not.
        cut = densities if fusion == "cascade" else scores
        named = {f"p{percent:g}": float(percentiles_of(cut, [percent])[0]) for percent in percentiles}
        return cls(fusion, *tails, np.sort(scores), named, (strategy or Percentile())(cut))

    def score(self, margin: ArrayLike, density: ArrayLike) -> Floats:
        """(n,) fused scores of (n,) margins and (n,) scores of the second stage; higher = more anomalous.

        Raises:
            DataError: if one of them is NaN.
        """
        return _fuse(self.fusion, (self.margin, self.density), margin, density)

    def exceeds(self, name: str, margin: ArrayLike, density: ArrayLike) -> NDArray[np.bool_]:
        """(n,) mask of the records flagged at the threshold ``name``.

        Raises:
            KeyError: if there is no such threshold.
            DataError: if a score is NaN.
        """
        if name not in self.thresholds:
            raise KeyError(f"no threshold {name!r}; known: {', '.join(self.thresholds)}")
        return self.score(margin, density) > self.thresholds[name]

    def p_value(self, score: ArrayLike) -> Floats:
        """(n,) split-conformal p-values of fused scores: (1 + #{calibration >= score}) / (n + 1).

        A benign record that is exchangeable with the calibration records has p <= a with a probability of at most a.
        Source: Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World" (2005), section 2.2.
        """
        n = self.reference.size
        return (1 + n - np.searchsorted(self.reference, np.asarray(score, dtype=np.float64), side="left")) / (n + 1)

    def verdict(self, margin: ArrayLike, density: ArrayLike) -> NDArray[np.str_]:
        """(n,) verdicts ``benign``, ``unknown`` or ``anomalous``.

        Raises:
            DataError: if a score is NaN.
        """
        return self.intervals.verdict(self.score(margin, density))

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """All that ``load`` needs: what JSON can hold, and arrays."""
        values = {
            "fusion": self.fusion,
            "n": self.reference.size,
            "thresholds": dict(self.thresholds),
            "intervals": self.intervals.intervals(),
        }
        arrays = {"reference": self.reference}
        for stage, tail in (("margin", self.margin), ("density", self.density)):
            arrays[f"{stage}.knots"] = tail.knots
            arrays[f"{stage}.surprises"] = tail.surprises
            arrays[f"{stage}.scales"] = np.array([tail.above, tail.below])
        return values, arrays

    @classmethod
    def load(cls, values: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """The calibration whose ``state`` this is.

        Raises:
            ArtifactError: if a part is missing or unsound.
        """
        try:
            margin, density = (
                Tail(arrays[f"{stage}.knots"], arrays[f"{stage}.surprises"], *map(float, arrays[f"{stage}.scales"]))
                for stage in ("margin", "density")
            )
            find(FUSIONS, values["fusion"])
            intervals = Thresholds.from_intervals(values["intervals"])
            reference, thresholds = arrays["reference"], dict(values["thresholds"])
            return cls(values["fusion"], margin, density, reference, thresholds, intervals)
        except (KeyError, TypeError, ValueError) as error:
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
    """The second stage: latent -> score."""

    def score(self, x: Tensor) -> Tensor:
        """(B,) of (B, Z), higher = more anomalous."""
        ...


@dataclass(frozen=True)
class Judgement:
    """What the two stages say of n records.

    Attributes:
        margin: (n,) of the first stage.
        density: (n,) of the second stage.
        score: (n,) fused; higher = more anomalous, in all three.
        p_value: (n,) split-conformal, small where a record is unlike benign ones.
        confidence: (n,) +1 benign, 0 unknown, -1 anomalous.
        verdict: (n,) ``benign``, ``unknown`` or ``anomalous``.
    """

    margin: Floats
    density: Floats
    score: Floats
    p_value: Floats
    confidence: NDArray[np.float32]
    verdict: NDArray[np.str_]

    @classmethod
    def of(cls, calibration: Calibration, margin: ArrayLike, density: ArrayLike) -> Self:
        """Decide on (n,) margins and (n,) scores of the second stage.

        Raises:
            DataError: if one of them is NaN.
        """
        margins, densities = np.asarray(margin, dtype=np.float64), np.asarray(density, dtype=np.float64)
        score = calibration.score(margins, densities)
        sure = confidences.binary(score, calibration.intervals)
        verdict = calibration.intervals.verdict(score)
        return cls(margins, densities, score, calibration.p_value(score), sure, verdict)


@dataclass(frozen=True)
class TwoStage:
    """Features in, judgement out; the models are moved to the device and set to evaluation.

    Attributes:
        encoder: first stage.
        detector: second stage, fitted on the encoder's latent.
        calibration: the decision on top of both.
        batch_size: records that pass through the models at once.
        device: where the models run.
    """

    encoder: Encoder
    detector: Detector
    calibration: Calibration
    batch_size: int = 8192
    device: str = "cpu"

    def __post_init__(self) -> None:
        for stage in (self.encoder, self.detector):
            if isinstance(stage, nn.Module):
                stage.to(self.device).eval()  # dropout must not decide

    def judge(self, x: NDArray[np.float32]) -> Judgement:
        """Judge (n, F) features, each record on its own."""
        return Judgement.of(self.calibration, *self.scores(x).T)

    def scores(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n, 2) margin and score of the second stage of (n, F) features."""
        return in_batches(self._both, x, self.batch_size, self.device)

    def _both(self, x: Tensor) -> Tensor:
        z = self.encoder(x)
        return torch.stack([self.encoder.margin(z), self.detector.score(z)], dim=1)


def _fuse(fusion: str, tails: tuple[Tail, Tail], margin: ArrayLike, density: ArrayLike) -> Floats:
    values = without_nan(margin, "margin"), without_nan(density, "second stage")
    stages = [Evidence(value, tail.surprise(value)) for tail, value in zip(tails, values, strict=True)]
    return find(FUSIONS, fusion)(*stages)


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
