"""How far the result can be trusted: false alarms promised and realised, guarantees, what is wrong with the data."""

from html import escape

from pipeline.reporting.page.cited import Document, percent
from pipeline.reporting.page.facts import SECTIONS, Facts
from pipeline.reporting.page.markup import badge, bullets, code, paragraph, section, table
from pipeline.reporting.page.result import FEW

MOST = 12  # names that a line lists
PROTOCOLS = {"0": "none", "1": "ICMP", "6": "TCP", "17": "UDP"}  # IANA
OPEN = (
    "<b>Recall on kinds of attack that are not in this test.</b> The figures hold for the attacks that are named here; "
    "the next one may look more benign than any of them.",
    "<b>Anything, once traffic has changed.</b> After drift, benign records are no longer exchangeable with those of "
    "the calibration. The drift check watches for that; recalibrate when it says so.",
    "<b>Each host, service or day.</b> The rate is one over all benign traffic, a part of which may raise more alarms, "
    "unless <code>calibrate.group</code> gives each group thresholds of its own.",
    "<b>How many alerts are real.</b> That depends on how frequent attacks are; the table above says how.",
)
TEST_BED = (
    "CIC-IDS-2017 is one week of a test bed. As first published it labels about 2.7 % of its benign records wrongly, "
    "as they are port scans, and calls attacks what never reached its target; the corrected release (Engelen et al., "
    "2021; Liu et al., 2022) mends both."
)


def false_alarms(facts: Facts) -> str:
    """Promised against realised, and what an alert is worth."""
    metrics = facts.metrics
    n, m = metrics.count("guarantee", "n_benign"), metrics.count("guarantee", "n_calibration")
    header = ("threshold", "", "promised", "realised", "its 95 % interval", "expected within", "in a million")
    note = (
        f"Realised: share of the {n} benign test records that raise an alarm. Expected within: where that share falls "
        "in 95 of 100 cases if the promise is kept, which is a beta-binomial interval and wider than a binomial one, "
        f"since the threshold itself comes from a sample, the {m} calibration records. In a million: alerts in as many "
        "benign records."
    )
    rows = [_promise(name, metrics.at("guarantee", "levels", name)) for name in metrics.names("guarantee", "levels")]
    parts = (table(header, rows, words=2), paragraph(note, "soft"), *_by_group(facts), *_worth(facts))
    return section("False alarms: promised and realised", *parts)


def guarantees(facts: Facts) -> str:
    """What is guaranteed, and what is not."""
    level, m = facts.level, facts.metrics.count("guarantee", "n_calibration")
    by = facts.metrics("guarantee", "by")
    like = f"A benign record that is exchangeable with the {m} benign calibration records"
    if by:
        like = (
            f"A benign record of a {code(by)} with thresholds of its own, exchangeable with those that they come from"
        )
    kept = [
        f"<b>Benign false alarms, on average.</b> {like}, which no training has seen, gets a p-value of a or less "
        f"with a probability of at most {_bound(facts)}.",
        "<b>No look ahead.</b> Each threshold was fixed before a test record was read.",
    ]
    if level("nominal") is not None:
        true = level.interval("true_low", "true_high")
        kept.insert(
            1,
            f"<b>How near one calibration comes to that.</b> With {m} calibration records the true rate of "
            f"{code(facts.threshold)}, promised {level.share('nominal')}, lies from {true} with a probability of "
            "95 %. More calibration records narrow it.",
        )
    boxes = [
        f'<div class="box {tone}"><h3>{title}</h3>{bullets(html)}</div>'
        for title, tone, html in (("Guaranteed", "good", kept), ("Not guaranteed", "warn", OPEN))
    ]
    return section("What is guaranteed, and what is not", f'<div class="pair">{"".join(boxes)}</div>')


def _bound(facts: Facts) -> str:
    """What a p-value is bounded by, where one model or several have scored the calibration records."""
    worst = facts.metrics("guarantee", "worst") or 1
    if worst == 1:
        return "a, whatever the model is like"
    return (
        f"{worst:.1f} a, whatever the models are like, given the scales of features and scores; and of about a where "
        "no single record changes the models. Each calibration record was scored by a model that has not seen it"
    )


def caveats(facts: Facts) -> str:
    """What is wrong with the data, and of what there is little."""
    return section(
        "What to know about the data",
        bullets([*_kind(facts), *_audited(facts), *_shortcuts(facts), *_left(facts), *_few(facts)]),
    )


def _promise(name: str, level: Document) -> list[str]:
    within = level("within")
    kept = "" if within is None else badge("kept", "good") if within else badge("not kept", "bad")
    intervals = [level.interval("fpr_low", "fpr_high"), level.interval("expected_low", "expected_high")]
    alerts = level.count("alerts_per_million_benign")
    return [escape(name), kept, level.share("nominal"), level.share("fpr"), *intervals, alerts]


