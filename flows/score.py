"""The command ``score``: files that are named are scored here, without a server; a folder by the scoring flow.

::

    flowsculpt score FILE [FILE ...] [--alias champion] [--rescore]
    flowsculpt score FOLDER

FILE and FOLDER may be addresses in an object store, ``s3://bucket/monday.csv``; see ``pipeline.objects``.

Both write the same tables under ``data/scored``, pass over what any version of the model has scored, and put what
cannot be read into quarantine. With ``--rescore`` this version judges again what others have scored. Here the model
runs on the CPU: a GPU is lent by Prefect. At the end a few lines say what was found.

The exit code is 0, but 1 where nothing of the named files was scored, or one of them could not be scored.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flows import arguments
from flows.runtime import program
from pipeline.base import engine
from pipeline.base.errors import ConfigError, ScoringError
from pipeline.base.escaping import on_terminal
from pipeline.base.parallel import one_thread
from pipeline.objects import copies
from pipeline.tracking import quiet_tools

if TYPE_CHECKING:
    from pipeline.serving.bundle import Bundle
    from pipeline.serving.intake import Result
    from pipeline.serving.verdict_csv import Format
    from pipeline.serving.version import Version


def main(given: Sequence[str] | None = None) -> int:
    """Score from the command line; returns the exit code."""
    chosen = arguments.parse("score", given)
    quiet_tools()
    return program.run("scoring", lambda: _scored(chosen))


def _scored(chosen: Namespace) -> str:
    paths = [copies.local(path) for path in chosen.path]
    folders = [path for path in paths if path.is_dir()]
    if not folders:
        return here(paths, chosen.alias, chosen.false_discovery, rescore=chosen.rescore, form=chosen.format)
    if len(paths) > 1:
        raise ConfigError(f"{folders[0]}: is a folder; give one folder alone, or files")
    return _by_flow(chosen.path[0], chosen.alias, chosen.false_discovery, chosen.rescore, chosen.format)


def here(
    paths: Sequence[Path],
    alias: str = "champion",
    false_discovery: float = 0.0,
    model: "tuple[Version, Bundle] | None" = None,
    rescore: bool = False,
    form: "Format" = "auto",
) -> str:
    """Score files in this process; returns the lines that say what was found.

    Args:
        paths: of the files.
        alias: of the version that scores, or its number.
        false_discovery: level of the decision on each file as a whole; 0 for none.
        model: what the alias stands for, if it is loaded already.
        rescore: judge again what another version has scored, and say what changed.
        form: whether verdicts are written as CSV, too; see ``serving.verdict_csv``.

    Raises:
        ArtifactError: there is no such version.
        SourceError: a path is no table of records.
        ScoringError: a file could not be scored; all others were.
    """
    with program.quick_imports():
        from pipeline import config
        from pipeline.serving import front_door

    with one_thread(), engine.using(**config.engine()), front_door.opened():
        return _judged(paths, alias, false_discovery, model, rescore, form)


def _judged(
    paths: Sequence[Path],
    alias: str,
    false_discovery: float,
    model: "tuple[Version, Bundle] | None",
    rescore: bool,
    form: "Format",
) -> str:
    with program.quick_imports():  # while the process that reads gets ready
        from flows.reports import scoring as reports
        from pipeline import config
        from pipeline.serving import arrivals, discoveries, intake, loading, silence, verdict_csv
        from pipeline.settings.alerts import Alerts
        from pipeline.settings.scoring import Scoring

    level = discoveries.asked(false_discovery)
    files = [file for path in paths for file in arrivals.listed(path)]
    version, bundle = model or loading.load(alias)
    settings, alerts = config.load(Scoring), config.load(Alerts)
    rules, most = settings.contract, verdict_csv.most(form, settings.csv_records)
    silence.require(bundle, version.number, alerts)

    def score(file: arrivals.Incoming) -> intake.Outcome:
        return intake.score(file, bundle, version.number, "", level, rules, alerts, most)

    texts: list[str] = []
    outcomes = [intake.take_in(path, path, version.number, score, rescore) for path in files]
    for path, done in zip(files, outcomes, strict=True):
        if isinstance(done, dict):
            texts.append(reports.brief(done, path, alias, is_new=True))
        elif done is None:
            texts += _as_before(path, alias, version.number, rescore, level)
        texts += _as_csv(path, done, form)
    return _told(intake.Result.of(version.number, bundle.digest, outcomes, alerts.sinks), texts)


def _told(result: "Result", texts: list[str]) -> str:
    """What was found, once it is where it is wanted."""
    from flows.reports import scoring as reports

    fault = _upload()
    if result.quarantined or result.left or result.refused or fault:
        what = fault or ("not every file was scored" if texts else "nothing was scored")
        raise ScoringError("\n\n".join([what, on_terminal(reports.markdown(result)), *texts]))
    return "\n\n".join([*texts, *([] if result.scored else result.delivery)])


def _as_csv(path: Path, done: object, form: "Format") -> list[str]:
    """Where the verdicts on a file lie as CSV, if that was asked for; those on one from before are written now."""
    from pipeline import config
    from pipeline.serving import arrivals, scored, verdict_csv
    from pipeline.settings.scoring import Scoring

    if form != "csv":
        return []
    summary = scored.summary(arrivals.identify(path, path)) if done is None else done
    if not isinstance(summary, dict):
        return []
    written = verdict_csv.write(scored.key_of(summary), summary["records"], form, config.load(Scoring).csv_records)
    return [f"verdicts as CSV: {written}"]


def _upload() -> str:
    """Upload the tables of scored files where that is asked for; returns why it failed, "" where it did not."""
    from pipeline import config
    from pipeline.base.errors import FlowsculptError
    from pipeline.serving import uploads
    from pipeline.settings.scoring import Scoring

    try:
        uploads.upload(config.load(Scoring).output)
    except FlowsculptError as error:
        return f"{uploads.FAULT}: {error}"
    return ""


def _as_before(path: Path, alias: str, serving: int, rescore: bool, level: float | None) -> list[str]:
    """What was found in a file that was scored before."""
    from flows.reports import scoring as reports
    from pipeline.serving import arrivals, scored

    file = arrivals.identify(path, path)
    before = scored.summary(file, serving if rescore else None)
    if before is None:
        is_pruned = scored.is_pruned(file)
        return [f"{path}: was scored before; its tables were pruned, and --rescore makes new ones"] if is_pruned else []
    said = [reports.brief(before, path, alias, is_new=False, serving=serving)]
    if level is not None and before.get("batch", {}).get("level") != level:
        said.append(f"{path}: it was not scored again, so it has no decision with --false-discovery {level:g}")
    return said


def _by_flow(path: str, alias: str, false_discovery: float, rescore: bool, form: "Format") -> str:
    from flows.reports.scoring import markdown
    from flows.runtime import gpu, servers
    from flows.scoring import scoring

    with servers.connected("scoring"):
        gpu.ensure_devices()
        return markdown(program.result(scoring(path, alias, false_discovery, rescore, form, return_state=True)))


if __name__ == "__main__":
    sys.exit(main())
