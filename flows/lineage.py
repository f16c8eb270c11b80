"""From an alert back to the data: the chain that a scored file, a version, a run or an artefact hangs on.

::

    python -m flows.lineage WHAT [--json]

The argument is the key of an alert, a scored Parquet file, an artefact under ``data/``, the number or an alias of a
version, or the id of an MLflow run (its first digits will do). Printed is: alert, scored file, version, pipeline run
with its Prefect flow run and git commit, each stage with the run that made what it gave (also where it came from DVC's
cache), hashes of ``dvc.lock``, of the raw input and of all outputs. It reads the MLflow store and needs no Prefect
server.
"""

from flows import arguments

if __name__ == "__main__":
    arguments.parse("lineage")  # help, and what is misspelt, before the imports below, which take seconds

import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from flows.reports.lineage import Chain, as_text
from flows.runtime import program
from pipeline import tracking
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.artifacts.tables import table_metadata
from pipeline.base.errors import ArtifactError, near_miss
from pipeline.serving import own_model, registry, scored
from pipeline.serving.alerts import stored
from pipeline.serving.alerts.schema import Alert
from pipeline.serving.version import DVC_LOCK, Version
from pipeline.settings.tracking import SHIPPED
from pipeline.tracking import Run

LOCK = Path("dvc.lock")
INPUTS, OUTPUTS, SEEDS = (f"flowsculpt.{tag}" for tag in ("inputs", "stage_outputs", "seeds"))
VERSION, MODEL, DIGEST, RECALIBRATES = (f"flowsculpt.{tag}" for tag in ("version", "model", "digest", "recalibrates"))
SIGNED = ("signature", "promotion")  # envelopes, which `flowsculpt verify` reads
GIT_COMMIT = "mlflow.source.git.commit"
SHORTEST_PREFIX = 6


# What a version should know of its data; the registration writes it into the tags.


def provenance(root: Path = Path()) -> dict[str, str]:
    """Tags that say what ``dvc.lock`` knows: its own hash, those of raw input and outputs, and the seeds."""
    import yaml

    path = root / LOCK
    if not path.is_file():
        return {}
    content = path.read_bytes()
    stages: Mapping[str, Any] = (yaml.safe_load(content) or {}).get("stages", {})
    outputs = {name: _hashes(stage.get("outs", [])) for name, stage in stages.items()}
    raw = inputs(stages)
    params = [stage.get("params", {}).get("params.yaml", {}) for stage in stages.values()]
    seeds = {name: value for section in params for name, value in _seeds(section)}
    texts = {INPUTS: json.dumps(raw), OUTPUTS: json.dumps(outputs), SEEDS: json.dumps(seeds)}
    return {DVC_LOCK: hashlib.sha256(content).hexdigest(), **texts}


def inputs(stages: Mapping[str, Any]) -> dict[str, str]:
    """What the stages of a ``dvc.lock`` read that is no code and that none of them writes: path -> hash."""
    made = {out for stage in stages.values() for out in _hashes(stage.get("outs", []))}
    read = {path: digest for stage in stages.values() for path, digest in _hashes(stage.get("deps", [])).items()}
    return {path: digest for path, digest in read.items() if not _is_ours(path, made)}


