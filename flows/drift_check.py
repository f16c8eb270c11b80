"""The drift check: is recent traffic still what the champion was calibrated on, and if not, what follows?

::

    python -m flows.drift_check [--dry-run]

``stable``: nothing follows. ``recalibrate``: the thresholds follow by a capped step, as a new version that goes
through the gate of promotion like any other. ``train``: a page and an event ask for training. ``attacks``: far more
alarms than promised, in traffic that is known. ``unknown``: far more alarms than promised, and other traffic: the model
does not know this network. The last three register and promote nothing. A version that has not judged enough records
yet, as after each promotion, is waited for.
"""

from flows import arguments
from pipeline.serving.counts import counted
from pipeline.tracking import quiet_tools

if __name__ == "__main__":
    quiet_tools()
    arguments.parse("drift_check")  # help, and what is misspelt, before the imports below, which take seconds

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from prefect import State, flow, runtime
from prefect.states import Completed, Failed

from flows import lineage
from flows.reports.drift import markdown
from flows.runtime import events, program, refusals, servers
from flows.runtime.own_names import artefact_key
from flows.runtime.shown import create_markdown_artifact, create_table_artifact, get_run_logger
from pipeline import config, tracking
from pipeline.artifacts import paths
from pipeline.artifacts.files import whole_folder, write_bytes, write_csv, write_json
from pipeline.artifacts.samples import read_samples
from pipeline.base.errors import FlowsculptError
from pipeline.base.escaping import on_terminal, printable
from pipeline.calibration.calibration import Calibration
from pipeline.evaluation import alarm_share, drift, martingale
from pipeline.evaluation.alarm_share import Alarms
from pipeline.evaluation.drift import Change, Outcome
from pipeline.evaluation.recalibration import Recalibration
from pipeline.reporting.figures.drift import drift as draw_drift
from pipeline.reporting.figures.style import svg
from pipeline.serving import live_days, loading, own_model, registry, scored
from pipeline.serving.bundle import Bundle
from pipeline.serving.version import Version
from pipeline.settings.retraining import Retraining

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Finding:
    """What a drift check found.

    Attributes:
        outcome: what follows.
        reason: why.
        version: number of the version that was watched.
        records: how many recent records there were.
        kept: how many of them look benign.
        changes: of the score, then of the features.
        path: (kept,) log of the martingale's capital.
        alarms: of each threshold on all recent records, beside what was promised.
        registered: number of the recalibrated version, None where there is none.
        gate: what the gate said of it.
        side: which records are compared: ``WITHOUT_CONTEXT``, or "" for those with one, or for all where none has any.
        aside: how many records are of the other kind, and not compared.
    """

    outcome: Outcome
    reason: str
    version: int
    records: int
    kept: int
    changes: tuple[Change, ...]
    path: NDArray[np.float64]
    alarms: tuple[Alarms, ...] = ()
    registered: int | None = None
    gate: str = ""
    side: str = ""
    aside: int = 0


@flow(name="drift-check", persist_result=False)
def drift_check(alias: str = "champion", dry_run: bool = False) -> State[Any]:
    """Compare recent records with those of the calibration, and do what follows.

    Args:
        alias: of the model version that is watched.
        dry_run: look only; register nothing.
    """
    settings = config.load(Retraining)
    try:
        with refusals.announced():
            version, bundle = loading.load(alias)
        recent = scored.recent(version.number, settings.records)
        live_days.log(version, time.time())
        if (n := int(bundle.calibration.most(recent.group)[1].sum())) < settings.min_records:
            return Completed(name="Waiting", message=_too_few(version, n, recent, settings))
        found = check(version.number, bundle, recent, settings)
        if found.outcome == "recalibrate" and not dry_run:
            found = _recalibrated(found, version, bundle, recent, settings)
    except FlowsculptError as error:
        return Failed(message=str(error), data=error)
    _publish(found, settings)
    live_days.log_drift(version, found.changes, settings, time.time())
    get_run_logger().info("%s: %s", found.outcome, found.reason)
    return Completed(name=found.outcome.capitalize(), message=found.reason, data=found)


