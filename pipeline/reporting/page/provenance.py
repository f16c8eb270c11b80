"""Where the result came from: why alerts were raised, which files, models and software, and what the words mean."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby
from typing import Any, Final

from pipeline.reporting.figures import style
from pipeline.reporting.page.facts import Facts
from pipeline.reporting.page.markup import code, paragraph, section, table

MOST_ALERTS, MOST_FEATURES = 10, 4

WORDS: Final = {
    "record": "one network connection, summarised in some eighty numbers",
    "benign, unknown, anomalous": "the verdict on a record: below both thresholds, between them, above both",
    "seen, unseen attack": "a kind of attack that training had examples of, or none",
    "FPR, false-alarm rate": "share of benign records that raise an alarm",
    "recall": "share of attack records that raise an alarm",
    "precision": "share of alarms that are attacks",
    "F1, 1:1": "harmonic mean of precision and recall, with as many attacks as benign records",
    "AUROC": "probability that an attack gets a higher score than a benign record: 0.5 is a coin, 1 perfect",
    "p99": "threshold that 1 % of benign records exceed, on average over calibration sets; p97 and others alike",
    "95 % interval": "where the true figure is to be expected, since the test records are a sample",
}


def alerts(facts: Facts) -> str:
    """The features that drove the highest alerts; nothing where there are no explanations."""
    if not facts.explanations:
        return ""
    rows: list[list[str]] = []
    grouped = groupby(facts.explanations, key=lambda row: (row.get("record_id", ""), row.get("attack", "")))
    for position, ((record, attack), features) in enumerate(grouped):
        if position == MOST_ALERTS:
            break
        rows += _alert(record, attack, list(features)[:MOST_FEATURES])
    header = ("record", "it was", "stage", "feature", "value", "benign reference", "contribution")
    note = (
        f"The strongest alert of each kind, {MOST_ALERTS} at most, false ones among them, and the first "
        f"{MOST_FEATURES} features of each; more in explanations.csv."
    )
    return section("Why alerts were raised", table(header, rows, words=4), paragraph(note, "soft"))


def lineage(facts: Facts) -> str:
    """Models, files and software."""
    models = [[code(name), _described(about)] for name, about in facts.models.items()]
    files = [[code(name), code(digest)] for name, digest in facts.hashes.items()]
    software = ", ".join(f"{escape(name)} {escape(version)}" for name, version in facts.versions.items())
    note = (
        "The same records, settings and software give this page again, byte for byte. Every figure names, where the "
        "pointer rests on it, the file and the place in it that it was read from."
    )
    parts = [paragraph(note)]
    if models:
        parts += ["<h3>Models</h3>", table(("model", "what it is"), models, words=2)]
    if files:
        parts += ["<h3>Files, with their sha256</h3>", table(("file", "sha256"), files, words=2)]
    if software:
        parts += ["<h3>Software</h3>", paragraph(software)]
    return section("Lineage", *parts)


def words() -> str:
    """What the words of the page mean."""
    told = "".join(f"<dt>{escape(word)}</dt><dd>{escape(meaning)}</dd>" for word, meaning in WORDS.items())
    return section("Words", f"<dl>{told}</dl>")


def _alert(record: str, attack: str, features: Sequence[Mapping[str, str]]) -> list[list[str]]:
    who = [code(record), code(attack)]
    return [
        [
            *(who if first == 0 else ("", "")),
            escape(row.get("stage", "")),
            code(row.get("feature", "")),
            *map(_number, _numbers(row)),
        ]
        for first, row in enumerate(features)
    ]


def _numbers(row: Mapping[str, str]) -> list[str]:
    return [row.get(key, "") for key in ("value", "reference", "contribution")]


def _number(text: str) -> str:
    try:
        value = float(text)
    except ValueError:
        return escape(text)
    return escape(text) if math.isnan(value) else style.brief(value)


def _described(about: Mapping[str, Any]) -> str:
    """Settings of a model; its columns, weights and hashes are left to its file."""
    told = []
    for key, value in about.items():
        if isinstance(value, Mapping) and all(_plain(each) for each in value.values()):
            told += [f"{key}.{name} {_spelt(each)}" for name, each in value.items()]
        elif _plain(value) and not key.endswith("sha256"):
            told.append(f"{key} {_spelt(value)}")
    return escape(", ".join(told))


def _plain(value: Any) -> bool:
    short = isinstance(value, list) and len(value) <= 4 and all(isinstance(each, str | int | float) for each in value)
    return value is None or short or isinstance(value, str | int | float)


def _spelt(value: Any) -> str:
    if isinstance(value, list):
        return "/".join(map(str, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)
