"""The promotion gate: may a candidate take the champion's place? Arrays in, a decision out.

Both models score the same held-out records. The candidate is promoted if it passes every criterion. Alarms are counted
at the threshold that ships, ``Rules.threshold``; a threshold ``p99`` is calibrated for a benign FPR of 1 %.

=============================== =====================================================================================
benign FPR                      not inferior: at most ``fpr_margin`` above the champion's, or above what was asked for
benign FPR as asked for         what chance allows at the rate that was asked for and ``asked_margin``; or no more than
                                the champion's
recall of all attacks           surely above the benign FPR that was asked for; or no less than the champion's
recall of unseen attacks        not inferior: at most ``alarm_drop`` lower, and ``alarm_kept`` of the champion's is left
recall of seen attacks          the same, if there are ``family_minimum`` of them
AUROC on unseen attacks         not inferior: at most ``auroc_margin`` lower; and not surely lower
recall at a benign FPR of 1 %   not inferior: at most ``recall_margin`` lower; and not surely lower
recall of each family           on these records at most ``family_drop`` lower; families of fewer than
                                ``family_minimum`` records are shown and do not decide
=============================== =====================================================================================

False alarms and recall at the other thresholds are shown and do not decide. Where drills stand for unseen attacks, the
lines say drills.

**Not inferior** means that the bound of the difference (candidate - champion) on its bad side, which holds with
probability ``level``, is still within the margin. The burden of proof lies with the candidate: one that is worse by
the margin or more passes with a probability of at most 1 - ``level``, however few or many records there are. As all
criteria must pass, this holds for each without a correction for their number (an intersection-union test).

**Not surely lower** means that the bound on the good side is not below 0 by more than a twentieth of the margin. The
margin alone would let quality creep away, by less than a margin with each promotion. This refuses every loss that the
records can show, but for a trifle: many records show the smallest difference. An equally good candidate fails it with a
probability of less than 1 - ``level`` per criterion, and not half the time as it would if the plain difference had to
be at least 0. It is not asked of what depends on a threshold, which cannot creep, as the threshold of each model is
calibrated anew for the same rate; two such thresholds always differ by a trifle.

**What was asked for** limits the comparison with the champion on both sides.

A silent champion raises no false alarms, and every working model would be worse. So a champion that raises fewer than
it may is no fair standard, and a candidate may use the full rate that was asked for. Two bounds let it pass, its
distance to the champion and its own FPR. One that is worse by the margin than both passes with a probability of at
most 2 (1 - ``level``).

A champion that raises more false alarms than chance and the margin allow is no fair standard either: it pays for its
recall with them, and every model that keeps the rate would find less. So its recall is read at the threshold at which
its false alarms on these records are as many as were asked for: only its alarms with the highest scores count.

A silent model passes every comparison with a silent champion, and no other: the recall of all attacks must be above
what alarms at random reach. A candidate is asked by itself only what the champion keeps, so that a model is never worse
than itself.

The bounds of differences are percentiles of a paired bootstrap: benign records, and the attacks of each family, seen
and unseen, are drawn again with replacement, and both models are measured on the same draw. The bounds of one share are
exact. All of them show how certain these records are about *these two* models, not how much trainings vary.

Sources: Efron, Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13; Berger, "Multiparameter hypothesis
testing and acceptance sampling" (Technometrics, 1982); Clopper, Pearson, "The Use of Confidence or Fiducial Limits"
(Biometrika, 1934); Vovk, "Conditional validity of inductive conformal predictors" (ACML, 2012): the realised FPR at a
threshold from finitely many calibration records is beta-binomial.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipeline.evaluation.bootstrap import draws
from pipeline.evaluation.promotion_gate.base import (
    ALL,
    AS_ASKED,
    FAMILY,
    FPR,
    SEEN,
    UNSEEN,
    Criterion,
    Decision,
    Floats,
    Heldout,
    Judged,
)
from pipeline.evaluation.promotion_gate.measure import Measure, highest_fpr
from pipeline.evaluation.promotion_gate.verdicts import Pair, as_asked, beside, first, speaks
from pipeline.settings.promotion import Rules

__all__ = ["Criterion", "Decision", "Heldout", "Judged", "Rules", "admit", "compare", "highest_fpr"]


def compare(heldout: Heldout, candidate: Judged, champion: Judged, rules: Rules) -> Decision:
    """Decide between a candidate and the champion.

    Args:
        heldout: n records.
        candidate: its scores and alarms.
        champion: its scores and alarms on the same records.
        rules: margins and level.

    Raises:
        ValueError: there are too few records, or the models have scored other records.
    """
    _require(heldout, rules, candidate, champion)
    standard, note = _standard(heldout, champion, rules)
    others = [name for name in candidate.others if name in champion.others]
    models = [Measure(heldout, judged, rules.recall_at_fpr, others) for judged in (candidate, standard)]
    pairs = _pairs(heldout, models, rules)
    limit = _limit(heldout, candidate, rules)
    lines = []
    for pair in pairs:
        alone = (pair.n, pair.candidate, pair.champion)
        if pair.name == FPR:
            lines += [beside(pair, rules), as_asked(AS_ASKED, *alone, limit, rules)]
        else:
            lines += [speaks(*alone, rules) if pair.name == ALL else beside(pair, rules)]
    return _decision(heldout, lines, rules, note)


def admit(heldout: Heldout, candidate: Judged, rules: Rules) -> Decision:
    """Decide on a first model, which has no champion to be compared with.

    Its realised benign FPR must be what chance allows at the rate that was asked for, and a margin; its recall of all
    attacks must surely be above that rate, and its AUROC on unseen attacks above one half.

    Args:
        heldout: n records.
        candidate: its scores and alarms.
        rules: margins and level.

    Raises:
        ValueError: there are too few records, or the model has scored other records.
    """
    _require(heldout, rules, candidate)
    model = Measure(heldout, candidate, rules.recall_at_fpr, list(candidate.others))
    whole, drawn = _measured(heldout, [model], rules)[0]
    bounds = np.quantile(drawn, [1 - rules.level, rules.level], axis=0).T.tolist()
    limit = _limit(heldout, candidate, rules)
    lines = []
    for (name, n), figure, (low, high) in zip(model.names.items(), whole.tolist(), bounds, strict=True):
        if name == FPR:
            lines.append(as_asked(FPR, n, figure, None, limit, rules))
        else:
            lines.append(speaks(n, figure, None, rules) if name == ALL else first(name, n, figure, (low, high)))
    return _decision(heldout, lines, rules)


def _pairs(heldout: Heldout, models: Sequence[Measure], rules: Rules) -> list[Pair]:
    """Each figure of the candidate and of the champion, in this order of the models."""
    (new, new_drawn), (old, old_drawn) = _measured(heldout, models, rules)
    low, high = np.quantile(new_drawn - old_drawn, [1 - rules.level, rules.level], axis=0)
    left = np.quantile(new_drawn - rules.alarm_kept * old_drawn, 1 - rules.level, axis=0)
    figures = np.stack([old, new, low, high, left], axis=1).tolist()
    families = {FAMILY.format(name) for name in heldout.families}
    named = zip(models[0].names.items(), figures, strict=True)
    return [Pair(name, n, name in families, *measured) for (name, n), measured in named]


def _measured(heldout: Heldout, models: Sequence[Measure], rules: Rules) -> list[tuple[Floats, Floats]]:
    """Of each model its (k,) figures, and (rounds, k) on the same draws for all models."""
    whole = np.ones((1, heldout.y.size), dtype=np.int64)
    rounds = [[model(weights) for model in models] for weights in draws(heldout.strata(), rules.rounds, rules.seed)]
    drawn = [np.concatenate(parts) for parts in zip(*rounds, strict=True)]
    return [(model(whole)[0], figures) for model, figures in zip(models, drawn, strict=True)]


def _standard(heldout: Heldout, champion: Judged, rules: Rules) -> tuple[Judged, tuple[str, ...]]:
    """The champion with only those alarms on attacks that count, and a note about them."""
    benign = heldout.y != 1
    realised = float(champion.alarm[benign].mean())
    if realised <= _limit(heldout, champion, rules):
        return champion, ()
    false = np.sort(champion.score[benign & champion.alarm])[::-1]
    cut = false[int(rules.asked * benign.sum())]
    counted = np.where(benign, champion.alarm, champion.alarm & (champion.score > cut))
    note = (
        f"the champion raises {100 * realised:.2f} % false alarms where {100 * rules.asked:.2f} % were asked for; its "
        f"recall at {rules.threshold} is read where it raises those"
    )
    return replace(champion, alarm=counted), (note,)


def _limit(heldout: Heldout, judged: Judged, rules: Rules) -> float:
    """The benign FPR that chance and the margin allow a model."""
    n = int((heldout.y != 1).sum())
    return highest_fpr(rules.asked + rules.asked_margin, n, judged.calibrated_on, rules.level)


def _decision(heldout: Heldout, lines: Sequence[Criterion], rules: Rules, notes: tuple[str, ...] = ()) -> Decision:
    of_alarms = (FPR, AS_ASKED, ALL, UNSEEN, SEEN)
    ordered = sorted(lines, key=lambda line: (not line.decides, line.name not in of_alarms))
    named = tuple(replace(line, name=heldout.called(line.name)) for line in ordered)
    return Decision(named, rules.level, rules.threshold, notes)


def _require(heldout: Heldout, rules: Rules, *judged: Judged) -> None:
    if short := heldout.shortage(rules):
        raise ValueError(f"gate: {short}")
    for model in judged:
        if model.score.shape != heldout.y.shape:
            raise ValueError(f"gate: {model.score.size} judged records, but {heldout.y.size} held-out ones")
