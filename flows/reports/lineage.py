"""What a chain of lineage looks like on a terminal."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pipeline.base.escaping import printable
from pipeline.serving import own_model

Chain = dict[str, Any]
HIDDEN: Final = ("digest", "dvc_lock", "inputs", "stage_outputs")  # tags of a version that have lines of their own


def as_text(chain: Chain, indent: str = "") -> str:
    """A chain as text that reads from the alert down to the data."""
    lines = [printable(f"{indent}{head:<14}{text}".rstrip()) for head, text in _lines(chain)]
    before = ["", as_text(chain["recalibrates"], indent + "  ")] if "recalibrates" in chain else []
    return "\n".join([*lines, *before])


def _lines(chain: Chain) -> Iterator[tuple[str, str]]:
    for doubt in chain.get("doubts", ()):
        yield "doubt", doubt
    if alert := chain.get("alert"):
        yield "alert", alert["key"]
        yield from (("", f"{key} {value}") for key, value in alert.items() if key != "key")
    if scored := chain.get("scored"):
        yield "scored file", scored["path"]
        yield from (("", f"{key} {value}") for key, value in scored.items() if key != "path")
    if artefact := chain.get("artefact"):
        yield "artefact", f"{artefact['path']}, an output of {artefact['stage']} (content {artefact['outputs']})"
    if stage := chain.get("stage_run"):
        yield "stage run", _run_line(stage)
    if version := chain.get("version"):
        yield "version", _version_line(version)
        yield from (("", f"{key} {value}") for key, value in sorted(version["tags"].items()) if key not in HIDDEN)
    for version in chain.get("versions", ()):
        yield "version", _version_line(version)
    if run := chain.get("run"):
        yield "pipeline run", _run_line(run)
        yield "flow run", run["flow_run"] or "none: it was not a Prefect flow that started it"
        yield "git commit", run["git_commit"] or "none: it was not run in a git repository"
    yield from _stage_lines(chain.get("stages", ()))
    yield from _data_lines(chain.get("data") or {})


def _version_line(version: Mapping[str, Any]) -> str:
    aliases = f" ({', '.join(version['aliases'])})" if version["aliases"] else ""
    return f"{version['number']} of {own_model.name()}{aliases}, digest {version['digest']}"


def _run_line(run: Mapping[str, Any]) -> str:
    return f"{run['id']}  {run['name']}  {run['status']}  {run['started']}"


def _stage_lines(stages: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for stage in stages:
        made = f"{stage['run']}  content {stage['outputs']}" if stage["run"] else "by no run that the store knows"
        origin = f"  made in pipeline run {stage['made_in']}" if stage["made_in"] else ""
        yield "stage", f"{stage['stage']:<11}{stage['state']:<7} {made}{origin}"


def _data_lines(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not data.get("dvc_lock"):
        yield "data", "no version tells which dvc.lock it was"
        return
    yield "dvc.lock", f"sha256:{data['dvc_lock']}"
    yield from (("raw input", f"{path}  {digest}") for path, digest in data["inputs"].items())
    for stage, outputs in data["outputs"].items():
        yield from (("output", f"{stage:<11}{path}  {digest}") for path, digest in outputs.items())
