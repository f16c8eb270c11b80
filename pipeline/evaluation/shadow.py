"""Live traffic at the gate: both models score the records that arrived last, and nobody is alarmed.

Nothing says which of these records are attacks. So the share of alarms alone cannot speak against a candidate: a wave
of attacks raises the share of every model that works. Three things together do:

- there are more alarms than the promise of the threshold allows, see ``pipeline.evaluation.alarm_share``;
- the share lies above the champion's on the same records by more than the margin;
- this is no chance. A record that only one of the two flags is as likely to be flagged by either, if both flag equally
  many: the exact sign test on such records.

A first model has no champion beside it. It is refused where it raises more alarms than chance allows and more than
``factor`` times as many as promised: then the traffic is full of attacks, or the model does not know it, and these
records cannot tell which.

Source: McNemar, "Note on the sampling error of the difference between correlated proportions or percentages"
(Psychometrika, 1947), with exact binomial probabilities.
"""

from dataclasses import dataclass
from typing import Final

from scipy.stats import binom

from pipeline.evaluation.alarm_share import Alarms
from pipeline.settings.promotion import Rules

BESIDE: Final = (
    "look at the records on which the two differ; where they are attacks that the champion misses, judge again after "
    "the wave, or raise promotion.shadow.margin; where that traffic is no longer yours, set promotion.shadow.records "
    "to 0"
)
FIRST: Final = (
    "the traffic is full of attacks, or the model does not know it; look at the alarms, train on this traffic, or set "
    "promotion.shadow.records to 0 to decide without it"
)


@dataclass(frozen=True)
class Comparison:
    """The alarms of two models on the same n records.

    Attributes:
        candidate: its alarms.
        champion: its alarms; None where there is no champion.
        candidate_only: how many records the candidate flags and the champion does not.
        champion_only: the reverse.
    """

    candidate: Alarms
    champion: Alarms | None = None
    candidate_only: int = 0
    champion_only: int = 0

    @property
    def excess(self) -> float:
        """How far the candidate's share of alarms lies above the champion's."""
        return (self.candidate_only - self.champion_only) / self.candidate.records

    def surely_more(self, level: float) -> bool:
        """Whether the candidate flags more than the champion, beyond chance."""
        differing = self.candidate_only + self.champion_only
        return bool(binom.sf(self.candidate_only - 1, differing, 0.5) <= 1 - level)

    def __str__(self) -> str:
        ours, theirs = self.candidate, self.champion
        low, high = (100 * each / ours.records for each in (ours.low, ours.high))
        told = f"on the {ours.records:,} records that arrived last this candidate alarms on {_percent(ours.share)}, "
        told += f"where {low:.3g} to {high:.3g} % were promised"
        return f"{told}; the champion on {_percent(theirs.share)}" if theirs else told


def refusal(found: Comparison, rules: Rules, factor: float) -> str:
    """Why a candidate may not serve, with what to do; "" where nothing speaks against it.

    Args:
        found: its alarms, and the champion's.
        rules: margin and level.
        factor: how many times as many alarms as promised speak against a first model.
    """
    if found.champion is None:
        return f"{found}: {FIRST}" if found.candidate.exceeds(factor) else ""
    broken = found.candidate.alarms > found.candidate.high
    if broken and found.excess > rules.shadow.margin and found.surely_more(rules.level):
        return f"{found}: {BESIDE}"
    return ""


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.0f} %"
