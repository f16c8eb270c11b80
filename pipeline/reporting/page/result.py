"""The result: in three sentences, in four figures, in a table, and attack by attack."""

from html import escape

from pipeline.reporting.page.cited import Document, percent
from pipeline.reporting.page.facts import SECTIONS, Facts
from pipeline.reporting.page.markup import badge, bar, cards, code, paragraph, section, table

FEW = 5  # records below which a recall says next to nothing
KINDS = {"unseen": "of kinds that it was never shown", "seen": "of kinds that it was trained on"}


def sentences(facts: Facts) -> str:
    """What is found at which false alarm rate, what that means, and what is not found."""
    told = "".join(paragraph(html) for html in (_found(facts), _meant(facts), _missed(facts)))
    return f'<div class="result">{told}</div>'


def headline(facts: Facts) -> str:
    """The four figures that are asked for first."""
    shown, level, at = facts.metrics.at(facts.shown), facts.level, escape(facts.threshold)
    found, area = facts.at_threshold(facts.shown), f"{shown.area('auroc_low')} to {shown.area('auroc_high')}"
    recall = found.interval("recall_low", "recall_high")
    return cards(
        (
            (found.share("recall"), f"of {facts.shown} attacks found", f"at {at}, as deployed; {recall}"),
            (level.share("fpr"), f"false alarms at {at}", f"promised: {level.share('nominal')}"),
            (level.count("alerts_per_million_benign"), "false alerts", f"in a million benign records, at {at}"),
            (shown.area("auroc"), f"AUROC, {facts.shown} attacks", area),
        )
    )


def results(facts: Facts) -> str:
    """Both sections, each figure with its n and interval: what the alarm does, and below it what the ranking allows."""
    at, fprs = facts.threshold, _fprs(facts)
    deployed = ["", "attacks", "benign", f"recall at {at}", f"FPR at {at}", f"F1 at {at}"]
    ranking = ["", "AUROC", "mean by attack", *(f"recall at own {percent(fpr)} FPR" for fpr in fprs)]
    note = (
        "Small print: 95 % intervals, of shares by Wilson, of the AUROC by bootstrap. F1 is stated for one attack per "
        "benign record, since more attacks would raise it at will. The second table is about the ranking alone. Its "
        "recall is read where at most that share of the benign records of the same test set is flagged, and no alarm "
        "can know that place beforehand."
    )
    return section(
        "Seen and unseen attacks",
        table(deployed, [_deployed(facts, name) for name in SECTIONS]),
        table(ranking, [_ranked(facts, name, fprs) for name in SECTIONS]),
        paragraph(note, "soft"),
    )


def attacks(facts: Facts) -> str:
    """Recall of each attack, those most seldom found first."""
    fprs = _fprs(facts)
    rows = [_attack(facts, name, attack, fprs) for name in SECTIONS for attack in facts.attacks(name)]
    if not rows:
        return section("Attack by attack", paragraph("The test splits hold no attacks."))
    recalls = [f"recall at own {percent(fpr)} FPR" for fpr in fprs]
    header = ["attack", "", "n", f"recall at {facts.threshold}", "", "AUROC", *recalls]
    notes = [
        "Bar: recall at the threshold; line across it: its 95 % Wilson interval. What is most seldom found comes first."
    ]
    if any(facts.is_few(name, attack, FEW) for name in SECTIONS for attack in facts.attacks(name)):
        mark = badge("few", "warn")
        notes.append(
            f"{mark}: fewer than {FEW} records, from which no rate can be told; means count them all the same."
        )
    return section("Attack by attack", table(header, rows, words=2), paragraph(" ".join(notes), "soft"))


def _fprs(facts: Facts) -> list[str]:
    return facts.metrics.names("unseen", "recall_at_fpr")


def _deployed(facts: Facts, name: str) -> list[str]:
    of, at = facts.metrics.at(name), facts.at_threshold(name)
    rates = [at.share_within("recall", "recall_low", "recall_high"), at.share_within("fpr", "fpr_low", "fpr_high")]
    return [badge(name, name), of.count("n_attack"), of.count("n_benign"), *rates, at.area("f1_balanced")]


