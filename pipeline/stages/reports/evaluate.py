"""The reports of evaluate: verdicts, curves, explanations and the page."""

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.artifacts import paths
from pipeline.artifacts.files import write_bytes
from pipeline.base.samples import Samples
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.prediction import Prediction
from pipeline.calibration.thresholds.base import VERDICTS, Thresholds
from pipeline.evaluation import metrics
from pipeline.evaluation.deployed import SECTIONS
from pipeline.reporting.figures.evaluation import calibration_curve, confusion, recall_per_attack, roc_pr
from pipeline.reporting.figures.models import score_histogram
from pipeline.reporting.page import render
from pipeline.serving import canaries
from pipeline.serving.bundle import Bundle
from pipeline.settings.evaluate import Evaluate
from pipeline.stages.reports import cards, latent_map, report_page
from pipeline.stages.reports.explanations import explained
from pipeline.stages.reports.report import Report

LEVELS = np.geomspace(0.001, 0.1, 21)  # nominal false positive rates of the calibration curve, 1 % among them
RANKING = {"auroc", "auroc_macro", "auprc", "auprc_balanced", "tpr_at_fpr_1pct", "tpr_at_fpr_01pct"}
RATES = RANKING | {"precision", "recall", "f1", "f1_balanced", "fpr"}  # what MLflow shows of metrics.json


def write_reports(
    settings: Evaluate,
    found: dict[str, Any],
    calibration: Calibration,
    tests: dict[str, Samples],
    predictions: dict[str, Prediction],
    report: Report,
) -> None:
    """Write them.

    Args:
        settings: of the stage.
        found: the content of ``metrics.json``.
        calibration: the decision.
        tests: section of ``metrics.json`` -> its records.
        predictions: section -> the decision on its records.
        report: of the stage.
    """
    sections, threshold = {name: found[name] for name in tests}, settings.threshold
    report.run.metrics(dict(_flat(sections)))
    report.run.file(paths.METRICS)
    _verdicts(tests, predictions, calibration, report)
    _figures(calibration.intervals, tests, predictions, report)
    _calibration_curve(calibration, tests, predictions, report)
    report.figure("latent_map", latent_map.latent_map(settings, report.subtitle))
    by_attack = {name: section["recall_by_attack"] for name, section in sections.items()}
    report.figure("recall_per_attack", recall_per_attack(by_attack, threshold, subtitle=report.subtitle))
    alerts = {SECTIONS[name]: predictions[name] for name in ("unseen", "seen")}
    bundle = Bundle.of_project()
    report.table("explanations", explained(alerts, threshold, bundle))
    cards.write(found, threshold, report, bundle.sealed.about[canaries.NAME])
    _page(found, threshold, report)
    _say(threshold, sections, report)


def _page(found: dict[str, Any], threshold: str, report: Report) -> None:
    """``report.html``, made last: it holds what was written before."""
    page = render(report_page.facts(found, threshold, report.folder))
    write_bytes(paths.PAGE, page.encode())
    report.run.file(paths.PAGE)


def _verdicts(
    tests: dict[str, Samples], predictions: dict[str, Prediction], calibration: Calibration, report: Report
) -> None:
    """Per record: score, p-value, confidence and verdict; and SSAD's files at each threshold over all test records."""
    report.confidence_parts(0, (_said(SECTIONS[name], samples, predictions[name]) for name, samples in tests.items()))
    report.json("confidence_intervals_epoch_0", calibration.intervals.intervals())
    y = np.concatenate([samples.y for samples in tests.values()])
    for name, threshold in calibration.thresholds.items():
        report.test_metrics(
            y, np.concatenate([prediction.flagged[name] for prediction in predictions.values()]), threshold, name
        )


def _said(split: str, samples: Samples, prediction: Prediction) -> pa.Table:
    """What is said of each record of a split; words as dictionaries, which take a tenth of the memory."""
    codes = np.searchsorted(sorted(VERDICTS), prediction.verdict).astype(np.int32)
    return pa.table(
        {
            "record_id": samples.record_id,
            "split": pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(samples), np.int32)), pa.array([split])),
            "attack": pa.array(samples.attack, pa.string()).dictionary_encode(),
            **prediction.scores,
            **{key: getattr(prediction, key) for key in ("score", "p_value", "confidence")},
            "verdict": pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(sorted(VERDICTS))),
        }
    )


def _figures(
    intervals: Thresholds, tests: dict[str, Samples], predictions: dict[str, Prediction], report: Report
) -> None:
    curves = {name: metrics.Curve.of(tests[name].y, predictions[name].ranked) for name in tests}
    report.figure("roc_pr", roc_pr(curves, subtitle=report.subtitle))
    score = np.concatenate([prediction.score for prediction in predictions.values()])
    groups = np.concatenate([np.where(tests[name].benign, "benign", name) for name in tests])
    report.figure("confusion", confusion(_confusion(tests, predictions), subtitle=report.subtitle))
    report.figure("score_histogram", score_histogram(score, groups, intervals, subtitle=report.subtitle))


def _calibration_curve(
    calibration: Calibration, tests: dict[str, Samples], predictions: dict[str, Prediction], report: Report
) -> None:
    """How many of all benign test records have a p-value of at most each level that the calibration supports."""
    levels = LEVELS[LEVELS * (calibration.reference.size + 1) >= 1]
    p_value = np.concatenate([prediction.p_value[tests[name].benign] for name, prediction in predictions.items()])
    alarms = [int((p_value <= level).sum()) for level in levels] if len(p_value) else []
    interval = np.array([metrics.wilson(k, len(p_value)) for k in alarms])
    realised, nominal = np.array(alarms) / max(len(p_value), 1), levels[: len(alarms)]
    figure = calibration_curve(nominal, realised, interval, n=len(p_value), subtitle=report.subtitle)
    report.figure("calibration_curve", figure)


def _confusion(tests: dict[str, Samples], predictions: dict[str, Prediction]) -> dict[str, dict[str, int]]:
    """Truth -> verdict -> records, benign first."""
    counts: dict[str, Counter[str]] = {"benign": Counter()}
    for name, samples in tests.items():
        code, truths = pd.factorize(samples.attack)
        for place, truth in enumerate(truths):
            counts.setdefault(str(truth), Counter()).update(predictions[name].verdict[code == place].tolist())
    return {truth: dict(counter) for truth, counter in counts.items()}


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """Dotted names of the rates in a nested mapping; counts and interval bounds stay in metrics.json."""
    pairs: list[tuple[str, float]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            pairs += _flat(value, f"{prefix}{key}.")
        elif key in RATES and value is not None:
            pairs.append((f"{prefix}{key}", float(value)))
    return pairs


def _say(threshold: str, sections: dict[str, Any], report: Report) -> None:
    for name, section in sections.items():
        at = section["thresholds"][threshold]
        report.say(
            f"{name}: AUROC {_rounded(section['auroc'])}, recall {_rounded(at['recall'])} "
            f"at a realised benign FPR of {_rounded(at['fpr'])} ({threshold}), n = {section['n']:,}"
        )


def _rounded(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"