def _hashes(entries: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Path -> hash, behind the name of its algorithm."""
    return {
        entry["path"]: f"{entry.get('hash', 'md5')}:{entry[entry.get('hash', 'md5')]}"
        for entry in entries
        if entry.get("hash", "md5") in entry
    }


def _is_ours(path: str, made: set[str]) -> bool:
    """Whether a dependency is code, or lies in what a stage wrote."""
    parts = Path(path)
    return parts.parts[:1] == ("pipeline",) or any(parts.is_relative_to(out) for out in made)


def _seeds(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, int]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _seeds(value, f"{prefix}{name}.")
        elif name == "seed":
            yield f"{prefix}{name}", value


# The chain.


def trace(what: str) -> Chain:
    """The chain that ``what`` hangs on, as JSON can hold it.

    Raises:
        ArtifactError: it is no run, version or file that this project knows.
    """
    path = Path(what)
    if path.is_dir() or path.is_file():
        return _of_file(path)
    if found := stored.find(what) if re.fullmatch("[0-9a-f]{32}", what) else None:
        return _of_alert(*found)
    if version := registry.find_version(what):
        return _of_version(version)
    return _of_run(_run(what))


def _of_file(path: Path) -> Chain:
    told = table_metadata(path) if path.suffix == ".parquet" and path.is_file() else {}
    if VERSION in told:
        return _of_scored(path, told)
    stage = _stage_of(path)
    made = paths.content_hash(stage)
    runs = tracking.makers(stage, made) if made else []
    artefact = {"path": path.as_posix(), "stage": stage, "outputs": made, "runs": [run.run_id for run in runs]}
    if not runs:
        raise ArtifactError(
            f"{path}: is an output of {stage}, but no run of this store made what lies there now; it was changed by "
            "hand, pulled from a remote, or is older than the store"
        )
    return {"artefact": artefact} | _of_run(runs[0])


def _of_alert(table: Path, alert: Alert) -> Chain:
    """The chain of the scored file, below what the alert says of its record.

    Where the file has no table, the chain is that of the model that the alert names.
    """
    about = {
        "key": alert.alert,
        "record": f"{alert.record_id:016x}",
        "source": f"{alert.source_file}, row {alert.row}",
        "source_sha256": alert.source_sha256,
    }
    path = scored.table_path(re.sub(r"\.\d{6}$", "", table.stem))  # the watch stores alerts in parts, see ``stretch``
    if path.is_file():
        return {"alert": about} | _of_file(path)
    told = {VERSION: str(alert.model_version), MODEL: alert.model, DIGEST: alert.model_digest}
    chain: Chain = {"alert": about} | _of_scored(path, told)
    chain["doubts"] = ["its stretch is still being judged; the scored file appears when that ends", *chain["doubts"]]
    return chain


def _stage_of(path: Path) -> str:
    root = tracking.project_root()
    here = path.resolve()
    for stage, outputs in paths.OUTPUTS.items():
        if any(here.is_relative_to((root / output).resolve()) for output in outputs):
            return stage
    known = [output.as_posix() for outputs in paths.OUTPUTS.values() for output in outputs]
    miss = near_miss(path.as_posix(), known)
    raise ArtifactError(f"{path}: is no scored file and no output of a stage{miss}; outputs: {', '.join(known)}")


def _of_scored(path: Path, told: Mapping[str, str]) -> Chain:
    about = {"path": path.as_posix(), **_own(told), **_summary(path)}
    return {"scored": about} | _of_judge(told)


def _of_judge(told: Mapping[str, str]) -> Chain:
    """The chain of the version that judged, by its number, its model's name and its digest."""
    own, model = own_model.name(), told.get(MODEL, SHIPPED)
    if model != own:
        other = f"version {told[VERSION]} of {model} scored it, and the model of this project is {own}; ask its project"
        return {"doubts": [other]}
    version = registry.find_version(told[VERSION])
    if version is None:
        gone = f"version {told[VERSION]} of {own}, which scored it, is no longer in the registry"
        return {"doubts": [gone]}
    chain = _of_version(version)
    if told.get(DIGEST, version.digest) != version.digest:
        chain["doubts"].append(f"it was scored by a model of another digest than version {version.number} has")
    return chain


def _summary(path: Path) -> dict[str, str]:
    """Whence it came, which flow run scored it and when; the file itself has the same bytes for the same records."""
    summary = path.parent / "summaries" / f"{path.stem}.json"
    told = read_json(summary) if summary.is_file() else {}
    return {name: str(told[name]) for name in ("address", "flow_run", "time") if told.get(name)}


def _own(tags: Mapping[str, str]) -> dict[str, str]:
    """What this project wrote, without its prefix."""
    own = ((key.partition("flowsculpt."), value) for key, value in tags.items())
    return {name: value for (before, prefix, name), value in own if prefix and not before and name not in SIGNED}


def _of_version(version: Version) -> Chain:
    about = {
        "number": version.number,
        "aliases": list(version.aliases),
        "digest": version.digest,
        "tags": _own(version.tags),
    }
    run = tracking.find_run(version.run_id)
    gone = f"the run {version.run_id} that made {version} is not in the experiment {_experiment()} any more"
    doubts = [] if run else [gone]
    chain = {"version": about} | (_pipeline(run) if run else {}) | {"data": _data(version.tags), "doubts": doubts}
    before = registry.find_version(version.tags[RECALIBRATES]) if RECALIBRATES in version.tags else None
    return chain | ({"recalibrates": _of_version(before)} if before else {})


def _of_run(run: Run) -> Chain:
    """A pipeline run, or the one that a stage belongs to, and the versions that came of it."""
    parent = tracking.find_run(run.parent) if run.parent else run
    if parent is None:
        raise ArtifactError(
            f"run {run.run_id} of {run.stage}: its pipeline run {run.parent} is not in the experiment {_experiment()}"
        )
    made = [version for version in registry.versions() if version.run_id == parent.run_id]
    chain = {"stage_run": _told(run)} if run.parent else {}
    known = [{"number": version.number, "aliases": list(version.aliases), "digest": version.digest} for version in made]
    data = _data(made[0].tags) if made else {}
    return chain | {"versions": known} | _pipeline(parent) | {"data": data, "doubts": []}


def _pipeline(run: Run) -> Chain:
    """A pipeline run and its stages, each with the run that made what it gave."""
    told = _told(run) | {"flow_run": run.tags.get(tracking.FLOW_RUN, ""), "git_commit": run.tags.get(GIT_COMMIT, "")}
    order = {stage: position for position, stage in enumerate(paths.OUTPUTS)}
    children = sorted(tracking.children(run.run_id).values(), key=lambda child: order.get(child.stage, len(order)))
    return {"run": told, "stages": [_stage(child.stage, child.state, child.run_id, run) for child in children]}


def _stage(name: str, state: str, run_id: str | None, parent: Run) -> Chain:
    made = tracking.find_run(run_id) if run_id else None
    told = {"stage": name, "state": state, "run": run_id or "", "status": made.status if made else ""}
    outputs = made.tags.get(tracking.OUTPUTS, "") if made else ""
    origin = made.parent if made and made.parent != parent.run_id else ""
    return told | {"outputs": outputs, "made_in": origin}


def _told(run: Run) -> Chain:
    return {"id": run.run_id, "name": run.name, "status": run.status, "started": run.started}


def _data(tags: Mapping[str, str]) -> Chain:
    known = {"dvc_lock": tags.get(DVC_LOCK, "")}
    return known | {name: json.loads(tags.get(tag, "{}")) for name, tag in (("inputs", INPUTS), ("outputs", OUTPUTS))}


def _run(what: str) -> Run:
    if run := tracking.find_run(what):
        return run
    ids = tracking.run_ids()
    begun = [each for each in ids if each.startswith(what)] if len(what) >= SHORTEST_PREFIX else []
    if len(begun) == 1 and (run := tracking.find_run(begun[0])):
        return run
    if begun:
        raise ArtifactError(f"{what!r} begins the ids of {len(begun)} runs: {', '.join(begun[:5])}; give more digits")
    versions = registry.versions()
    known = [*(alias for each in versions for alias in each.aliases), *(str(each.number) for each in versions)]
    named = f"versions and aliases: {', '.join(known)}" if known else "no version is registered yet"
    files = [output.as_posix() for outputs in paths.OUTPUTS.values() for output in outputs]
    miss = near_miss(what, [*known, *ids, *files])
    raise ArtifactError(f"{what!r} is no alert, no file, no version or alias and no run of this store{miss}; {named}")


def _experiment() -> str:
    return repr(tracking.project_names().experiment)


# The program.


def main(options: Sequence[str] | None = None) -> int:
    """Print a chain; returns the exit code."""
    given = arguments.parse("lineage", options)
    return program.run("lineage", lambda: _printed(given.what, given.json))


def _printed(what: str, as_json: bool) -> str:
    chain = trace(what)
    return json.dumps(chain, indent=2) if as_json else as_text(chain)


if __name__ == "__main__":
    sys.exit(main())
