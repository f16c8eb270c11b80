"""The scoring flow: new records through a registered model, one task for each file.

::

    python -m flows.scoring PATH [--alias champion]

The alias is resolved once, when the flow starts: a promotion or a rollback meanwhile does not mix two models. Files
that this version has scored are passed over, so a schedule may name one folder for ever.

Each file is judged alone, and none keeps another waiting:

- one that cannot be read, or lacks a column, moves from ``data/incoming`` to ``data/quarantine/`` with its reason; the
  flow completes and says how many there are. Its content is known from now on and not tried again by the same version.
  A file that lies elsewhere stays there: only its reason is kept;
- one that is gone, changed meanwhile or is still being written is left for the next run;
- where the fault is not the file's (a full disk, missing rights, a fault in this program) the file stays where it is,
  and the flow fails when all the others are done.

The exit code is 0, but 1 where the flow failed, or where one file was named and nothing of it was scored.
"""

import os

from pipeline.tracking import quiet_tools

if __name__ == "__main__":
    quiet_tools()

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import State, flow, get_run_logger, runtime, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import Completed, Failed

from flows.reports import tables
from flows.runtime import gpu, program, servers
from pipeline.base.errors import ArtifactError, ConfigError, ConflictError, FlowsculptError, SourceError, spelt
from pipeline.serving import arrivals, batch, quarantine, registry
from pipeline.serving.arrivals import Incoming
from pipeline.serving.bundle import Bundle
from pipeline.serving.registry import Version


class ScoringError(FlowsculptError):
    """Files that could not be scored; each has its reason."""


@dataclass(frozen=True)
class Left:
    """A file that waits for the next run, with the reason."""

    reason: str


@dataclass(frozen=True)
class Result:
    """What a scoring run did.

    Attributes:
        version: number of the version that judged.
        digest: of its bundle.
        scored: the summary of each file that was scored.
        passed_over: how many files had been scored before.
        quarantined: each file that cannot be scored.
        left: why each file that waits for the next run does.
        refused: why each file that could not be scored through no fault of its own was not.
    """

    version: int
    digest: str
    scored: tuple[Mapping[str, Any], ...]
    passed_over: int
    quarantined: tuple[quarantine.Held, ...]
    left: tuple[str, ...]
    refused: tuple[str, ...]

    @property
    def counts(self) -> str:
        """In one line."""
        return (
            f"{len(self.quarantined)} quarantined, {len(self.scored)} files scored, {self.passed_over} passed over, "
            f"{len(self.left)} left for the next run"
        )


@task(task_run_name="{file.name}", cache_policy=NO_CACHE, persist_result=False)
def score(
    file: Incoming, bundle: Bundle, version: int, flow_run: str, false_discovery: float | None = None
) -> State[Any]:
    """Score one file; a refusal of it is a state, not a traceback."""
    try:
        held = quarantine.known(file.sha256, version)
        if held is not None:
            return _quarantined(file, version, held.reason)
        summary = batch.score(file, bundle, version, flow_run, false_discovery)
    except FlowsculptError as error:
        return _refused(file, version, error)
    return Completed(message=f"{summary['records']:,} records", data=summary)


def _refused(file: Incoming, version: int, error: FlowsculptError) -> State[Any]:
    """What becomes of a file that was not scored."""
    try:
        if arrivals.has_changed(file):
            left = Left(f"{file.name}: it is gone or still changes")
            return Completed(name="Left", message=spelt(str(error)), data=left)
        if arrivals.blames_file(error):
            return _quarantined(file, version, str(error))
    except FlowsculptError as another:  # the disk is full, say
        return Failed(message=spelt(str(another)), data=another)
    return Failed(message=spelt(str(error)), data=error)


def _quarantined(file: Incoming, version: int, reason: str) -> State[Any]:
    try:
        held = quarantine.put(file.path, file.name, file.sha256, version, reason)
    except ConflictError as error:
        return Completed(name="Left", message=spelt(str(error)), data=Left(spelt(str(error))))
    return Completed(name="Quarantined", message=f"{held.path}: {held.reason}", data=held)


