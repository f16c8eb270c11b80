"""The reasons of one alert, and what they amount to."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from pipeline.preprocessing.context.past import Matrix
from pipeline.serving.alerts.schema import Reason

MOST: Final = 5  # reasons of an alert
FEWEST: Final = 2
LEAST_SHARE: Final = 0.05  # that a reason beyond these explains


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


def strongest(causes: list[Cause], most: int, least_share: float) -> tuple[Cause, ...]:
    """The causes that explain most, in their order."""
    order = sorted(causes, key=lambda cause: -cause.fall)[:most]
    return tuple(each for place, each in enumerate(order) if place < FEWEST or each.reason.share >= least_share)


def kind_of(causes: tuple[Cause, ...]) -> str:
    """The theme that explains most."""
    shares: dict[str, float] = {}
    for cause in causes:
        shares[cause.theme] = shares.get(cause.theme, 0.0) + cause.reason.share
    return max(shares, key=lambda theme: shares[theme], default="")
