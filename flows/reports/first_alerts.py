"""What a model says of a scored file, for a terminal: a sentence on the alarms, and the strongest three."""

from pathlib import Path
from typing import Any, Final

from flows.reports import tables
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.artifacts.tables import read_table
from pipeline.base.errors import ArtifactError
from pipeline.serving import arrivals

THRESHOLD: Final = "p99"
STRONGEST: Final = 3


def text(file: Path, version: int) -> str:
    """The alarms of a file at p99, or at the first threshold of a model that has no such.

    Args:
        file: one that the version has scored, under whatever name.
        version: its number.

    Raises:
        ArtifactError: the version has not scored the file.
    """
    scored = _scored(file, version)
    summary = read_json(paths.SCORED / "summaries" / f"{scored.stem}.json")
    return f"{sentence(summary, file)}\n\n{tables.columns(strongest(scored))}"


def sentence(summary: dict[str, Any], file: Path) -> str:
    """How many records raise an alarm, beside how many would if all were benign."""
    name = THRESHOLD if THRESHOLD in summary["alarms"] else next(iter(summary["alarms"]))
    alarms, n = summary["alarms"][name], summary["records"]
    return (
        f"At {name}, version {summary['version']} raises an alarm on {alarms['alarms']:,} of the {n:,} records in "
        f"{file}; {n:,} benign records would raise {alarms['low']:,} to {alarms['high']:,}. The strongest alerts:"
    )


def strongest(scored: Path, count: int = STRONGEST) -> list[dict[str, object]]:
    """The records with the highest scores: their row in the file, score, p-value and verdict."""
    table = read_table(scored, ["row", "score", "p_value", "verdict"])
    order = [("score", "descending"), ("row", "ascending")]
    rows: list[dict[str, object]] = table.sort_by(order).slice(0, count).to_pylist()
    return rows


def _scored(file: Path, version: int) -> Path:
    """The table of a file's scored records."""
    found = sorted(paths.SCORED.glob(f"*-{arrivals.content_hash(file)}-v{version}.parquet"))
    if not found:
        raise ArtifactError(f"{file}: version {version} has not scored it; run `flowsculpt score {file}`")
    return found[0]
