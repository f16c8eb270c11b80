"""What a scoring run leaves to read: a page for Prefect, and a few lines for the terminal."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from flows.reports import tables
from pipeline.artifacts.tables import read_table
from pipeline.base.escaping import in_code, in_markdown, printable
from pipeline.serving import own_model, quarantine, rescoring
from pipeline.serving.arrivals import key_of
from pipeline.serving.counts import counted
from pipeline.serving.intake import Result
from pipeline.serving.scored import table_path
from pipeline.serving.tally import expected, promises_of

STRONGEST: Final = 3


def row(summary: Mapping[str, Any]) -> dict[str, object]:
    """Counts and verdicts of a file."""
    counts = {name: summary[name] for name in ("source", "records", "rejected")}
    batch = {"discoveries": summary["batch"]["discoveries"]} if "batch" in summary else {}
    return {**counts, **summary["verdicts"], **batch}


def markdown(result: Result) -> str:
    """A page: verdicts of each file, alarms of all beside those that benign records alone would raise."""
    version = f"Version {result.version}{own_model.suffix()}"
    head = f"# Scoring\n\n{version}, digest {in_code(result.digest[:12])}. "
    parts = [
        f"{head}{result.counts}, {len(result.refused)} failed.",
        tables.markdown([row(summary) for summary in result.scored]),
        tables.markdown(_alarms(result)),
        *_labelled(result.scored),
        *_titled("Delivery", result.delivery),
        *_titled("Unlike what the model was fitted on", _broken(result)),
        *_titled("Quarantined", [f"{held.sentence} ({_place(held)})" for held in result.quarantined]),
        *_titled("Left for the next run", result.left),
        *_titled("Failed", result.refused),
        *_titled("Judged again", _again(result)),
    ]
    return "\n\n".join(part for part in parts if part)


def _again(result: Result) -> list[str]:
    """What has changed in files that another version had scored, file by file."""
    again = (each for each in result.scored if "rescored" in each)
    return [f"{each['source']}: {rescoring.sentence(each['rescored'])}" for each in again]


def _broken(result: Result) -> list[str]:
    """What breaks the contract of the model, file by file."""
    held = ((summary["source"], summary.get("contract", {})) for summary in result.scored)
    return [f"{name}: {' '.join(each['sentences'])}" for name, each in held if each.get("state") == "broken"]


def _place(held: quarantine.Held) -> str:
    return f"it could not be moved: {held.stays}" if held.stays else f"now {held.path}"


def _titled(title: str, reasons: Sequence[str]) -> list[str]:
    return [f"## {title}\n\n{chr(10).join(f'- {in_markdown(reason)}' for reason in reasons)}"] if reasons else []


def _alarms(result: Result) -> list[dict[str, object]]:
    """For each threshold the alarms, and how many there would be among as many benign records."""
    names = result.scored[0]["alarms"] if result.scored else ()
    rows: list[dict[str, object]] = []
    for name in names:
        alarms = sum(summary["alarms"][name]["alarms"] for summary in result.scored)
        parts = promises_of(result.scored, name)
        known = expected(parts) if parts else {}
        rows.append({"threshold": name, "alarms": alarms, "if all were benign": _chance(known)})
    return rows


def _labelled(scored: Sequence[Mapping[str, Any]]) -> list[str]:
    """How the records were judged whose labels the files tell; nothing where no file has labels."""
    found = [summary["labels"] for summary in scored if "labels" in summary]
    if not found:
        return []
    names = list(found[0]["benign"]["alarms"])
    whole = {kind: _summed([labels[kind] for labels in found], names) for kind in ("attacks", "benign")}
    by_threshold = [
        {
            "threshold": name,
            "labelled attacks that raise an alarm": _share(whole["attacks"], name),
            "labelled benign records that do": _share(whole["benign"], name),
        }
        for name in names
    ]
    shown = shown_threshold(names)
    attacks = dict.fromkeys(attack for labels in found for attack in labels["by_attack"])
    each = {name: _summed([labels["by_attack"].get(name) for labels in found], names) for name in attacks}
    by_attack = [{"attack": name, f"alarms at {shown}": _share(counts, shown)} for name, counts in each.items()]
    return ["## Labelled records", tables.markdown(by_threshold), tables.markdown(by_attack)]


def _summed(counts: Sequence[Mapping[str, Any] | None], names: Sequence[str]) -> dict[str, Any]:
    """Records, and alarms of each threshold, of several files; None for a file that has none."""
    given = [each for each in counts if each is not None]
    alarms = {name: sum(each["alarms"][name] for each in given) for name in names}
    return {"records": sum(each["records"] for each in given), "alarms": alarms}


def _share(counts: Mapping[str, Any], threshold: str) -> str:
    """How many records raise an alarm, such as ``9 of 10 (90.0 %)``."""
    alarms, records = counts["alarms"][threshold], counts["records"]
    return f"{alarms:,} of {records:,} ({alarms / records:.1%})".replace("%", " %") if records else "none there"


def _chance(alarms: Mapping[str, Any]) -> str:
    """How many alarms benign records would raise; "" where a threshold promises nothing."""
    return f"{alarms['expected']:,} ({alarms['low']:,} to {alarms['high']:,})" if "expected" in alarms else ""


# For the terminal.


def brief(summary: Mapping[str, Any], path: Path, alias: str, is_new: bool, serving: int | None = None) -> str:
    """A few lines on one file: records, alerts, the strongest of them, and where the table lies.

    Args:
        summary: of the file.
        path: by which it was named.
        alias: by which the model was named.
        is_new: whether it was scored just now.
        serving: the version that the alias stands for; None: the one that scored the file.
    """
    when = "scored" if is_new else "scored before"
    version = f"version {summary['version']}{own_model.suffix()}"
    by = f"{version} ({alias})" if serving in (None, summary["version"]) else version
    lines = [f"{path}: {counted(summary['records'], 'record')} {when} by {by}"]
    if by == version:
        lines += [f"version {serving} is the {alias} now; it judges this file again with --rescore"]
    lines += [rescoring.sentence(summary["rescored"])] if "rescored" in summary and is_new else []
    if summary["rejected"]:
        lines += [f"{counted(summary['rejected'], 'row')} could not be read: {table_path(key(summary), 'rejected')}"]
    lines += contract_lines(summary)
    name = shown_threshold(summary["alarms"])
    alarms = summary["alarms"][name]
    chance = _chance(alarms)
    if summary.get("without_context"):
        lines += [
            f"{counted(summary['without_context'], 'record has', 'records have')} no context: no time, or no address"
        ]
    lines += [
        f"{counted(alarms['alarms'], 'alert')} at {name}"
        + f"; if all were benign, {chance} would be expected" * bool(chance)
    ]
    if "labels" in summary:
        attacks, benign = (_share(summary["labels"][kind], name) for kind in ("attacks", "benign"))
        lines += [f"by the labels of the file, at {name}: attacks {attacks}, benign records {benign}"]
    if "batch" in summary:
        found = counted(summary["batch"]["discoveries"], "discovery", "discoveries")
        lines += [f"{found}, of which {summary['batch']['level']:.2%} may be false in expectation"]
    lines += summary.get("delivery", [])
    table = table_path(key(summary))
    rows = _strongest(table)
    strongest = "\n".join([tables.columns(rows), *_why(key(summary), [str(row["record_id"]) for row in rows])])
    named = str(summary["version"]) if by == version else alias
    other = "" if named == "champion" else f" --alias {named}"
    reasons = printable(f"reasons  flowsculpt explain {shlex.quote(str(path))}{other}")
    return "\n".join([*map(printable, lines), "", strongest, "", f"table    {table}", reasons])


def contract_lines(summary: Mapping[str, Any]) -> list[str]:
    """In what a file differs from the records that the model was fitted on; nothing for an older summary."""
    found: list[str] = summary.get("contract", {}).get("sentences", [])
    return found


def key(summary: Mapping[str, Any]) -> str:
    """What the tables of a file that was scored are called."""
    return key_of(summary["source"], summary["source_sha256"], summary["version"])


def shown_threshold(names: Sequence[str] | Mapping[str, Any]) -> str:
    """The threshold whose alerts are shown: p99, or the lowest where a model has others."""
    return "p99" if "p99" in names else list(names)[-1]


def _why(name: str, ids: Sequence[str]) -> list[str]:
    """The strongest reason of each alert among some records, in the order of these; nothing where none has any."""
    found = read_table(table_path(name, "alerts"), ["record_id", "reasons"]).to_pylist()
    told = {f"{each['record_id']:016x}": each["reasons"] for each in found}
    rows = [{"record_id": each, "strongest reason": told[each][0]["text"]} for each in ids if told.get(each)]
    return ["", tables.columns(rows)] if rows else []


def _strongest(table: Path) -> list[dict[str, object]]:
    """The records of the highest scores, the highest first."""
    names = ["record_id", "source_file", "row", "score", "p_value", "verdict"]
    found = read_table(table, names).sort_by([("score", "descending"), ("row", "ascending")])
    rows = found.slice(0, STRONGEST).to_pylist()
    return [each | {"record_id": f"{each['record_id']:016x}", "row": str(each["row"])} for each in rows]