def check(version: int, bundle: Bundle, recent: scored.Recent, settings: Retraining) -> Finding:
    """Compare recent scores and features with those of the calibration; nothing is changed.

    Of records with and without a context those are compared of which there are more. All of them count as alarms.

    Raises:
        SplitError: there are too few calibration scores to tell what looks benign.
    """
    n, calibration = recent.score.size, bundle.calibration
    side, rows = calibration.most(recent.group)
    reference, score = calibration.sides[side].whole.reference, recent.score[rows]
    edge = drift.cut(reference, settings.looks)
    then, now, aside = reference[reference < edge], score[score < edge], n - score.size
    alarms = _alarms(calibration, recent, settings)
    if now.size < settings.min_records:
        said = f"{most}: " if (most := alarm_share.worst(alarms, settings.alarms)) else ""
        reason = f"{said}{now.size:,} of {score.size:,} recent records look benign: another network, or mostly attacks"
        return Finding("unknown", reason, version, n, now.size, (), np.empty(0), alarms, side=side, aside=aside)
    features = _features(bundle, recent.samples, settings.looks)
    changes = drift.compare(
        {"score": then, **{name: values for name, (values, _) in features.items()}},
        {"score": now, **{name: values for name, (_, values) in features.items()}},
    )
    path = martingale.jumper(martingale.p_values(then, now, settings.seed), settings.rate)
    outcome, reason = drift.decide(changes[0], changes[1:], float(path.max()), settings, alarms)
    return Finding(outcome, printable(reason), version, n, now.size, changes, path, alarms, side=side, aside=aside)


def _alarms(calibration: Calibration, recent: scored.Recent, settings: Retraining) -> tuple[Alarms, ...]:
    """Of each threshold, on all recent records, by the decision that judged each."""
    promised = calibration.promised(Counter(recent.group.tolist()))
    level = 1 - settings.alpha / max(len(promised), 1)  # of all thresholds together
    return alarm_share.counted(calibration.flagged(recent.score, recent.group), promised, level)


def _too_few(version: Version, n: int, recent: scored.Recent, settings: Retraining) -> str:
    """What is waited for, as after each promotion; n recent records are of one kind: with a context, or without."""
    needed = f"needed are {settings.min_records:,}; score more with `flowsculpt score`, or earlier files with --rescore"
    return f"undecided: {version} has scored {counted(n, 'record')}{' of one kind' * (n < recent.score.size)}, {needed}"


def recalibrate(bundle: Bundle, recent: scored.Recent, settings: Retraining) -> Bundle:
    """The bundle with calibration scores and thresholds that follow recent ones, by ``Recalibration``.

    Those for records with a context follow, or those for records without, whichever are more. The records that looked
    benign have been used by it, and may not judge it.

    Raises:
        SplitError: recent records do not tell how.
    """
    old = bundle.calibration
    side, rows = old.most(recent.group)
    reference, score = old.sides[side].whole.reference, recent.score[rows]
    moved = Recalibration.fit(reference, score, settings.looks, settings.body, settings.step)
    used = recent.record_id[rows][score < drift.cut(reference, settings.looks)]
    return bundle.with_calibration(old.moved(side, moved.new, moved.move), used)