@flow(name="scoring", persist_result=False)
def scoring(path: str, alias: str = "champion", false_discovery: float = 0.0) -> State[Any]:
    """Score the files that have not been scored yet.

    Args:
        path: a file, or a folder of CSV, gz, zip or Parquet files.
        alias: of the model version that is to judge: champion, previous, candidate, or a number.
        false_discovery: share of the alarms of a file that may be false, in expectation, for a decision on each file as
            a whole, below 1; 0: every record is decided on alone.
    """
    try:
        with gpu.lease(gpu.usable_devices(), get_run_logger().info) as shown:
            result = _score_on(shown, Path(path), alias, _level(false_discovery))
    except FlowsculptError as error:
        return Failed(message=str(error), data=error)
    _publish(result)
    if result.refused:
        message = f"{len(result.refused)} files could not be scored: {'; '.join(result.refused)}; {result.counts}"
        return Failed(message=message, data=ScoringError(message))
    return Completed(message=f"completed, {result.counts}", data=result)


def _level(false_discovery: float) -> float | None:
    if not 0 <= false_discovery < 1:
        raise ConfigError(f"false_discovery: {false_discovery:g} is no share of alarms, allowed is 0 or more, below 1")
    return false_discovery or None


def _score_on(shown: Mapping[str, str], path: Path, alias: str, false_discovery: float | None) -> Result:
    """``score_new`` in this process, which sees the device that ``shown`` names and no other."""
    before = {name: os.environ.get(name) for name in shown}
    os.environ.update(shown)  # heeded as long as nothing has asked for a GPU, which loading the model does first
    try:
        return score_new(path, alias, "cuda" if shown["CUDA_VISIBLE_DEVICES"] else "cpu", false_discovery)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def score_new(path: Path, alias: str, device: str = "cpu", false_discovery: float | None = None) -> Result:
    """Score the files under ``path`` that the version of ``alias`` has not scored.

    Args:
        path: a file or a folder.
        alias: of the version.
        device: where its models run.
        false_discovery: level of the decision on each file as a whole, if there is to be one.

    Raises:
        FlowsculptError: there is no such version or no such path; nothing was scored.
    """
    version, bundle = load(alias, device)
    listed, flow_run = arrivals.listed(path), str(runtime.flow_run.id or "")
    get_run_logger().info(
        "version %d judges %d files, but for those that it has judged before", version.number, len(listed)
    )
    done = [_one(file, path, bundle, version.number, flow_run, false_discovery) for file in listed]
    return Result(
        version.number,
        bundle.digest,
        tuple(each for each in done if isinstance(each, dict)),
        done.count(None),
        tuple(each for each in done if isinstance(each, quarantine.Held)),
        tuple(each.reason for each in done if isinstance(each, Left)),
        tuple(spelt(str(each)) for each in done if isinstance(each, Exception)),
    )


def _one(path: Path, root: Path, bundle: Bundle, version: int, flow_run: str, false_discovery: float | None) -> Any:
    """What became of a file: a summary, ``Held``, ``Left``, an error, or None where it had been scored before."""
    if arrivals.is_growing(path):
        return Left(f"{spelt(path.name)}: it is still being written")
    try:
        file = arrivals.identify(path, root)
    except SourceError as error:
        return error if path.exists() else Left(f"{spelt(path.name)}: it is gone")
    if batch.is_scored(file, version):
        return None
    done = score(file, bundle, version, flow_run, false_discovery, return_state=True).result(raise_on_failure=False)
    if isinstance(done, Exception) and not isinstance(done, FlowsculptError):  # its traceback stands in the log
        return ScoringError(f"{file.name}: {type(done).__name__}: {done}")
    return done


