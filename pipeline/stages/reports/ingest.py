"""The reports of ingest: what was read, what was rejected, and the classes in each file."""

from pathlib import Path
from typing import Any, Final

from pipeline.datasets import labelling
from pipeline.datasets.places import shown
from pipeline.datasets.tally import Tally
from pipeline.datasets.trust import Extent
from pipeline.reporting.figures.records import class_counts
from pipeline.reporting.html import page
from pipeline.settings.ingest import Ingest
from pipeline.stages.reports.report import LEVELS, Report

TEMPLATE: Final = Path(__file__).with_name("reading.html")


def write_reports(settings: Ingest, source: dict[str, Any], tally: Tally, extent: Extent, report: Report) -> None:
    """Write them.

    Args:
        settings: of the stage.
        source: the content of ``source.json``.
        tally: the counts of all records and rows.
        extent: the range of each column.
        report: of the stage.
    """
    report.json("ingest", source)
    reading = tally.findings.report()
    report.json("reading", reading)
    report.html(
        "reading", page(TEMPLATE, title="What was understood of each file", subtitle=report.subtitle, files=reading)
    )
    report.json("confidence_intervals_epoch_0", extent.result())
    for name, limit in {"max_rejected_share": settings.max_rejected_share, **LEVELS}.items():
        report.shares(name, limit, tally.shares())
    counts = {name: file["attacks"] for name, file in source["files"].items()}
    report.figure("class_counts", class_counts(counts, subtitle=report.subtitle))
    columns = {column["name"]: "string" if column.get("categorical") else "double" for column in source["columns"]}
    report.run.dataset(settings.dataset, shown(settings.path), source["digest"], tally.records, columns, "raw")
    report.run.metrics({key: source[key] for key in ("records", "rejected", "blank", "distrusted")})
    report.say(labelling.sentence(tally.attacks))
    report.say(f"{source['records']:,} records of {len(counts)} files, {source['rejected']:,} rows rejected")
