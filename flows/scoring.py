"""The scoring flow: new records through a registered model, one task for each file.

::

    python -m flows.scoring PATH [--alias champion]

The alias is resolved once, when the flow starts: a promotion or a rollback meanwhile does not mix two models. Files
that this version has scored are passed over, so a schedule may name one folder for ever. A file that lacks a column
stops the flow before anything is scored; one that cannot be read does not keep the others waiting, and the flow fails
when they are done.
"""

import os

from pipeline.tracking import environment

if __name__ == "__main__":
    os.environ.update({name: value for name, value in environment().items() if name not in os.environ})

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import State, flow, get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed

from flows import leases, programs, servers, tables
from pipeline import scored, tracking
from pipeline.bundle import Bundle
from pipeline.errors import ArtifactError, FlowsculptError, SourceError
from pipeline.tracking import Version


class ScoringError(FlowsculptError):
    """Files that could not be scored; each has its reason."""


@dataclass(frozen=True)
class Result:
    """What a scoring run did.

    Attributes:
        version: number of the version that judged.
        digest: of its bundle.
        scored: the summary of each file that was scored.
        passed_over: how many files had been scored before.
        refused: why each file that could not be scored was refused.
    """

    version: int
    digest: str
    scored: tuple[Mapping[str, Any], ...]
    passed_over: int
    refused: tuple[str, ...]


@task(task_run_name="{file.name}", cache_policy=NO_CACHE, persist_result=False)
def score(file: scored.Incoming, bundle: Bundle, version: int, flow_run: str) -> State[Any]:
    """Score one file; a refusal of it is a state, not a traceback."""
    try:
        summary = scored.score(file, bundle, version, flow_run)
    except FlowsculptError as error:
        return Failed(message=str(error), data=error)
    return Completed(message=f"{summary['records']:,} records", data=summary)


@flow(name="scoring", persist_result=False)
def scoring(path: str, alias: str = "champion") -> State[Any]:
    """Score the files that have not been scored yet.

    Args:
        path: a file, or a folder of CSV, gz, zip or Parquet files.
        alias: of the model version that is to judge: champion, previous, candidate, or a number.
    """
    try:
        with leases.lease(leases.usable_devices(), get_run_logger().info) as shown:
            result = _score_on(shown, Path(path), alias)
    except FlowsculptError as error:
        return Failed(message=str(error), data=error)
    _publish(result)
    if result.refused:
        message = f"{len(result.refused)} files could not be scored: {'; '.join(result.refused)}"
        return Failed(message=message, data=ScoringError(message))
    return Completed(message=f"{len(result.scored)} files, {result.passed_over} passed over", data=result)


def _score_on(shown: Mapping[str, str], path: Path, alias: str) -> Result:
    """``score_new`` in this process, which sees the device that ``shown`` names and no other."""
    before = {name: os.environ.get(name) for name in shown}
    os.environ.update(shown)  # heeded as long as nothing has asked for a GPU, which loading the model does first
    try:
        return score_new(path, alias, "cuda" if shown["CUDA_VISIBLE_DEVICES"] else "cpu")
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def score_new(path: Path, alias: str, device: str = "cpu") -> Result:
    """Score the files under ``path`` that the version of ``alias`` has not scored.

    Args:
        path: a file or a folder.
        alias: of the version.
        device: where its models run.

    Raises:
        FlowsculptError: there is no such version, or a file that does not fit it; nothing was scored.
    """
    version, bundle = load(alias, device)
    found = scored.find(path)
    new = _new(found, version.number)
    for file in new:
        with suppress(SourceError):  # its turn comes, and it keeps no other waiting
            scored.check(file, bundle)
    get_run_logger().info("version %d judges %d of %d files", version.number, len(new), len(found))
    flow_run = str(runtime.flow_run.id or "")
    done: list[Any] = [
        score(file, bundle, version.number, flow_run, return_state=True).result(raise_on_failure=False) for file in new
    ]
    return Result(
        version.number,
        bundle.digest,
        tuple(each for each in done if isinstance(each, dict)),
        len(found) - len(new),
        tuple(str(each) for each in done if isinstance(each, Exception)),
    )


def load(alias: str, device: str = "cpu") -> tuple[Version, Bundle]:
    """The version that has an alias or a number now, and its model on a device.

    Raises:
        ArtifactError: there is none, or its files are not those that were registered.
    """
    version = tracking.find_version(int(alias) if alias.isdecimal() else alias)
    if version is None:
        raise ArtifactError(f"no version {alias!r} of the model {tracking.MODEL!r}; train one and promote it first")
    bundle = Bundle.load(tracking.fetch(version), device)
    if bundle.digest != version.digest:
        raise ArtifactError(f"version {version.number}: its files are not those that were registered; roll back")
    return version, bundle


def _new(found: Sequence[scored.Incoming], version: int) -> list[scored.Incoming]:
    """The files whose content this version has not scored, each content once."""
    first = {file.sha256: file for file in reversed(found)}
    return [file for file in found if first[file.sha256] is file and not scored.is_scored(file, version)]


# What a run leaves to read.


def _publish(result: Result) -> None:
    rows = [_row(summary) for summary in result.scored]
    create_table_artifact(rows, key="scoring-files", description=f"Files scored by version {result.version}")
    create_markdown_artifact(markdown(result), key="scoring-summary", description="Verdicts and alarms")


def _row(summary: Mapping[str, Any]) -> dict[str, object]:
    counts = {name: summary[name] for name in ("source", "records", "rejected")}
    return {**counts, **summary["verdicts"]}


def markdown(result: Result) -> str:
    """A page: verdicts of each file, alarms of all beside those that benign records alone would raise."""
    head = f"# Scoring\n\nVersion {result.version}, digest `{result.digest[:12]}`. "
    counts = f"{len(result.scored)} files scored, {result.passed_over} passed over, {len(result.refused)} refused."
    parts = [
        head + counts,
        tables.markdown([_row(summary) for summary in result.scored]),
        tables.markdown(_alarms(result)),
    ]
    parts += [f"## Refused\n\n{chr(10).join(f'- {reason}' for reason in result.refused)}"] if result.refused else []
    return "\n\n".join(part for part in parts if part)


def _alarms(result: Result) -> list[dict[str, object]]:
    """For each threshold the alarms, and how many there would be among as many benign records."""
    n = sum(summary["records"] for summary in result.scored)
    names = result.scored[0]["alarms"] if result.scored else ()
    rows: list[dict[str, object]] = []
    for name in names:
        alarms = sum(summary["alarms"][name]["alarms"] for summary in result.scored)
        by_chance = scored.expected(name, n)
        spelt = f"{by_chance['expected']:,} ({by_chance['low']:,} to {by_chance['high']:,})"
        rows.append({"threshold": name, "alarms": alarms, "if all were benign": spelt})
    return rows


# The program.


def main(arguments: Sequence[str] | None = None) -> int:
    """Score from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.scoring", description="Score new records.")
    parser.add_argument("path", help="a file, or a folder of CSV, gz, zip or Parquet files")
    parser.add_argument("--alias", default="champion", help="of the version that judges, or its number")
    given = parser.parse_args(arguments)
    return programs.run("scoring", lambda: _scored(given.path, given.alias))


def _scored(path: str, alias: str) -> str:
    with servers.connected("scoring"):
        leases.ensure_devices()
        return markdown(programs.result(scoring(path, alias, return_state=True)))


if __name__ == "__main__":
    sys.exit(main())
