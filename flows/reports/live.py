"""The part of a decision's page on live traffic: alarms of both models, and where the two differ."""

from collections.abc import Mapping
from typing import Final

from flows.reports import tables
from pipeline.base.escaping import in_markdown
from pipeline.evaluation.alarm_share import Alarms
from pipeline.evaluation.shadow import Comparison
from pipeline.serving.counts import counted
from pipeline.serving.differences import Difference, Differences
from pipeline.serving.shadow import Shadow

MOST: Final = 10  # files, hosts and days that are named
NOTE: Final = "Nobody knows which of them are attacks. A record with a small p-value is unlike benign ones."


def markdown(found: Shadow) -> str:
    """A section: what was found, the alarms of both models, and the records on which they differ."""
    parts = [
        "## Live traffic",
        _looked_at(found) if found.records else in_markdown(f"{found.sentence[0].upper()}{found.sentence[1:]}."),
        _alarms(found.alarms) if found.alarms else "",
        *_differing(found.differences),
    ]
    return "\n\n".join(part for part in parts if part)


def _looked_at(found: Shadow) -> str:
    left = "".join(
        f" {counted(n, 'other is left out: it is', 'others are left out: they are')} {in_markdown(why)}."
        for why, n in found.left_out.items()
    )
    return (
        f"{counted(found.records, 'record')} of {counted(found.files, 'file')}, a random sample of each.{left} {NOTE}"
    )


def _alarms(found: Comparison) -> str:
    models = {"champion": found.champion, "candidate": found.candidate}
    return tables.markdown([_row(name, each) for name, each in models.items() if each])


def _row(model: str, found: Alarms) -> Mapping[str, object]:
    share = f"{100 * found.share:.2f} %"
    return {"model": model, "alarms": found.alarms, "share": share, "promised": f"{found.low:,} to {found.high:,}"}


def _differing(found: Differences) -> list[str]:
    """Counts of the records that one model alone flags, and the first of them; nothing where there are none."""
    if not found.first:
        return []
    counts = [_counted(by, found) for by in found.counts]
    first = tables.markdown([_shown(each, found) for each in found.first])
    return ["### Where the two differ", *counts, f"The first {len(found.first)} of these records:", first]


def _counted(by: str, found: Differences) -> str:
    rows = found.most(by, MOST)
    return tables.markdown(
        [{by: name or "-", "candidate alone": ours, "champion alone": theirs} for name, ours, theirs in rows]
    )


def _shown(record: Difference, found: Differences) -> Mapping[str, object]:
    columns = dict.fromkeys(name for each in found.first for name in each.where)
    where = {name: record.where.get(name, "") or "-" for name in columns}
    p_values = {"candidate p": record.candidate, "champion p": record.champion}
    return {**where, **p_values, "alarm by": "candidate" if record.by_candidate else "champion"}
