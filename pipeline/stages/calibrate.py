"""Benign calibration scores -> thresholds, verdict intervals and p-values."""

import numpy as np
from numpy.typing import NDArray

from pipeline import artifacts
from pipeline.base.errors import ConfigError, SplitError
from pipeline.base.registry import build, find
from pipeline.base.samples import Samples
from pipeline.calibration.calibration import Calibration
from pipeline.calibration.cross_conformal import OUT_OF_FOLD, worst_factor
from pipeline.calibration.fusion import FUSIONS
from pipeline.calibration.named_thresholds import LEAST_OF_A_GROUP, UNKNOWN, Names
from pipeline.calibration.prediction import Prediction
from pipeline.calibration.thresholds.conformal import Guarantee, interval
from pipeline.calibration.thresholds.registry import THRESHOLDS
from pipeline.preprocessing.features import Features
from pipeline.settings.calibrate import Calibrate
from pipeline.stages import groups, launch
from pipeline.stages.reports import scores
from pipeline.stages.reports.report import Report

LEAST_FOR_TAILS = 40  # benign records of val, below which a tail is better fitted on those of calibration
LEAST_FOR_A_CLASS = 19  # seen attacks of val that support a share of 5 %


def calibrate(settings: Calibrate, report: Report) -> None:
    """Fit the decision on benign records, each scored by a model that has not seen it; show what it says of val."""
    find(FUSIONS, settings.fusion, "calibrate.fusion")
    if settings.group is not None:
        reads = Features.load(*artifacts.read_model(artifacts.FEATURES)).reads
        groups.check("calibrate.group", [settings.group], reads)
    plugin = settings.settings(settings.thresholds, THRESHOLDS)
    strategy = build(THRESHOLDS, settings.thresholds, "calibrate.thresholds", **plugin)
    benign, worst = _benign(settings)
    report.reads(settings.drawn_from, benign)
    if settings.fusion != "cascade":
        _foretell(settings, len(benign), report)
    val = artifacts.read_samples(artifacts.SCORES, "val")
    calibration = Calibration.fit(
        **dict(zip(benign.columns, benign.x.T.astype(np.float64), strict=True)),
        fusion=settings.fusion,
        percentiles=settings.percentiles,
        strategy=strategy,
        counted=None if settings.evidence == "all" else settings.evidence,
        # Benign records of val, so that those of calibration and of test are exchangeable: no tail has seen either.
        # With folds they come from the left-out scores, which are many.
        tails_from=_evidence(val, val.benign, LEAST_FOR_TAILS) if worst == 1 else None,
        attacks=_evidence(val, ~val.benign, LEAST_FOR_A_CLASS),
        group=settings.group,
        groups=_groups(settings, benign.record_id),
        attack_groups=_attack_groups(settings, val),
        worst=worst,
    )
    _warn(calibration, val, report)
    if settings.group is not None:
        _say_groups(calibration, settings.group, benign, report)
    artifacts.write_model(artifacts.THRESHOLDS, *calibration.state())
    own = {
        name: {"named": dict(each.thresholds), "n": each.reference.size} for name, each in calibration.groups.items()
    }
    report.json("thresholds", {"named": dict(calibration.thresholds), "n": len(benign), "groups": own})
    report.run.metrics({f"threshold.{name}": value for name, value in calibration.thresholds.items()})
    _report(calibration, val, _groups(settings, val.record_id), report)


