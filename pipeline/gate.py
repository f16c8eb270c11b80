"""The promotion gate: may a candidate take the champion's place? Arrays in, a decision out.

Both models judge the same held-out records. The candidate is promoted where it passes every criterion:

=============================== =====================================================================================
benign FPR at the threshold     not inferior: at most ``fpr_margin`` higher
AUROC on unseen attacks         not inferior: at most ``auroc_margin`` lower; and not surely lower at all
recall at a benign FPR of 1 %   not inferior: at most ``recall_margin`` lower; and not surely lower at all
recall of each family           on these records at most ``family_drop`` lower, at the threshold; families of fewer than
                                ``family_minimum`` records are shown and do not decide
=============================== =====================================================================================

**Not inferior** means that the bound of the difference (candidate - champion) on its bad side, which holds with
probability ``level``, is still within the margin. The burden of proof lies with the candidate: one that is worse by
the margin or more passes with a probability of at most 1 - ``level``, however few or many records there are. As all
criteria must pass, this holds for each without a correction for their number (an intersection-union test).

**Not surely lower** means that the bound on the good side is not below 0. The margin alone would let quality creep
away, by less than a margin with each promotion; this refuses every loss that the records can show. An equally good
candidate fails it with a probability of 1 - ``level`` per criterion, and not half the time as it would if the plain
difference had to be at least 0. It is not asked of the FPR, which cannot creep, as the threshold of each model is
calibrated anew for the same rate; two such thresholds always differ by a trifle, which many records would show.

The bounds are percentiles of a paired bootstrap: benign records, and the attacks of each family, seen and unseen, are
drawn again with replacement, and both models are measured on the same draw. The bounds tell how sure these records are
about *these two* models, not how a training varies.

Sources: Efron, Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13; Berger, "Multiparameter hypothesis
testing and acceptance sampling" (Technometrics, 1982); Vovk, "Conditional validity of inductive conformal predictors"
(ACML, 2012): the realised FPR at a threshold from finitely many calibration records is beta-binomial.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipeline.bootstrap import Ranks, draws

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

FPR, AUROC, RECALL = "benign FPR", "AUROC on unseen attacks", "recall at {:g} % benign FPR"
FAMILY: Final = "recall of {}"


@dataclass(frozen=True)
class Rules:
    """What is asked of a candidate; the module says how.

    Attributes:
        level: probability with which each bound holds.
        rounds: of the bootstrap.
        seed: of the bootstrap.
        fpr_margin: how much higher the benign FPR may be, absolute.
        auroc_margin: how much lower the AUROC on unseen attacks may be.
        recall_at_fpr: benign FPR at which the recall of all attacks is compared.
        recall_margin: how much lower that recall may be, absolute.
        family_drop: how much the recall of a family may fall, absolute.
        family_minimum: records that a family needs to decide.
        asked_margin: how much more than the asked benign FPR a first model may realise, beyond chance.
        min_benign: benign records that are needed to decide.
        min_unseen: unseen attacks that are needed to decide.
    """

    level: float = 0.95
    rounds: int = 1000
    seed: int = 0
    fpr_margin: float = 0.0075
    auroc_margin: float = 0.02
    recall_at_fpr: float = 0.01
    recall_margin: float = 0.05
    family_drop: float = 0.1
    family_minimum: int = 100
    asked_margin: float = 0.01
    min_benign: int = 500
    min_unseen: int = 50


@dataclass(frozen=True)
class Heldout:
    """Records that neither model has used.

    Attributes:
        y: (n,) 1 for an attack.
        family: (n,) its family, read where y is 1.
        unseen: (n,) whether it is an attack that no model was told of.
    """

    y: NDArray[np.int8]
    family: NDArray[np.object_]
    unseen: Mask

    def __post_init__(self) -> None:
        if not self.y.shape == self.family.shape == self.unseen.shape:
            raise ValueError(f"Heldout: rows differ: {self.y.shape}, {self.family.shape}, {self.unseen.shape}")
        if (self.unseen & (self.y != 1)).any():
            raise ValueError("Heldout: an unseen attack has y = 1")

    @property
    def families(self) -> dict[str, Ints]:
        """The rows of each family of attacks, in the order of their names."""
        attacks = np.flatnonzero(self.y == 1)
        names = self.family[attacks].astype(str)
        return {str(name): attacks[names == name] for name in np.unique(names)}

    def strata(self) -> list[Ints]:
        """The rows that are drawn among themselves: benign, and the seen and the unseen attacks of each family."""
        parts = [np.flatnonzero(self.y != 1)]
        for rows in self.families.values():
            parts += [rows[self.unseen[rows]], rows[~self.unseen[rows]]]
        return [rows for rows in parts if rows.size]

    def shortage(self, rules: Rules) -> str:
        """Of which records there are too few to decide; "" where there are enough."""
        have = {
            "benign records": (int((self.y != 1).sum()), max(rules.min_benign, 1)),
            "unseen attacks": (int(self.unseen.sum()), max(rules.min_unseen, 1)),
        }
        short = [
            f"{n:,} held-out {kind}, at least {least:,} are needed" for kind, (n, least) in have.items() if n < least
        ]
        return "; ".join(short)


@dataclass(frozen=True)
class Judged:
    """What one model says of the held-out records.

    Attributes:
        score: (n,) higher = more anomalous.
        alarm: (n,) whether it is flagged at the threshold.
    """

    score: Floats
    alarm: Mask

    def __post_init__(self) -> None:
        if self.score.shape != self.alarm.shape or np.isnan(self.score).any():
            raise ValueError(f"Judged: {self.alarm.shape} alarms, {self.score.shape} scores, or one of them NaN")


@dataclass(frozen=True)
class Criterion:
    """One line of a decision.

    Attributes:
        name: what is measured.
        n: records that it is measured on.
        champion: its figure, None where there is no champion.
        candidate: its figure.
        difference: candidate - champion; without a champion None.
        low: lower bound of the difference, or of the candidate's figure where there is no champion.
        high: upper bound of the same.
        rule: what is asked, in words; "" where the figure is shown only.
        passed: whether that is so.
        reason: the verdict in words.
    """

    name: str
    n: int
    champion: float | None
    candidate: float
    difference: float | None
    low: float
    high: float
    rule: str
    passed: bool
    reason: str

    @property
    def decides(self) -> bool:
        """Whether the decision depends on it."""
        return bool(self.rule)

    @property
    def is_share(self) -> bool:
        """Whether it is a share of records, which people read in percent."""
        return self.name != AUROC


@dataclass(frozen=True)
class Decision:
    """The outcome of the gate.

    Attributes:
        criteria: every figure, those that decide first.
        level: probability with which each bound holds.
    """

    criteria: tuple[Criterion, ...]
    level: float

    @property
    def passed(self) -> bool:
        """Whether every criterion that decides is met."""
        return all(each.passed for each in self.criteria if each.decides)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why not; where it passed, why."""
        deciding = [each for each in self.criteria if each.decides]
        shown = [each for each in deciding if not each.passed] or deciding
        return tuple(f"{each.name}: {each.reason}" for each in shown)


