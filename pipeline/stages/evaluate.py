"""Test scores and labels -> metrics, curves and tables. The only stage that reads the test splits' labels."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline import artifacts
from pipeline.base.errors import ConfigError, near_miss
from pipeline.base.samples import Samples
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.named_thresholds import UNKNOWN
from pipeline.calibration.prediction import Prediction
from pipeline.calibration.thresholds.base import Thresholds
from pipeline.datasets.schema import TOLD
from pipeline.evaluation import metrics, sections
from pipeline.evaluation.sections import Asked, Feature
from pipeline.preprocessing.features import Features
from pipeline.reporting.figures.evaluation import calibration_curve, confusion, recall_per_attack, roc_pr
from pipeline.reporting.figures.models import score_histogram
from pipeline.reporting.page import render
from pipeline.settings.evaluate import Evaluate
from pipeline.stages import launch
from pipeline.stages.groups import check, groups
from pipeline.stages.reports import latent_map, report_page
from pipeline.stages.reports.explanations import explained
from pipeline.stages.reports.report import Report

LEVELS = np.geomspace(0.001, 0.1, 21)  # nominal false positive rates of the calibration curve, 1 % among them
SECTIONS = {"seen": "test_seen", "unseen": "test_unseen"}
RANKING = {"auroc", "auroc_macro", "auprc", "auprc_balanced", "tpr_at_fpr_1pct", "tpr_at_fpr_01pct"}
RATES = RANKING | {"precision", "recall", "f1", "f1_balanced", "fpr"}  # what MLflow shows of metrics.json


def evaluate(settings: Evaluate, report: Report) -> None:
    """Judge both test splits with the calibrated decision."""
    calibration = Calibration.load(*artifacts.read_model(artifacts.THRESHOLDS))
    if settings.threshold not in calibration.thresholds:
        known = list(calibration.thresholds)
        miss = near_miss(settings.threshold, known)
        raise ConfigError(f"evaluate.threshold: {settings.threshold!r} is not known{miss}; known: {', '.join(known)}")
    latent_map.require(settings)
    reads = Features.load(*artifacts.read_model(artifacts.FEATURES)).reads
    check("evaluate.groups", [name for name in settings.groups if name not in TOLD], reads)
    tests = {name: artifacts.read_samples(artifacts.SCORES, split) for name, split in SECTIONS.items()}
    for name, samples in tests.items():
        report.reads(SECTIONS[name], samples)
    judged = {name: _judged(calibration, samples) for name, samples in tests.items()}
    asked = _asked(settings, calibration)
    feature = _feature()
    tested = {name: _section(tests[name], judged[name], asked) for name in tests}
    for name, section in tested.items():
        section["one_feature"] = _one_feature(feature, SECTIONS[name])
    source = artifacts.read_json(artifacts.SOURCE)
    about = {"dataset": source["dataset"], "synthetic": source["synthetic"], "fusion": calibration.fusion}
    recalls = {name: {key: at["recall"] for key, at in each["thresholds"].items()} for name, each in tested.items()}
    false_alarms = _false_alarms(tests, judged)
    promised = sections.guarantee(false_alarms, recalls, asked)
    columns = dict.fromkeys([*settings.groups, *([] if calibration.group is None else [calibration.group])])
    promised["groups"] = _by_group([*columns], calibration, tests, false_alarms, asked)
    promised["by"] = calibration.group if calibration.groups else None
    promised["worst"] = calibration.worst
    found = {**about, **tested, "guarantee": promised}
    artifacts.write_json(artifacts.METRICS, found)
    report.run.metrics(dict(_flat(tested)))
    report.run.file(artifacts.METRICS)
    _verdicts(tests, judged, calibration, report)
    _figures(calibration.intervals, tests, judged, report)
    _calibration_curve(calibration, tests, judged, report)
    report.figure("latent_map", latent_map.latent_map(settings, report.subtitle))
    by_attack = {name: section["recall_by_attack"] for name, section in tested.items()}
    figure = recall_per_attack(by_attack, settings.threshold, subtitle=report.subtitle)
    report.figure("recall_per_attack", figure)
    report.table(
        "explanations", explained({SECTIONS[name]: judged[name] for name in ("unseen", "seen")}, settings.threshold)
    )
    _page(found, settings.threshold, report)
    _say(settings.threshold, tested, report)


def _judged(calibration: Calibration, samples: Samples) -> Prediction:
    """Each record by the decision of its group, where the calibration tells groups apart."""
    names = None if calibration.group is None else groups(calibration.group, samples.record_id)
    return Prediction.of(calibration, *samples.x.T, groups=names)


def _asked(settings: Evaluate, calibration: Calibration) -> Asked:
    """What each section states, beside what the calibration promises."""
    return Asked(calibration.promises(), calibration.reference.size, settings)


def _section(samples: Samples, judged: Prediction, asked: Asked) -> dict[str, Any]:
    """One section of metrics.json: the whole decision, and stage 1 alone beside it."""
    section = sections.report(samples.y, samples.attack, judged.score, judged.flagged, asked)
    alone = {"published": judged.margin > 0}
    return {**section, "stage1_only": sections.report(samples.y, samples.attack, judged.margin, alone, asked)}


def _feature() -> Feature | None:
    """The trivial baseline of one feature, chosen on val: seen attacks against benign records."""
    val = artifacts.read_samples(artifacts.PROCESSED, "val")
    return sections.best_feature(val.y, val.x, val.columns)


def _one_feature(feature: Feature | None, split: str) -> dict[str, Any] | None:
    samples = artifacts.read_samples(artifacts.PROCESSED, split)
    return sections.one_feature(feature, samples.y, samples.x)


def _false_alarms(tests: dict[str, Samples], judged: dict[str, Prediction]) -> dict[str, NDArray[np.bool_]]:
    """Threshold -> mask of the benign records of all test splits that it flags."""
    names = next(iter(judged.values())).flagged
    return {
        name: np.concatenate([each.flagged[name][tests[key].benign] for key, each in judged.items()]) for name in names
    }


def _by_group(
    columns: Sequence[str],
    calibration: Calibration,
    tests: dict[str, Samples],
    flagged: dict[str, NDArray[np.bool_]],
    asked: Asked,
) -> dict[str, Any]:
    """Column -> its groups and their false alarms; columns that the records lack, or never fill, are passed over."""
    record_id = np.concatenate([samples.record_id[samples.benign] for samples in tests.values()])
    there = [name for name in columns if name in artifacts.column_names(artifacts.RECORDS)]
    named = {column: groups(column, record_id) for column in there}
    own = {
        name: replace(asked, nominal=calibration.promises(name), n_calibration=decision.reference.size)
        for name, decision in calibration.groups.items()
    }
    return {
        column: sections.by_group(flagged, names, own if column == calibration.group else {})
        for column, names in named.items()
        if (names != UNKNOWN).any()
    }


def _page(found: dict[str, Any], threshold: str, report: Report) -> None:
    """``report.html``, made last: it holds what was written before."""
    page = render(report_page.facts(found, threshold, report.folder))
    artifacts.write_bytes(artifacts.PAGE, page.encode())
    report.run.file(artifacts.PAGE)


def _verdicts(
    tests: dict[str, Samples], judged: dict[str, Prediction], calibration: Calibration, report: Report
) -> None:
    """Per record: score, p-value, confidence and verdict; and SSAD's files at each threshold over all test records."""
    columns: dict[str, list[NDArray[Any]]] = {}
    for name, samples in tests.items():
        part: dict[str, NDArray[Any]] = {
            "record_id": samples.record_id,
            "split": np.full(len(samples), SECTIONS[name]),
            "attack": samples.attack.astype(str),
            **judged[name].evidence,
            **{key: getattr(judged[name], key) for key in ("score", "p_value", "confidence", "verdict")},
        }
        for key, values in part.items():
            columns.setdefault(key, []).append(values)
    report.confidence_table(0, {name: np.concatenate(parts) for name, parts in columns.items()})
    report.json("confidence_intervals_epoch_0", calibration.intervals.intervals())
    y = np.concatenate([samples.y for samples in tests.values()])
    for name, threshold in calibration.thresholds.items():
        report.test_metrics(y, np.concatenate([each.flagged[name] for each in judged.values()]), threshold, name)