def _by_group(facts: Facts) -> list[str]:
    """False alarms of parts of the traffic, as far as the records tell them apart."""
    parts: list[str] = []
    every = facts.metrics.at("guarantee", "groups")
    header = ("group", "", "benign records", "promised", "realised", "its 95 % interval", "expected within")
    for column in every.names():
        rows = []
        for name in every.names(column)[:MOST]:
            group, level = every.at(column, name), every.at(column, name, "levels", facts.threshold)
            _, kept, promised, realised, *intervals, _ = _promise(name, level)
            shown = PROTOCOLS.get(name, name) if column == "protocol" else name
            rows.append([escape(shown or "not told"), kept, group.count("n"), promised, realised, *intervals])
        parts += [f"<h3>At {escape(facts.threshold)}, by {escape(column)}</h3>", table(header, rows, words=2)]
    note = (
        "A rate is promised of each group that has thresholds of its own, and of nothing else."
        if facts.metrics("guarantee", "by")
        else "The rate that is promised is one over all benign records, and of no group by itself."
    )
    return [*parts, paragraph(note, "soft")] if parts else []


def _worth(facts: Facts) -> list[str]:
    levels = facts.metrics.at("guarantee", "levels")
    prevalences = levels.names(facts.threshold, "precision_at_prevalence", "unseen")
    rates = [
        (name, threshold, facts.metrics.at(name, "thresholds", threshold))
        for name in SECTIONS
        if facts.metrics(name, "n_attack")
        for threshold in facts.metrics.names(name, "thresholds")
    ]
    rows = [
        [
            escape(threshold),
            badge(name, name),
            at.share_within("recall", "recall_low", "recall_high"),
            *(levels.share(threshold, "precision_at_prevalence", name, each) for each in prevalences),
        ]
        for name, threshold, at in rates
    ]
    header = ("threshold", "attacks", "found", *(f"real, at {percent(each)}" for each in prevalences))
    note = "Real, at: share of the alerts that are attacks, where that share of all records are attacks of the group."
    return ["<h3>What an alert is worth</h3>", table(header, rows, words=2), paragraph(note, "soft")] if rows else []


def _kind(facts: Facts) -> list[str]:
    source = facts.source
    rejected = f"{source.count('rejected')} rows could not be read"
    told = [f"{source.count('records')} records of {escape(str(source('dataset')))}; {rejected}."]
    if facts.synthetic:
        told.append("The records are simulated: they show that the pipeline works, and nothing about real traffic.")
    return [*told, TEST_BED] if facts.is_cicids2017 else told


def _audited(facts: Facts) -> list[str]:
    if (audit := facts.audit) is None:
        return ["The audit of validate is absent, so that duplicates and label noise are not known."]
    copies = audit.at("duplicates")
    told = [
        f"Duplicates: {copies.count('repeated')} of {audit.count('rows')} records repeat an earlier one in all "
        f"features. {code('preprocess.duplicates')} says whether copies share a split, are dropped, or leak.",
        f"Label noise: {copies.count('disagreeing_labels')} records have an exact copy with the other label, "
        f"{copies.count('disagreeing_attacks')} one with another attack; no model can tell those apart.",
    ]
    broken = [each for each in audit("findings") or [] if not each["passed"]]
    if broken:
        texts = "; ".join(escape(f"{', '.join(each['columns'])} {each['text']}") for each in broken[:MOST])
        told.append(f"Not as expected, of {audit.count('expectations')} expectations on the records: {texts}.")
    return told


def _shortcuts(facts: Facts) -> list[str]:
    """What one feature, the capture day or the labels alone may tell: a high figure is no merit then."""
    if facts.shortcuts is None:
        return ["The shortcut audit of validate is absent: whether one feature alone tells the attacks is not known."]
    return [escape(str(facts.shortcuts("means", name))) for name in facts.shortcuts.names("means")]


def _left(facts: Facts) -> list[str]:
    if (splits := facts.splits) is None:
        return []
    texts = {
        "left_out": "In no split, such as attacks that were only attempted, or copies",
        "hidden": "Attacks that were hidden among the benign training records on purpose",
    }
    told = []
    for key, text in texts.items():
        if names := splits.names(key):
            counts = ", ".join(f"{code(name)} {splits.count(key, name)}" for name in names[:MOST])
            told.append(f"{text}: {counts}{' and others' if len(names) > MOST else ''}.")
    return told


def _few(facts: Facts) -> list[str]:
    few = [code(attack) for name in SECTIONS for attack in facts.attacks(name) if facts.is_few(name, attack, FEW)]
    told = "Attacks are as frequent here as the data set has them, which is not as in your network."
    return [f"Fewer than {FEW} test records: {', '.join(few)}.", told] if few else [told]