def compare(heldout: Heldout, candidate: Judged, champion: Judged, rules: Rules) -> Decision:
    """Decide between a candidate and the champion.

    Args:
        heldout: n records.
        candidate: what it says of them.
        champion: what it says of the same.
        rules: margins and level.

    Raises:
        ValueError: there are too few records, or the models have judged others.
    """
    _require(heldout, rules, candidate, champion)
    models = _Measure(heldout, candidate, rules), _Measure(heldout, champion, rules)
    whole = np.ones((1, heldout.y.size), dtype=np.int64)
    new, old = (model(whole)[0] for model in models)
    differences = np.concatenate(
        [models[0](w) - models[1](w) for w in draws(heldout.strata(), rules.rounds, rules.seed)]
    )
    low, high = np.quantile(differences, [1 - rules.level, rules.level], axis=0)
    lines = [
        _compared(name, n, (float(old[i]), float(new[i])), (float(low[i]), float(high[i])), rules)
        for i, (name, n) in enumerate(models[0].names.items())
    ]
    return Decision(tuple(sorted(lines, key=lambda line: not line.decides)), rules.level)


def admit(heldout: Heldout, candidate: Judged, asked: float, n_calibration: int, rules: Rules) -> Decision:
    """Decide on a first model, which has no champion to be compared with.

    Its realised benign FPR must be what chance allows at the rate that was asked for, and a margin; its AUROC on unseen
    attacks must surely be above one half.

    Args:
        heldout: n records.
        candidate: what it says of them.
        asked: benign FPR that the threshold was calibrated for.
        n_calibration: benign records that it was calibrated on.
        rules: margins and level.

    Raises:
        ValueError: there are too few records, or the model has judged others.
    """
    _require(heldout, rules, candidate)
    model = _Measure(heldout, candidate, rules)
    whole = model(np.ones((1, heldout.y.size), dtype=np.int64))[0]
    drawn = np.concatenate([model(w) for w in draws(heldout.strata(), rules.rounds, rules.seed)])
    low, high = np.quantile(drawn, [1 - rules.level, rules.level], axis=0)
    limit = highest_fpr(asked + rules.asked_margin, int((heldout.y != 1).sum()), n_calibration, rules.level)
    lines = [
        _alone(name, n, float(whole[i]), (float(low[i]), float(high[i])), (asked, limit), rules)
        for i, (name, n) in enumerate(model.names.items())
    ]
    return Decision(tuple(sorted(lines, key=lambda line: not line.decides)), rules.level)


def highest_fpr(rate: float, n: int, n_calibration: int, level: float) -> float:
    """The realised FPR on n benign records that a threshold for ``rate`` exceeds with probability 1 - ``level`` only.

    The number of alarms is beta-binomial with the parameters rate (m + 1) and (1 - rate) (m + 1), where the threshold
    is an order statistic of m calibration scores: its own rate varies, and the records do.
    """
    from scipy.stats import betabinom

    m = n_calibration + 1
    alarms = np.cumsum(betabinom.pmf(np.arange(n + 1), n, rate * m, (1 - rate) * m))
    return min(int(np.searchsorted(alarms, level)), n) / n