def load(alias: str, device: str = "cpu") -> tuple[Version, Bundle]:
    """The version that has an alias or a number now, and its model on a device.

    Raises:
        ArtifactError: there is none, or its files are not those that were registered.
    """
    version = registry.find_version(int(alias) if alias.isdecimal() else alias)
    if version is None:
        raise ArtifactError(f"no version {alias!r} of the model {registry.MODEL!r}; train one and promote it first")
    bundle = Bundle.load(registry.fetch(version), device)
    if bundle.digest != version.digest:
        raise ArtifactError(f"version {version.number}: its files are not those that were registered; roll back")
    return version, bundle


# What a run leaves to read.


def _publish(result: Result) -> None:
    rows = [_row(summary) for summary in result.scored]
    create_table_artifact(rows, key="scoring-files", description=f"Files scored by version {result.version}")
    create_markdown_artifact(markdown(result), key="scoring-summary", description="Verdicts and alarms")


def _row(summary: Mapping[str, Any]) -> dict[str, object]:
    counts = {name: summary[name] for name in ("source", "records", "rejected")}
    batch = {"discoveries": summary["batch"]["discoveries"]} if "batch" in summary else {}
    return {**counts, **summary["verdicts"], **batch}


def markdown(result: Result) -> str:
    """A page: verdicts of each file, alarms of all beside those that benign records alone would raise."""
    head = f"# Scoring\n\nVersion {result.version}, digest `{result.digest[:12]}`. "
    parts = [
        f"{head}{result.counts}, {len(result.refused)} failed.",
        tables.markdown([_row(summary) for summary in result.scored]),
        tables.markdown(_alarms(result)),
        *_titled("Quarantined", [f"{held.source}: {held.reason} ({_place(held)})" for held in result.quarantined]),
        *_titled("Left for the next run", result.left),
        *_titled("Failed", result.refused),
    ]
    return "\n\n".join(part for part in parts if part)


def _place(held: quarantine.Held) -> str:
    return f"it could not be moved: {held.stays}" if held.stays else f"now {held.path}"


def _titled(title: str, reasons: Sequence[str]) -> list[str]:
    return [f"## {title}\n\n{chr(10).join(f'- {reason}' for reason in reasons)}"] if reasons else []


def _alarms(result: Result) -> list[dict[str, object]]:
    """For each threshold the alarms, and how many there would be among as many benign records."""
    n = sum(summary["records"] for summary in result.scored)
    names = result.scored[0]["alarms"] if result.scored else ()
    rows: list[dict[str, object]] = []
    for name in names:
        alarms = sum(summary["alarms"][name]["alarms"] for summary in result.scored)
        by_chance = batch.expected(name, n)
        spelt = f"{by_chance['expected']:,} ({by_chance['low']:,} to {by_chance['high']:,})"
        rows.append({"threshold": name, "alarms": alarms, "if all were benign": spelt})
    return rows


# The program.


def main(arguments: Sequence[str] | None = None) -> int:
    """Score from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m flows.scoring", description="Score new records.")
    parser.add_argument("path", help="a file, or a folder of CSV, gz, zip or Parquet files")
    parser.add_argument("--alias", default="champion", help="of the version that judges, or its number")
    parser.add_argument(
        "--false-discovery", type=float, default=0.0, help="largest share of false alarms among those of a file"
    )
    given = parser.parse_args(arguments)
    return program.run("scoring", lambda: _scored(given.path, given.alias, given.false_discovery))


def _scored(path: str, alias: str, false_discovery: float) -> str:
    """The page of a run.

    Raises:
        ScoringError: one file was named, and nothing of it was scored.
    """
    names_file = Path(path).is_file()
    with servers.connected("scoring"):
        gpu.ensure_devices()
        result: Result = program.result(scoring(path, alias, false_discovery, return_state=True))
    if names_file and not result.scored and not result.passed_over:
        raise ScoringError(f"nothing was scored\n\n{markdown(result)}")
    return markdown(result)


if __name__ == "__main__":
    sys.exit(main())