def _figures(intervals: Thresholds, tests: dict[str, Samples], judged: dict[str, Prediction], report: Report) -> None:
    curves = {name: metrics.Curve.of(tests[name].y, judged[name].score) for name in tests}
    report.figure("roc_pr", roc_pr(curves, subtitle=report.subtitle))
    score = np.concatenate([each.score for each in judged.values()])
    groups = np.concatenate([np.where(tests[name].benign, "benign", name) for name in tests])
    report.figure("confusion", confusion(_confusion(tests, judged), subtitle=report.subtitle))
    report.figure("score_histogram", score_histogram(score, groups, intervals, subtitle=report.subtitle))


def _calibration_curve(
    calibration: Calibration, tests: dict[str, Samples], judged: dict[str, Prediction], report: Report
) -> None:
    """How many of all benign test records have a p-value of at most each level that the calibration supports."""
    levels = LEVELS[LEVELS * (calibration.reference.size + 1) >= 1]
    p_value = np.concatenate([each.p_value[tests[name].benign] for name, each in judged.items()])
    alarms = [int((p_value <= level).sum()) for level in levels] if len(p_value) else []
    interval = np.array([metrics.wilson(k, len(p_value)) for k in alarms])
    realised, nominal = np.array(alarms) / max(len(p_value), 1), levels[: len(alarms)]
    figure = calibration_curve(nominal, realised, interval, n=len(p_value), subtitle=report.subtitle)
    report.figure("calibration_curve", figure)


def _confusion(tests: dict[str, Samples], judged: dict[str, Prediction]) -> dict[str, dict[str, int]]:
    """Truth -> verdict -> records, benign first."""
    counts: dict[str, Counter[str]] = {"benign": Counter()}
    for name, samples in tests.items():
        for truth, verdict in zip(samples.attack.tolist(), judged[name].verdict.tolist(), strict=True):
            counts.setdefault(truth, Counter())[verdict] += 1
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
            f"{name}: AUROC {_spelt(section['auroc'])}, recall {_spelt(at['recall'])} "
            f"at a realised benign FPR of {_spelt(at['fpr'])} ({threshold}), n = {section['n']:,}"
        )


def _spelt(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


if __name__ == "__main__":
    launch("evaluate", Evaluate, evaluate)