def _benign(settings: Calibrate) -> tuple[Samples, float]:
    """The benign records whose scores the thresholds are drawn from, and how often a level may be exceeded at worst.

    Raises:
        ConfigError: in-sample scores are asked for where levels are promised.
        SplitError: there are none.
    """
    if settings.drawn_from == "train" and settings.fusion != "cascade":
        raise ConfigError(
            f"calibrate.drawn_from: 'train', but calibrate.fusion {settings.fusion!r} promises how many benign records "
            "raise an alarm, which scores of training records cannot tell; choose fusion cascade, which promises "
            "nothing, or drawn_from calibration"
        )
    if settings.drawn_from == "calibration" and (artifacts.SCORES / f"{OUT_OF_FOLD}.parquet").exists():
        samples = artifacts.read_samples(artifacts.SCORES, OUT_OF_FOLD)
        worst = worst_factor(samples.x[:, -1].astype(np.int64)) if len(samples) else 1.0
        samples = samples.map(lambda x: x[:, :-1], samples.columns[:-1])
    else:
        samples, worst = artifacts.read_samples(artifacts.SCORES, settings.drawn_from), 1.0
    benign = samples.select(samples.benign)
    if not len(benign):
        raise SplitError(
            f"there are no benign {settings.drawn_from} records; raise preprocess.shares.{settings.drawn_from}"
        )
    return benign, worst


def _foretell(settings: Calibrate, n: int, report: Report) -> None:
    """Say before any fit how far the realised rate of each level may lie from it, and what more records would give."""
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


def _groups(settings: Calibrate, record_id: NDArray[np.uint64]) -> Names | None:
    return None if settings.group is None else groups.groups(settings.group, record_id)


def _attack_groups(settings: Calibrate, val: Samples) -> Names | None:
    """Of the seen attacks of val; of groups that have too few of them none is known."""
    names = _groups(settings, val.record_id[~val.benign])
    if names is not None:
        found, counts = np.unique(names.astype(str), return_counts=True)
        names = np.where(np.isin(names.astype(str), found[counts >= LEAST_FOR_A_CLASS]), names, UNKNOWN)
    return names


def _evidence(samples: Samples, mask: NDArray[np.bool_], least: int) -> list[NDArray[np.float64]] | None:
    """E times (k,) scores of the records under ``mask``, or None if they are fewer than ``least``."""
    return list(samples.x[mask].T.astype(np.float64)) if mask.sum() >= least else None


def _warn(calibration: Calibration, val: Samples, report: Report) -> None:
    """Say what there are too few records for."""
    n = calibration.reference.size
    for name, risk in calibration.promises().items():
        asked = 1 - float(name.removeprefix("p")) / 100
        if risk > asked + 1e-9:
            report.say(
                f"{name}: its threshold is the highest score of {n:,} benign calibration records, which support no "
                f"level below {100 * risk:.3g} %; it needs {Guarantee().records_needed(asked):,} of them"
            )
    if val.benign.sum() < LEAST_FOR_TAILS and calibration.worst == 1:
        report.say(
            f"{val.benign.sum()} benign records in val are too few for the tails of the scores, so they come from the "
            f"calibration records themselves: levels hold nearly, not exactly; {LEAST_FOR_TAILS} are enough"
        )
    if (~val.benign).sum() < LEAST_FOR_A_CLASS:
        report.say(f"{(~val.benign).sum()} seen attacks in val are too few to say what is like them")


def _say_groups(calibration: Calibration, column: str, benign: Samples, report: Report) -> None:
    """Say which groups are judged by thresholds of their own."""
    own = ", ".join(f"{name} ({each.reference.size:,})" for name, each in calibration.groups.items())
    others = len(benign) - sum(each.reference.size for each in calibration.groups.values())
    report.say(
        f"thresholds for each {column} with {LEAST_OF_A_GROUP} benign calibration records or more: {own or 'none'}; "
        f"the others ({others:,}) are judged by those of all records"
    )


def _report(calibration: Calibration, val: Samples, names: Names | None, report: Report) -> None:
    judged = Prediction.of(calibration, *val.x.T, groups=names)
    scores.judged(report, 0, val, judged.score, calibration.intervals, (judged.confidence, judged.verdict))
    for name, threshold in calibration.thresholds.items():
        report.test_metrics(val.y, judged.flagged[name], threshold, name)
    scores.ranking(report, val, judged.score)


if __name__ == "__main__":
    launch("calibrate", Calibrate, calibrate)
