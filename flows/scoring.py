"""The scoring flow: new records through a registered model, one task for each file.

::

    python -m flows.scoring FOLDER [--alias champion] [--rescore]

The alias is resolved once, when the flow starts: a promotion or a rollback meanwhile does not mix two models. Files
that any version of the model has scored are passed over, so a schedule may name one folder for ever, and a promotion
raises no alert twice. With ``--rescore`` this version judges them again, and says what changed.

What becomes of each file says ``pipeline.serving.intake``. The flow completes and says how many files it put into
quarantine; it fails where files could not be scored through no fault of their own.

``python -m flows.scoring`` is the command ``flowsculpt score``: files that are named are scored without this flow.
"""

import os
import sys

if __name__ == "__main__":
    from flows.score import main

    sys.exit(main())

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect import State, flow, runtime, task
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed

from flows.reports.scoring import markdown, row
from flows.runtime import events, gpu, refusals
from flows.runtime.own_names import artefact_key
from flows.runtime.shown import create_markdown_artifact, create_table_artifact, get_run_logger
from pipeline import config
from pipeline.base import engine
from pipeline.base.errors import FlowsculptError, ScoringError, SilentModelError
from pipeline.base.escaping import printable
from pipeline.objects import copies
from pipeline.serving import (
    arrivals,
    discoveries,
    front_door,
    intake,
    live_days,
    loading,
    quarantine,
    silence,
    uploads,
    verdict_csv,
)
from pipeline.serving.arrivals import Incoming
from pipeline.serving.bundle import Bundle
from pipeline.serving.contract_check import WARN
from pipeline.serving.counts import counted
from pipeline.serving.intake import Left, Outcome, Result
from pipeline.serving.quarantine import Held
from pipeline.serving.verdict_csv import Format
from pipeline.settings.alerts import Alerts
from pipeline.settings.scoring import ContractRules, Scoring


@task(task_run_name="{file.name}", cache_policy=NO_CACHE, persist_result=False)
def score(
    file: Incoming,
    bundle: Bundle,
    version: int,
    flow_run: str,
    false_discovery: float | None = None,
    rules: ContractRules = WARN,
    alerts: Alerts | None = None,
    most_in_csv: int = -1,
) -> State[Any]:
    """Score one file; a refusal of it is a state, not a traceback."""
    return _state(intake.score(file, bundle, version, flow_run, false_discovery, rules, alerts, most_in_csv))


def _state(done: Outcome) -> State[Any]:
    """What Prefect shows of a file."""
    if isinstance(done, Exception):
        return Failed(message=printable(str(done)), data=done)
    if isinstance(done, Left):
        return Completed(name="Left", message=done.reason, data=done)
    if isinstance(done, Held):
        return Completed(name="Quarantined", message=f"{done.path}: {done.reason}", data=done)
    return Completed(message=counted(done["records"], "record") if done else "", data=done)


@flow(name="scoring", persist_result=False)
def scoring(
    path: str, alias: str = "champion", false_discovery: float = 0.0, rescore: bool = False, format: Format = "auto"
) -> State[Any]:
    """Score the files that have not been scored yet.

    Args:
        path: a file, or a folder of CSV, gz, zip or Parquet files; or the address of one in an object store.
        alias: of the model version that is to judge: champion, previous, candidate, or a number.
        false_discovery: share of the alarms of a file that may be false, in expectation, for a decision on each file as
            a whole, below 1; 0: every record is decided on alone.
        rescore: whether files are judged again that another version of the model has scored.
        format: whether verdicts are written as CSV, too: auto, for a file of few records; csv, always; parquet, never.
    """
    try:
        with gpu.lease(gpu.usable_devices(), get_run_logger().info) as shown:
            result = _score_on(shown, copies.local(path), alias, discoveries.asked(false_discovery), rescore, format)
    except FlowsculptError as error:
        return Failed(message=str(error), data=error)
    _publish(result)
    try:
        uploads.upload(config.load(Scoring).output)
    except FlowsculptError as error:
        return Failed(message=f"{uploads.FAULT}: {error}; {result.counts}", data=error)
    if result.refused:
        message = (
            f"{counted(len(result.refused), 'file')} could not be scored: {'; '.join(result.refused)}; {result.counts}"
        )
        return Failed(message=message, data=ScoringError(message))
    return Completed(message=f"completed, {result.counts}", data=result)