def _ranked(facts: Facts, name: str, fprs: list[str]) -> list[str]:
    of = facts.metrics.at(name)
    recalls = [of.at("recall_at_fpr", fpr).share_within("recall") for fpr in fprs]
    return [badge(name, name), of.area_within("auroc"), of.area("auroc_macro"), *recalls]


def _attack(facts: Facts, name: str, attack: str, fprs: list[str]) -> list[str]:
    of = facts.metrics.at(name)
    by = of.at("recall_by_attack", attack)
    at = by.at(facts.threshold)
    mark = f" {badge('few', 'warn')}" if facts.is_few(name, attack, FEW) else ""
    recalls = [of.at("recall_at_fpr", fpr, "by_attack", attack).share_within("recall") for fpr in fprs]
    who = [code(attack) + mark, badge(name, name), by.count("n")]
    area = of.area("auroc_by_attack", attack, "auroc")
    return [*who, at.share_within("recall"), bar(at, name), area, *recalls]


def _found(facts: Facts) -> str:
    level = facts.level
    set_to = f"Set to raise a false alarm on {level.share('nominal')} of benign records"
    told = f"At the threshold {code(facts.threshold)}" if level("nominal") is None else set_to
    found = [
        f"{facts.at_threshold(name).share('recall')} of the {facts.metrics.count(name, 'n_attack')} attack records "
        f"{kind} (95 % interval {facts.at_threshold(name).interval('recall_low', 'recall_high')})"
        for name, kind in KINDS.items()
        if facts.metrics(name, "n_attack")
    ]
    if not found:
        return "The test splits hold no attacks, so that nothing can be said of what this detector finds."
    nothing = "No attack was held back as unseen: this run says nothing of attacks that the detector was not shown. "
    return f"{'' if facts.shown == 'unseen' else nothing}{told}, this detector finds {' and '.join(found)}."


def _meant(facts: Facts) -> str:
    level, n = facts.level, facts.metrics.count("guarantee", "n_benign")
    if level("fpr") is None:
        return "The test splits hold no benign records, so that its false alarms are not known."
    if not level("fpr"):
        most = level.share("fpr_high")
        return f"Not one of {n} benign test records raised a false alarm; the true rate may still be as high as {most}."
    alerts = f"{level.count('alerts_per_million_benign')} alerts in every million benign records"
    told = f"On {n} benign test records the false-alarm rate came to {level.share('fpr')}, that is {alerts}"
    precision = level.at("precision_at_prevalence", facts.shown)
    known = [prevalence for prevalence in precision.names() if precision(prevalence) is not None]
    if not known:
        return f"{told}."
    middle = known[len(known) // 2]
    real = f"{precision.share(middle)} of the alerts would be real ones"
    return f"{told}; where {percent(middle)} of all records are {facts.shown} attacks, {real}."


def _missed(facts: Facts) -> str:
    name, by = facts.shown, facts.metrics.at(facts.shown, "recall_by_attack")
    enough = [attack for attack in facts.attacks(name) if not facts.is_few(name, attack, FEW)]
    weak = [attack for attack in enough if by(attack, facts.threshold, "recall") < 0.5]
    last = "what it finds of a kind of attack that is not in this test, nobody can promise."
    if weak:
        return f"It misses most of {_listed([_recall(by, attack, facts.threshold) for attack in weak])}; {last}"
    if enough:
        least = _recall(by, enough[0], facts.threshold)
        return f"Of each {name} kind with at least {FEW} records it finds half or more, the least of {least}; {last}"
    return f"No {name} kind has the {FEW} records from which a rate can be told; {last}"


def _recall(by: Document, attack: str, threshold: str) -> str:
    return f"{code(attack)} ({by.share(attack, threshold, 'recall')} of {by.count(attack, 'n')} found)"


def _listed(html: list[str]) -> str:
    return html[0] if len(html) == 1 else f"{', '.join(html[:-1])} and {html[-1]}"
