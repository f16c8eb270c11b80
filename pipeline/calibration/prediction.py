"""What is said of records: scores, fused score, p-value, confidence, verdict, and which thresholds they exceed."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipeline.base.samples import CONTEXT
from pipeline.calibration import confidence as confidences
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.named_thresholds import Names
from pipeline.calibration.surprisal import Floats
from pipeline.calibration.thresholds.base import VERDICTS

_VERDICT: Final = np.array(VERDICTS).dtype


@dataclass(frozen=True)
class Prediction:
    """What is said of n records.

    Attributes:
        scores: name -> (n,) of one of ``SCORES``, as far as there are.
        score: (n,) fused; higher = more anomalous, as in all of them.
        p_value: (n,) conformal, small where a record is unlike benign ones.
        confidence: (n,) +1 benign, 0 unknown, -1 anomalous.
        verdict: (n,) ``benign``, ``unknown`` or ``anomalous``.
        flagged: name of a threshold -> (n,) mask of the records above it.
        group: (n,) name of the decision that judged, as ``Calibration.deciding`` gives it; "" for that on all.
        ranked: (n,) the fused scores on one scale, whether a record has a context or not; see ``Calibration.ranked``.
    """

    scores: Mapping[str, Floats]
    score: Floats
    p_value: Floats
    confidence: NDArray[np.float32]
    verdict: NDArray[np.str_]
    flagged: Mapping[str, NDArray[np.bool_]]
    group: Names
    ranked: Floats

    @classmethod
    def of(cls, calibration: Calibration, *scores: ArrayLike, groups: Names | None = None) -> Self:
        """Decide on the (n,) scores of ``SCORES``, in its order, of records of ``groups``, (n,), if they are known.

        Raises:
            DataError: if one of them is NaN.
        """
        named = {name: np.asarray(each, dtype=np.float64) for name, each in calibration.named(*scores).items()}
        score = calibration.score(*named.values())
        p_value, sure, verdict = (np.empty(score.size, kind) for kind in (np.float64, np.float32, _VERDICT))
        group = calibration.deciding(score.size, groups, named.get(CONTEXT))
        for name, decision in calibration.decisions.items():
            rows = np.flatnonzero(group == name)
            p_value[rows] = decision.p_value(score[rows])
            sure[rows] = confidences.binary(score[rows], decision.intervals)
            verdict[rows] = decision.intervals.verdict(score[rows])
        flagged, ranked = calibration.flagged(score, group), calibration.ranked(score, group)
        return cls(named, score, p_value, sure, verdict, flagged, group, ranked)

    @property
    def decided(self) -> Counter[str]:
        """Name of a decision -> how many records it judged."""
        return Counter(self.group.tolist())

    @property
    def level(self) -> NDArray[np.object_]:
        """(n,) the strictest threshold that each record exceeds; "" where it exceeds none."""
        found = np.full(len(self.score), "", dtype=object)
        for name in sorted(self.flagged, key=lambda name: float(name.removeprefix("p"))):
            found[self.flagged[name]] = name
        return found

    @property
    def margin(self) -> Floats:
        """(n,) of the first stage."""
        return self.scores["margin"]

    @property
    def detector(self) -> Floats:
        """(n,) of the second stage."""
        return self.scores["detector"]

    @property
    def density(self) -> Floats:
        """The former name of ``detector``: the code of models that were registered before reads it."""
        return self.detector

    @property
    def head(self) -> Floats:
        """(n,) of the supervised head, NaN where there is none."""
        return self._score("head")

    @property
    def context(self) -> Floats:
        """(n,) of the recent past of the hosts, NaN where a record has none."""
        return self._score(CONTEXT)

    def _score(self, name: str) -> Floats:
        return self.scores.get(name, np.full(len(self.score), math.nan))