def _features(
    bundle: Bundle, samples: pa.Table | None, looks: float
) -> dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Feature -> its values at calibration and now, of records that look benign.

    Those at calibration are the split of this project, if the model was calibrated on it, else none are compared.
    """
    if samples is None or not (paths.PROCESSED / "calibration.parquet").exists():
        return {}
    then = read_samples(paths.PROCESSED, "calibration")
    if then.columns != bundle.features.columns or not np.isin(then.record_id, bundle.used).all():
        return {}
    edge = drift.cut(bundle.calibration.on_its_own.reference, looks)  # both are cut by what their features say
    before = then.x[bundle.model.predict(then.x).score < edge]
    score = bundle.predict(samples).score if bundle.looks_back else samples.column("score").to_numpy()
    benign = samples.filter(pa.array(score < edge))
    now = bundle.features.map({name: _values(benign.column(name)) for name in bundle.features.reads})
    return (
        {name: (before[:, i], now[name]) for i, name in enumerate(then.columns)} if len(before) and len(benign) else {}
    )


def _values(column: pa.ChunkedArray) -> NDArray[Any]:
    if pa.types.is_string(column.type):
        return column.to_numpy(zero_copy_only=False).astype(object)  # type: ignore[no-any-return]
    return column.to_numpy()  # type: ignore[no-any-return]


def _recalibrated(
    found: Finding, version: Version, bundle: Bundle, recent: scored.Recent, settings: Retraining
) -> Finding:
    """Register the model with moved thresholds as a candidate, and let the gate judge it."""
    from flows.promotion import promotion

    tags = {lineage.RECALIBRATES: str(version.number), tracking.FLOW_RUN: str(runtime.flow_run.id or "")}
    with tempfile.TemporaryDirectory() as folder:
        recalibrate(bundle, recent, settings).save(Path(folder) / "bundle")
        new = registry.register(Path(folder) / "bundle", version.run_id, tags)
    state = promotion(str(new.number), return_state=True)
    return replace(found, registered=new.number, gate=str(state.message or state.name))


# What a run leaves to read.


def _publish(found: Finding, settings: Retraining) -> None:
    rows = _rows(found, settings)
    changed = {change.name: change.p_value <= settings.alpha for change in found.changes}
    figure = draw_drift(
        {change.name: change.distance for change in found.changes},
        changed,
        found.path,
        settings.alpha,
        settings.small,
        settings.large,
        subtitle=f"{found.records:,} records judged by version {found.version}, {found.kept:,} of which look benign",
    )
    picture = svg(figure)
    with whole_folder(paths.DRIFT) as folder:
        write_bytes(folder / "drift.svg", picture)
        write_csv(folder / "drift.csv", rows)
        write_json(folder / "drift.json", _told(found))
    create_table_artifact(rows, key=artefact_key("drift-changes"), description="Distances, the largest first")
    page = markdown(found, picture)
    create_markdown_artifact(page, key=artefact_key("drift-check"), description=f"Drift: {found.outcome}")
    if found.outcome in events.DRIFT:
        events.announce(events.DRIFT[found.outcome], found.reason, found.version)


def _rows(found: Finding, settings: Retraining) -> list[dict[str, Any]]:
    return [
        {
            "name": change.name,
            "distance": round(change.distance, 4),
            "p_value": change.p_value,
            "calibration": change.reference,
            "recent": change.recent,
            "size": _size(change, settings),
        }
        for change in [*found.changes[:1], *sorted(found.changes[1:], key=lambda each: -each.distance)]
    ]


def _size(change: Change, settings: Retraining) -> str:
    sizes = [("large", settings.large), ("small", settings.small)]
    return next((name for name, size in sizes if change.exceeds(settings.alpha, size)), "none")


def _told(found: Finding) -> dict[str, Any]:
    names = ("outcome", "reason", "version", "records", "kept", "registered", "gate")
    peak = float(found.path.max()) if found.path.size else None
    return {
        **{name: getattr(found, name) for name in names},
        "model": own_model.name(),
        "log_martingale": peak,
        "alarms": [asdict(each) for each in found.alarms],
    }


# The program.


def main(options: Sequence[str] | None = None) -> int:
    """Check from the command line; returns the exit code."""
    given = arguments.parse("drift_check", options)
    return program.run("drift_check", lambda: _checked(given.alias, given.dry_run))


def _checked(alias: str, dry_run: bool) -> str:
    with servers.connected("retraining"):
        state = drift_check(alias, dry_run, return_state=True)
        found = program.result(state)
        return on_terminal(markdown(found)) if found else str(state.message)


if __name__ == "__main__":
    sys.exit(main())
