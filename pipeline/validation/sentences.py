"""What the shortcut audit found and what that means, a sentence for each finding."""

from collections.abc import Iterable

import numpy as np

from pipeline.validation.shortcuts import FEW, Shortcuts
from pipeline.validation.single_feature import MIN_RECORDS, FeatureAuroc

SHOWN = 5  # names in a sentence

_REMEDY = (
    "the label has leaked into it; leave it out with ingest.*.ignore_columns, or, where it is genuine, name it in "
    "preprocess.features.drop and validate.shortcuts.known"
)


def shortcut_sentences(found: Shortcuts) -> dict[str, str]:
    """Finding -> its sentence; a finding that these records cannot have is left out."""
    sentences = {
        "leak": _leak(found),
        "one_feature": _one_feature(found),
        "known": _known(found),
        "day": _day(found),
        "labels": _labels(found),
        "attempted": _attempted(found),
        "too_few": f"Fewer than {MIN_RECORDS} records, too few to judge: {_few(found.too_few)}." * bool(found.too_few),
    }
    return {name: sentence for name, sentence in sentences.items() if sentence}


def details(found: Shortcuts) -> dict[str, str]:
    """Name of a frame of ``found.frames()`` -> what breaks the rules about it, and the remedy."""
    best = (f"{attack} by {feature} ({auroc:.4f})" for attack, (feature, auroc) in found.by_one_feature.items())
    days = (f"{attack} ({day})" for attack, day in found.one_day.items())
    leaks = "; ".join(_leaked(found, leak) for leak in found.leaks)
    return {"leaks": leaks, "one_feature": _few(best), "one_day": _few(days)}


def _leaked(found: Shortcuts, leak: FeatureAuroc) -> str:
    if found.by_place(leak):
        return (
            f"{leak.feature!r} tells {_attacks(found)} from benign by where its values lie, as a row number or a time "
            f"does, with an AUROC of {leak.by_place:.4f}, validate.shortcuts.leak_auroc_of_few allows "
            f"{found.limits.leak_auroc_of_few:g}: {_REMEDY}"
        )
    name = "leak_auroc" if len(found.measured) > FEW else "leak_auroc_of_few"
    return (
        f"{leak.feature!r} tells {_attacks(found)} from benign with an AUROC of {leak.pooled:.4f} pooled and "
        f"{leak.mean:.4f} in the mean over attacks, validate.shortcuts.{name} allows {found.leak_limit:g}: {_REMEDY}"
    )


def _leak(found: Shortcuts) -> str:
    if not found.features:
        return "There are too few benign or attack records to see how much one feature alone tells."
    if found.leaks:
        leaks = _few(leak.feature for leak in found.leaks)
        return f"The label has leaked into {leaks}: whatever is measured on these records is worth nothing."
    others = [auroc for auroc in found.ranked() if auroc.feature not in found.known_here]
    best = f"{others[0].feature} comes nearest with an AUROC of {others[0].of_all:.3f}" if others else "all are known"
    return f"No column carries the label: of all attacks at once, {best}; {found.leak_limit:g} is allowed."


def _one_feature(found: Shortcuts) -> str:
    if not found.measured:
        return ""
    limit = f"with an AUROC above {found.limits.attack_auroc:g}"
    if not found.by_one_feature:
        return f"No feature alone tells an attack {limit}: finding one takes more than a threshold on one feature."
    some = f"{len(found.by_one_feature)} of {_attacks(found, every='')}"
    which = some if len(found.measured) > 1 else _attacks(found)
    return f"One feature alone tells {which} {limit}: finding what one threshold finds proves little."


def _known(found: Shortcuts) -> str:
    if not found.measured or not found.known_here:
        return ""
    with_them, without = (
        np.mean([found.strongest(attack, names)[1] for attack in found.measured]) for names in ((), found.known_here)
    )
    return (
        f"The strongest feature of an attack has an AUROC of {with_them:.3f} on average, and of {without:.3f} without "
        f"{_few(found.known_here)}: the difference is what the known shortcuts add."
    )


def _day(found: Shortcuts) -> str:
    if not found.several_days:
        return "The records name no more than one capture day: what changes from day to day cannot be seen."
    association = found.day_association
    strength = "" if association is None else f" (Cramér's V of attack and day: {association:.2f})"
    dated = sum(bool(count.days) for count in found.attacks.values())
    return (
        f"{len(found.one_day)} of {dated} attacks lie on a single capture day{strength}: what only that day has may "
        "pass for the attack, and a random split does not show it."
    )


def _labels(found: Shortcuts) -> str:
    other = sum(count.disagreeing for count in found.attacks.values())
    if not other:
        return "No attack record equals one of another class in all features."
    copies = f"{other:,} attack records equal one of another class in all features, which no model can tell apart"
    if not found.both_labels:
        return f"{copies}; none of them equals a benign one, so that no alarm depends on it."
    both = f"{found.both_labels:,} records, benign ones among them, bear both labels"
    return f"{copies}; {both}, so that errors are certain."


def _attempted(found: Shortcuts) -> str:
    share = found.attempted_share
    if share is None:
        return "The labels do not say which attacks were only attempted: some attack records may hold no attack."
    if not share:
        return "No attack record is labelled as attempted: by the labels, each one reached something."
    return (
        f"{share:.1%} of the attack records are labelled as attempted: they reached nothing, and the original labels "
        "call them attacks all the same."
    )


def _attacks(found: Shortcuts, every: str = "all ") -> str:
    number = len(found.measured)
    return f"{every}{number} attacks" if number > 1 else "the one attack"


def _few(names: Iterable[str]) -> str:
    first, others = (listed := list(names))[:SHOWN], len(listed) - SHOWN
    return ", ".join(first) + (f" and {others} more" if others > 0 else "")