def _require(heldout: Heldout, rules: Rules, *judged: Judged) -> None:
    if short := heldout.shortage(rules):
        raise ValueError(f"gate: {short}")
    for each in judged:
        if each.score.shape != heldout.y.shape:
            raise ValueError(f"gate: {each.score.size} judged records, but {heldout.y.size} held-out ones")


# The verdict on each line.


def _compared(name: str, n: int, figures: tuple[float, float], bounds: tuple[float, float], rules: Rules) -> Criterion:
    champion, candidate = figures
    difference = candidate - champion
    margins = {AUROC: rules.auroc_margin, RECALL.format(100 * rules.recall_at_fpr): rules.recall_margin}
    if name == FPR:
        rule, fault = f"at most {_gap(name, rules.fpr_margin)} higher", _too_high(name, bounds[1], rules.fpr_margin)
    elif name in margins:
        rule = f"at most {_gap(name, margins[name])} lower, and not surely lower"
        fault = _too_low(name, bounds, margins[name])
    elif n >= rules.family_minimum:
        rule = f"at most {_gap(name, rules.family_drop)} lower on these records"
        fault = f"more than {_gap(name, rules.family_drop)} lower" if difference < -rules.family_drop else ""
    else:
        rule, fault = "", ""
    reason = f"{_gap(name, difference, '+')}, {fault or ('as asked' if rule else 'too few records to decide')}"
    return Criterion(name, n, champion, candidate, difference, *bounds, rule, not fault, reason)


def _too_high(name: str, high: float, margin: float) -> str:
    return f"and up to {_gap(name, high, '+')} cannot be ruled out" if high > margin else ""


def _too_low(name: str, bounds: tuple[float, float], margin: float) -> str:
    low, high = bounds
    if high < 0:
        return f"surely lower than the champion, by {_gap(name, -high)} at least"
    return f"and down to {_gap(name, low, '+')} cannot be ruled out" if low < -margin else ""


def _gap(name: str, value: float, sign: str = "") -> str:
    """A difference in words: shares in percentage points."""
    points = f"{100 * value:{sign}.3g}"
    return f"{value:{sign}.4g}" if name == AUROC else f"{points} point{'s' * (points != '1')}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _alone(
    name: str, n: int, figure: float, bounds: tuple[float, float], fpr: tuple[float, float], rules: Rules
) -> Criterion:
    asked, limit = fpr
    rule, passed, reason = "", True, "shown only: there is no champion to compare with"
    if name == FPR:
        margin = _gap(name, rules.asked_margin)
        rule = f"at most {_percent(limit)}: {_percent(asked)} asked for, {margin} of margin, and chance"
        passed, reason = figure <= limit, f"{_percent(figure)} realised, {_percent(asked)} asked for"
    elif name == AUROC:
        rule, passed = "surely above 0.5", bounds[0] > 0.5
        reason = f"{figure:.4f}, at least {bounds[0]:.4f}"
    fault = "" if passed else f"; what is asked: {rule}"
    return Criterion(name, n, None, figure, None, *bounds, rule, passed, reason + fault)


# The figures, on any weights of the records.


class _Measure:
    """The figures of one model as a function of the weights of the records.

    Args:
        heldout: n records.
        judged: what the model says of them.
        rules: gives the FPR at which recall is read.
    """

    def __init__(self, heldout: Heldout, judged: Judged, rules: Rules) -> None:
        self._benign, self._attack = np.flatnonzero(heldout.y != 1), np.flatnonzero(heldout.y == 1)
        self._unseen, self._families = heldout.unseen[self._attack], heldout.families
        self._alarm, self._fpr = judged.alarm, rules.recall_at_fpr
        self._ranks = Ranks.of(judged.score[self._benign], judged.score[self._attack])

    @property
    def names(self) -> dict[str, int]:
        """What is measured, and on how many records."""
        b, a, unseen = self._benign.size, self._attack.size, int(self._unseen.sum())
        whole = {FPR: b, AUROC: b + unseen, RECALL.format(100 * self._fpr): b + a}
        return whole | {FAMILY.format(name): rows.size for name, rows in self._families.items()}

    def __call__(self, weights: Ints) -> Floats:
        """(r, k) figures on r weightings, (r, n), in the order of ``names``."""
        benign, attack = weights[:, self._benign], weights[:, self._attack]
        rates = [self._rate(weights, rows) for rows in (self._benign, *self._families.values())]
        auroc = self._ranks.auroc(benign, attack * self._unseen)
        recall = self._ranks.recall(benign, attack, self._fpr)
        return np.stack([rates[0], auroc, recall, *rates[1:]], axis=1)

    def _rate(self, weights: Ints, rows: Ints) -> Floats:
        """(r,) share of the weight of some rows that is flagged."""
        rate: Floats = weights[:, rows[self._alarm[rows]]].sum(axis=1) / weights[:, rows].sum(axis=1)
        return rate
