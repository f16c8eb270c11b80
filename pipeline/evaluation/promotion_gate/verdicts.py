"""The verdict on each figure: beside the champion's, and by itself."""

from dataclasses import dataclass
from typing import Final

from pipeline.evaluation.promotion_gate.base import ALL, AUROC, FPR, RECALL, SEEN, UNSEEN, Criterion
from pipeline.evaluation.promotion_gate.measure import exact_bounds
from pipeline.settings.promotion import Rules

TRIFLE: Final = 0.05  # of a margin; a smaller loss refuses nothing, however surely the records show it


@dataclass(frozen=True)
class Pair:
    """One figure of both models.

    Attributes:
        name: what is measured.
        n: records that it is measured on.
        of_family: whether it is the recall of one family.
        champion: its figure.
        candidate: its figure.
        low: lower bound of the difference, candidate - champion.
        high: upper bound of the same.
        left: lower bound of how far the candidate lies above the share of the champion's figure that must be left.
    """

    name: str
    n: int
    of_family: bool
    champion: float
    candidate: float
    low: float
    high: float
    left: float


def beside(pair: Pair, rules: Rules) -> Criterion:
    """The verdict on a figure beside the champion's."""
    rule, fault = _asked(pair, rules)
    difference = pair.candidate - pair.champion
    verdict = fault or ("as asked" if rule else "shown only")
    reason = f"{_gap(pair.name, difference, '+')}, {verdict}"
    figures = (pair.champion, pair.candidate, difference, pair.low, pair.high)
    return Criterion(pair.name, pair.n, *figures, rule, not fault, reason)


def as_asked(name: str, n: int, figure: float, champion: float | None, limit: float, rules: Rules) -> Criterion:
    """The verdict on the realised benign FPR by itself.

    Args:
        name: of the line.
        n: benign records.
        figure: what the candidate realises.
        champion: what the champion realises, if there is one. A candidate that realises no more is no step back.
        limit: what chance and the margin allow.
        rules: margins and level.
    """
    rule = f"at most {_percent(limit)}: {_percent(rules.asked)} asked for, {_gap(name, rules.asked_margin)} of margin, "
    rule += "and chance" + ("" if champion is None else "; or no more than the champion")
    passed = figure <= limit or (champion is not None and figure <= champion)
    reason = f"{_percent(figure)} realised, {_percent(rules.asked)} asked for"
    return _alone(name, n, figure, champion, exact_bounds(figure, n, rules.level), rule, passed, reason)


def speaks(n: int, figure: float, champion: float | None, rules: Rules) -> Criterion:
    """The verdict on the recall of all n attacks by itself: a model that stays silent finds none.

    It must surely be above the benign FPR that was asked for, which alarms by the toss of a coin would reach. A
    candidate that finds no less than the champion is no step back.
    """
    bounds = exact_bounds(figure, n, rules.level)
    rule = f"surely above {_percent(rules.asked)}, which alarms at random reach"
    rule += "" if champion is None else "; or no less than the champion"
    passed = bounds[0] > rules.asked or (champion is not None and figure >= champion)
    reason = f"{_percent(figure)} found, at least {_percent(bounds[0])}"
    silent = "" if passed else ": the model is silent"
    return _alone(ALL, n, figure, champion, bounds, rule, passed, reason + silent)


def first(name: str, n: int, figure: float, bounds: tuple[float, float]) -> Criterion:
    """The verdict on another figure of a first model."""
    if name != AUROC:
        return _alone(name, n, figure, None, bounds, "", True, "shown only: there is no champion to compare with")
    passed, reason = bounds[0] > 0.5, f"{figure:.4f}, at least {bounds[0]:.4f}"
    return _alone(name, n, figure, None, bounds, "surely above 0.5", passed, reason)


def _alone(
    name: str,
    n: int,
    figure: float,
    champion: float | None,
    bounds: tuple[float, float],
    rule: str,
    passed: bool,
    reason: str,
) -> Criterion:
    fault = "" if passed else f"; what is asked: {rule}"
    return Criterion(name, n, champion, figure, None, *bounds, rule, passed, reason + fault)


def _asked(pair: Pair, rules: Rules) -> tuple[str, str]:
    """What is asked of a figure, "" for nothing, and what is wrong with it, "" for nothing."""
    name = pair.name
    margins = {AUROC: rules.auroc_margin, RECALL.format(100 * rules.recall_at_fpr): rules.recall_margin}
    if name == FPR:
        return _fpr(pair, rules)
    if name in margins:
        return f"at most {_gap(name, margins[name])} lower, and not surely lower", _too_low(pair, margins[name])
    if name == UNSEEN or (name == SEEN and pair.n >= rules.family_minimum):
        return _alarms(pair, rules)
    if pair.of_family and pair.n >= rules.family_minimum:
        drop, lost = _gap(name, rules.family_drop), pair.champion - pair.candidate
        return f"at most {drop} lower on these records", f"more than {drop} lower" if lost > rules.family_drop else ""
    return "", ""


def _fpr(pair: Pair, rules: Rules) -> tuple[str, str]:
    margin, highest = _gap(FPR, rules.fpr_margin), exact_bounds(pair.candidate, pair.n, rules.level)[1]
    rule = f"at most {margin} above the champion, or above the {_percent(rules.asked)} asked for"
    if pair.high <= rules.fpr_margin or highest <= rules.asked + rules.fpr_margin:
        return rule, ""
    return rule, f"and up to {_gap(FPR, pair.high, '+')}, to {_percent(highest)}, cannot be ruled out"


def _alarms(pair: Pair, rules: Rules) -> tuple[str, str]:
    """Recall at the threshold that ships."""
    rule = f"at most {_gap(pair.name, rules.alarm_drop)} lower, and at least {100 * rules.alarm_kept:g} % of it left"
    if pair.low < -rules.alarm_drop:
        return rule, f"and down to {_gap(pair.name, pair.low, '+')} cannot be ruled out"
    return (
        rule,
        f"and a loss of more than {100 * (1 - rules.alarm_kept):g} % cannot be ruled out" if pair.left < 0 else "",
    )


def _too_low(pair: Pair, margin: float) -> str:
    if pair.high < -TRIFLE * margin:
        return f"surely lower than the champion, by {_gap(pair.name, -pair.high)} at least"
    return f"and down to {_gap(pair.name, pair.low, '+')} cannot be ruled out" if pair.low < -margin else ""


def _gap(name: str, value: float, sign: str = "") -> str:
    """A difference in words: shares in percentage points."""
    points = f"{100 * value:{sign}.3g}"
    return f"{value:{sign}.4g}" if name == AUROC else f"{points} point{'s' * (points != '1')}"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"
