"""The reports of validate: every finding, the trust in each record, and what single features can tell."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline import validation
from pipeline.artifacts.files import write_bytes
from pipeline.datasets.schema import Column
from pipeline.reporting.figures.records import expectations as draw_expectations
from pipeline.reporting.figures.shortcuts import shortcuts as draw_shortcuts
from pipeline.stages.reports import floor
from pipeline.stages.reports.report import LEVELS, Report


def write_reports(findings: validation.Findings, columns: Sequence[Column], report: Report) -> None:
    """Write them.

    Args:
        findings: of the audit.
        columns: of the records.
        report: of the stage.
    """
    report.json("summary", findings.summary())
    report.json("confidence_intervals_epoch_0", findings.intervals())
    _confidence(findings.trust, report)
    _thresholds(findings, columns, report)
    _expectations(findings, report)
    _shortcuts(findings.shortcuts, report)
    for name, text in validation.data_docs(findings, report.subtitle).items():
        write_bytes(report.folder / "docs" / name, text.encode())
    broken = f"{len(findings.breaches)} hard and {len(findings.warnings)} soft broken"
    report.say(f"{len(findings.results)} expectations, {broken}")


def _expectations(findings: validation.Findings, report: Report) -> None:
    """The figure of the expectations that failed, and of those that a few records break."""
    shown = [finding for finding in findings.results if finding.unexpected or not finding.passed]
    report.figure(
        "expectations",
        draw_expectations(
            [f"{finding.subject}: {finding.text}" for finding in shown],
            [finding.share for finding in shown],
            [finding.allowed for finding in shown],
            [finding.hard for finding in shown],
            subtitle=report.subtitle,
        ),
    )


def _confidence(known: validation.Trust, report: Report) -> None:
    """Trust in each record after the rules, beside the rules that it breaks; it can be ``confidence.initial``."""
    rules = pa.DictionaryArray.from_arrays(pa.array(known.code), pa.array(known.rules, pa.string()))
    report.confidence_table(0, {"record_id": known.record_id, "confidence": known.confidence, "rules": rules})
    n = max(len(known.record_id), 1)
    counts = {"without_trust": (known.confidence == 0).sum(), "distrusted": (known.confidence < 1).sum()}
    report.run.metrics({f"share.{name}": float(count) / n for name, count in counts.items()})


def _thresholds(findings: validation.Findings, columns: Sequence[Column], report: Report) -> None:
    """At each level: the rules that it would break as their limit, and what the best single feature finds there.

    One half of a sample of each class chooses the feature and sets its threshold, the other half judges.
    """
    y, x, names = _ranked(findings, columns)
    chosen = findings.sample.half == 0
    best = floor.strongest(y[chosen], x[chosen], names)
    for name, budget in LEVELS.items():
        stops = findings.broken_at(budget)
        budgeted: dict[str, Any] = {"budget": budget, "would_stop": stops["hard"], "would_warn": stops["soft"]}
        report.run.metrics({f"{name}.would_stop": len(stops["hard"]), f"{name}.would_warn": len(stops["soft"])})
        if name not in best:
            report.json(f"test_metrics_threshold={name}", {"threshold": None, **budgeted})
            continue
        values = x[:, names.index(best[name].name)]
        judged_on = "the other half of a sample of each class"
        floor.judge(
            name,
            best[name],
            values[chosen & (y == 0)],
            y[~chosen],
            values[~chosen],
            report,
            judged_on=judged_on,
            **budgeted,
        )


def _ranked(
    findings: validation.Findings, columns: Sequence[Column]
) -> tuple[NDArray[np.int8], NDArray[np.float64], list[str]]:
    """Labels (n,) and features (n, F) of the sampled records, and the names of those that have an order."""
    sample = findings.sample
    benign = [code for code, attack in enumerate(sample.attacks) if attack == "benign"]
    ranked = {alone.feature for alone in findings.shortcuts.features if alone.reading == "rank"}
    kept = [place for place, column in enumerate(columns) if column.name in ranked]
    x = np.nan_to_num(sample.x[:, kept], nan=-np.inf, posinf=np.inf, neginf=-np.inf)
    return (~np.isin(sample.attack, benign)).astype(np.int8), x, [columns[place].name for place in kept]


def _shortcuts(found: validation.Shortcuts, report: Report) -> None:
    """``shortcuts.json``, the table of attacks by features behind it, and the figure."""
    report.json("shortcuts", {"means": validation.shortcut_sentences(found)} | found.summary())
    report.table("shortcuts", found.rows())
    table = [row for row in found.table() if row["feature"] is not None]
    report.figure(
        "shortcuts",
        draw_shortcuts(
            {row["attack"]: (row["feature"], row["auroc"]) for row in table},
            {row["attack"]: (row["feature_without_known"], row["auroc_without_known"]) for row in table},
            found.limits.attack_auroc,
            subtitle=report.subtitle,
        ),
    )
