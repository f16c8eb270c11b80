"""The reports of calibrate: what the thresholds promise, what lacks records, and the verdicts on val."""

from typing import Any

from pipeline.base.samples import Samples
from pipeline.calibration.calibration import LEAST_FOR_A_CLASS, LEAST_FOR_SURPRISALS, Calibration
from pipeline.calibration.decisions import Decisions
from pipeline.calibration.named_thresholds import LEAST_OF_A_GROUP, Decision, Names
from pipeline.calibration.prediction import Prediction
from pipeline.calibration.thresholds.conformal import Guarantee, interval
from pipeline.settings.calibrate import Calibrate
from pipeline.stages.reports import scores
from pipeline.stages.reports.report import Report


def write_reports(calibration: Calibration, benign: Samples, val: Samples, names: Names | None, report: Report) -> None:
    """Write them.

    Args:
        calibration: the fitted decision.
        benign: the records that it was fitted on.
        val: the records that it judges here.
        names: of the groups of ``val``, where groups have thresholds of their own.
        report: of the stage.
    """
    _warn(calibration, val, report)
    if calibration.fusion == "beside" and "head" in calibration.used:
        report.say(
            "the head stands beside the other scores, with a tenth of the false alarms: it learnt from few attacks "
            "(calibrate.few_attacks), or calibrate.fusion asks for it"
        )
    if calibration.group is not None:
        _say_groups(calibration, calibration.group, benign, report)
    usual, *alone = (_stated(side) for side in calibration.sides.values())
    report.json("thresholds", {**usual, **({"without_context": alone[0]} if alone else {})})
    report.run.metrics({f"threshold.{name}": value for name, value in calibration.thresholds.items()})
    prediction = Prediction.of(calibration, *val.x.T, groups=names)
    shown = (prediction.confidence, prediction.verdict)
    scores.judged(report, 0, val, prediction.score, calibration.intervals, shown)
    for name, threshold in calibration.thresholds.items():
        report.test_metrics(val.y, prediction.flagged[name], threshold, name)
    scores.ranking(report, val, prediction.ranked)


def _stated(side: Decisions) -> dict[str, Any]:
    """The thresholds of a side and of its groups, and how many records each was fitted on."""
    groups = {name: _named(group) for name, group in side.groups.items()}
    return {**_named(side.whole), "groups": groups}


def _named(decision: Decision) -> dict[str, Any]:
    return {"named": dict(decision.thresholds), "n": decision.reference.size}


def foretell(settings: Calibrate, n: int, report: Report) -> None:
    """Say before any fit how far the realised rate of each level may lie from it, and what more records would give.

    The published cascade promises no rate, so nothing is said of it.
    """
    if settings.fusion == "cascade":
        return
    for percent in settings.percentiles:
        report.say(foretold(percent, n))


def foretold(percent: float, n: int, more: int = 4) -> str:
    """One line on a level: the spread that ``n`` calibration records leave, and that of ``more`` times as many."""
    risk, guarantee = round(1 - percent / 100, 12), Guarantee()
    needed = guarantee.records_needed(risk)
    if n < needed:
        smallest = 100 * guarantee.smallest_risk(n)
        return f"p{percent:g}: {n:,} benign records support no level below {smallest:.3g} %; it needs {needed:,}"
    low, high = (100 * end for end in interval(n, risk))
    better = " to ".join(f"{100 * end:.3g}" for end in interval(more * n, risk))
    return (
        f"p{percent:g}: asked for {100 * risk:.3g} %, {n:,} benign records may give {low:.3g} to {high:.3g} % (95 %); "
        f"{more * n:,} would give {better} %"
    )


def _warn(calibration: Calibration, val: Samples, report: Report) -> None:
    """Warn where there are too few records for a threshold, a surprisal or the seen attacks."""
    n = calibration.reference.size
    for name, risk in calibration.promises().items():
        asked = 1 - float(name.removeprefix("p")) / 100
        if risk > asked + 1e-9:
            report.say(
                f"{name}: its threshold is the highest score of {n:,} benign calibration records, which support no "
                f"level below {100 * risk:.3g} %; it needs {Guarantee().records_needed(asked):,} of them"
            )
    if val.benign.sum() < LEAST_FOR_SURPRISALS and calibration.worst == 1:
        report.say(
            f"{val.benign.sum()} benign records in val are too few for the surprisals, so these come from the "
            f"calibration records themselves: levels hold nearly, not exactly; {LEAST_FOR_SURPRISALS} are enough"
        )
    if (~val.benign).sum() < LEAST_FOR_A_CLASS:
        report.say(f"{(~val.benign).sum()} seen attacks in val are too few to say what is like them")


def _say_groups(calibration: Calibration, column: str, benign: Samples, report: Report) -> None:
    """Say which groups are judged by thresholds of their own."""
    own = ", ".join(f"{name} ({group.reference.size:,})" for name, group in calibration.groups.items())
    others = len(benign) - sum(group.reference.size for group in calibration.groups.values())
    report.say(
        f"thresholds for each {column} with {LEAST_OF_A_GROUP} benign calibration records or more: {own or 'none'}; "
        f"the others ({others:,}) are judged by those of all records"
    )
