"""The model card and the data card of a run, in Markdown: what was trained on what, what it finds, and its limits.

Every figure is read from a file that a stage has written. The order of the sections follows Mitchell et al., "Model
cards for model reporting" (2019), and Gebru et al., "Datasheets for datasets" (2021).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, write_bytes
from pipeline.base.escaping import in_code, in_markdown, table
from pipeline.stages.reports.report import Report

Content = Mapping[str, Any]

MODELS: Final = (paths.ENCODER, paths.DETECTOR, paths.HEAD)
AUDITED: Final = (("preprocess", "splits.json"), ("validate", "summary.json"), ("validate", "shortcuts.json"))
SECTIONS: Final = ("unseen", "seen")
SORTS: Final = {"altered": "altered benign record", "simulated": "simulated attack", "named": "attack of a file"}
LIMITS: Final = (
    "Nothing guarantees recall on an attack that is not named here.",
    "The rate of false alarms holds for benign traffic like that of the calibration, over all of it together. After "
    "drift, or on a part of the traffic, it may differ.",
    "A score says how unusual a record is, not that it is an attack. A person decides what follows from an alarm.",
)


def write(metrics: Content, threshold: str, report: Report, planted: Content | None = None) -> None:
    """``model_card.md``, and ``data_card.md`` if the earlier stages have left their reports.

    Args:
        metrics: the content of ``metrics.json``.
        threshold: the one of the headline result.
        report: that of evaluate.
        planted: how many canaries the model has, see ``serving.canaries``; None for none.
    """
    models = {path.name: read_json(path.with_suffix(".json")) for path in MODELS}
    _write(report, "model_card", model_card(metrics, threshold, models, planted))
    audited = [paths.REPORTS / stage / name for stage, name in AUDITED]
    if all(path.is_file() for path in audited):
        found = {path.stem: read_json(path) for path in audited}
        _write(report, "data_card", data_card(read_json(paths.SOURCE), **found))


def _write(report: Report, name: str, text: str) -> None:
    write_bytes(report.folder / f"{name}.md", text.encode())


def model_card(metrics: Content, threshold: str, models: Mapping[str, Content], planted: Content | None = None) -> str:
    """The card of the model.

    Args:
        metrics: the content of ``metrics.json``.
        threshold: the one of the headline result.
        models: encoder, detector and head by name, each as its JSON file describes it.
        planted: how many canaries it has.
    """
    stated = metrics["guarantee"]
    level, n = stated["levels"][threshold], stated["n_benign"]
    asked = "" if level["nominal"] is None else f" It was set for {_percent(level['nominal'])}."
    results = [
        [
            name,
            metrics[name]["n_attack"],
            _rate(metrics[name]["thresholds"][threshold], "recall_"),
            _area(metrics[name]),
        ]
        for name in SECTIONS
    ]
    attacks = [
        [attack, name, at["n"], _rate(at[threshold])]
        for name in SECTIONS
        for attack, at in metrics[name]["recall_by_attack"].items()
    ]
    return _page(
        "Model card",
        _models(models, metrics["fusion"]),
        "## Use",
        "For network flow records like those of the [data card](data_card.md): it scores each record and raises an "
        "alarm above a threshold. It is not for blocking traffic without a person, nor for records of another kind.",
        *([] if not metrics["synthetic"] else ["**The records are synthetic: no figure here is about real traffic.**"]),
        f"## Results at {in_markdown(threshold)}",
        *([_table(["attacks", "records", "recall", "AUROC"], results)] if attacks else []),
        f"Of {n:,} benign test records {_percent(level['fpr'])} raise an alarm.{asked}"
        + _without_doubted(stated, threshold),
        _table(["attack", "", "records", "recall"], attacks) if attacks else _without_attacks(metrics, threshold),
        "## Canaries",
        _canaries(planted),
        "## Limits",
        "\n".join(f"- {limit}" for limit in LIMITS),
    )


def _canaries(planted: Content | None) -> str:
    """By which records it is known that the model still finds what it found."""
    if planted is None:
        return "It has none: no record was fit for one. Nothing but silence shows that it is out of work."
    attacks, benign = planted["attacks"], planted["benign"]
    if not attacks:
        return (
            f"It has no planted attack: it raised a clear alarm on no seen attack, or saw none. {benign} benign "
            "records show whether it still computes the same scores."
        )
    return (
        f"Wherever it scores, it is asked about {sum(attacks.values())} planted attacks, of which "
        f"{planted['must_alarm']} must raise an alarm, and {benign} benign records. They are never counted.\n\n"
        + _table(["planted attack", "records"], [*map(list, attacks.items())])
    )


def _without_doubted(stated: Content, threshold: str) -> str:
    """The rate without the labels that validate doubts; "" where it doubts none."""
    others, doubted = (stated.get("doubted_labels", {}).get(part) for part in ("others", "doubted"))
    if not others or not doubted:
        return ""
    rates = [_percent(part["levels"][threshold]["fpr"]) for part in (others, doubted)]
    return (
        f" The labels of {doubted['n']:,} of them are doubted, since most records of their hosts at that time are "
        f"attacks: {rates[1]} of these raise an alarm, and {rates[0]} of the other {others['n']:,}."
    )


def _without_attacks(metrics: Content, threshold: str) -> str:
    """What is known of a model where no test record is an attack."""
    found = "No test record is an attack. How many attacks the model finds is not known."
    drilled = _drills(metrics, threshold)
    return f"{found} Drills were tried instead.\n\n{drilled}" if drilled else found


def _drills(metrics: Content, threshold: str) -> str:
    """The drills of each sort and kind; "" where there are none."""
    rows = [
        [f"drill: {SORTS[sort]}", kind, at["n"], _rate(at["thresholds"][threshold])]
        for sort, of in metrics.get("drills", {}).items()
        for kind, at in of["kinds"].items()
    ]
    return _table(["what", "kind", "number", "found"], rows) if rows else ""


def data_card(source: Content, splits: Content, summary: Content, shortcuts: Content) -> str:
    """The card of the data.

    Args:
        source: the content of ``source.json``.
        splits: that of ``splits.json``.
        summary: that of validate's ``summary.json``.
        shortcuts: that of ``shortcuts.json``.
    """
    named = ("train", "val", "calibration", "test_seen", "test_unseen", "left_out", "hidden")
    counts = [[name, splits[name].get("benign", 0), _attacks(splits[name])] for name in named if splits.get(name)]
    files = f"{len(source['files'])} file{'' if len(source['files']) == 1 else 's'}"
    kind = "simulated records" if source["synthetic"] else f"records of {in_markdown(source['dataset'])}"
    broken = [finding for finding in summary["findings"] if not finding["passed"]]
    findings = [f"- {_finding(each)}: {each['unexpected']:,} of {each['total']:,} break it" for each in broken]
    return _page(
        "Data card",
        f"{source['records']:,} {kind} in {files}; {source['rejected']:,} rows could not be read. "
        f"Digest {source['digest']}.",
        "## Splits",
        _table(["split", "benign", "attacks"], counts),
        f"{len(splits['columns'])} features; left out: {in_markdown(', '.join(splits['dropped'])) or 'none'}.",
        "## What the audit found",
        "\n".join(findings) or "No expectation was broken.",
        "\n".join(f"- {in_markdown(sentence)}" for sentence in shortcuts["means"].values()),
    )


def _finding(of: Content) -> str:
    return in_markdown(f"{', '.join(of['columns'])} {of['text']}")


def _models(models: Mapping[str, Content], fusion: str) -> str:
    """Which models there are, and how their scores become one."""
    kinds = {name: about.get("encoder", about.get("detector")) for name, about in models.items()}
    parts = [f"{name} {in_code(kind)}" for name, kind in kinds.items() if kind != "none"]
    return f"A network intrusion detector of flowsculpt: {', '.join(parts)}; scores joined by {in_code(fusion)}."


def _attacks(counts: Content) -> int:
    return sum(number for name, number in counts.items() if name != "benign")


def _percent(share: float | None) -> str:
    return "an unknown share" if share is None else f"{100 * share:.3g} %"


def _rate(at: Content, prefix: str = "") -> str:
    """Recall with its 95 % interval, whose bounds have the names ``prefix`` and low or high."""
    if at["recall"] is None:
        return "undefined"
    return f"{_percent(at['recall'])} ({_percent(at[f'{prefix}low'])} to {_percent(at[f'{prefix}high'])})"


def _area(section: Content) -> str:
    return "undefined" if section["auroc"] is None else f"{section['auroc']:.3f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return table(header, [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows])


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", *parts]) + "\n"