def _score_on(
    shown: Mapping[str, str], path: Path, alias: str, false_discovery: float | None, rescore: bool, form: Format
) -> Result:
    """``score_new`` in this process, which sees the device that ``shown`` names and no other."""
    before = {name: os.environ.get(name) for name in shown}
    os.environ.update(shown)  # heeded as long as nothing has asked for a GPU, which loading the model does first
    try:
        device = "cuda" if shown["CUDA_VISIBLE_DEVICES"] else "cpu"
        return score_new(path, alias, device, false_discovery, rescore, form)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def score_new(
    path: Path,
    alias: str,
    device: str = "cpu",
    false_discovery: float | None = None,
    rescore: bool = False,
    form: Format = "auto",
) -> Result:
    """Score the files under ``path`` that no version of the model has scored.

    Args:
        path: a file or a folder.
        alias: of the version.
        device: where its models run.
        false_discovery: level of the decision on each file as a whole, if there is to be one.
        rescore: score those, too, that only other versions have scored.
        form: whether verdicts are written as CSV, too; see ``serving.verdict_csv``.

    Raises:
        FlowsculptError: there is no such version or no such path; nothing was scored.
    """
    with engine.using(**config.engine()):
        return _score_new(path, alias, device, false_discovery, rescore, form)


def _score_new(
    path: Path, alias: str, device: str, false_discovery: float | None, rescore: bool, form: Format
) -> Result:
    with refusals.announced():
        version, bundle = loading.load(alias, device)
        settings, alerts = config.load(Scoring), config.load(Alerts)
        rules, most = settings.contract, verdict_csv.most(form, settings.csv_records)
        if said := silence.require(bundle, version.number, alerts):
            refusals.fell_silent(said)
    listed, flow_run, began = arrivals.listed(path), str(runtime.flow_run.id or ""), quarantine.now()
    get_run_logger().info("version %d scores %d files, but for those that it has scored", version.number, len(listed))

    def settled(file: Incoming) -> Outcome:
        given = (file, bundle, version.number, flow_run, false_discovery, rules, alerts, most)
        done: Any = score(*given, return_state=True).result(raise_on_failure=False)
        if isinstance(done, Exception) and not isinstance(done, FlowsculptError):  # its traceback stands in the log
            return ScoringError(f"{file.name}: {type(done).__name__}: {done}")
        return done  # type: ignore[no-any-return]

    with front_door.opened():
        outcomes = [intake.take_in(file, path, version.number, settled, rescore) for file in listed]
    _announce(outcomes, began)
    live_days.log(version, time.time())
    return Result.of(version.number, bundle.digest, outcomes, alerts.sinks)


def _announce(outcomes: Sequence[Outcome], began: str = "") -> None:
    """Raise an event where the model fell silent while it scored, and one for the files that were found unfit.

    A file that was found unfit before ``began`` is no news.
    """
    silent = (each.get("silent", "") for each in outcomes if isinstance(each, dict))
    for text in dict.fromkeys(filter(None, silent)):
        refusals.fell_silent(text)
    refused = next((each for each in outcomes if isinstance(each, SilentModelError)), None)
    if refused is not None:
        refusals.announce(refused)
    if held := [each for each in outcomes if isinstance(each, Held) and each.time >= began]:
        events.announce(events.QUARANTINED, quarantine.in_words(held))


# What a run leaves to read.


def _publish(result: Result) -> None:
    rows = [row(summary) for summary in result.scored]
    create_table_artifact(
        rows, key=artefact_key("scoring-files"), description=f"Files scored by version {result.version}"
    )
    create_markdown_artifact(markdown(result), key=artefact_key("scoring-summary"), description="Verdicts and alarms")
