"""Raw files -> records with canonical columns; rows that cannot be read are kept beside them, with the reason."""

from dataclasses import replace
from pathlib import Path

from pipeline.artifacts import paths
from pipeline.artifacts.files import write_json
from pipeline.artifacts.tables import TableWriter
from pipeline.base.registry import build
from pipeline.datasets import labelling
from pipeline.datasets.base import REJECTED_SCHEMA, Dataset, record_schema
from pipeline.datasets.reading import Reading
from pipeline.datasets.registry import DATASETS
from pipeline.datasets.tally import Tally
from pipeline.datasets.trust import TRUST_SCHEMA, Extent, trusted
from pipeline.reporting import confidence_table
from pipeline.settings.ingest import Ingest
from pipeline.stages import launch
from pipeline.stages.labelled_records import Missing
from pipeline.stages.reports.ingest import write_reports
from pipeline.stages.reports.report import Report


def ingest(settings: Ingest, report: Report) -> None:
    """Stream the data set into one Parquet file."""
    plugin = settings.settings(settings.dataset, DATASETS)
    plugin["reading"] = reading = Reading.of(settings.time_format, settings.time_zone, settings.unlabelled)
    dataset = build(DATASETS, settings.dataset, "ingest.dataset", path=Path(settings.path), **plugin)
    dataset.labelled = settings.labels in {"auto", "full"}
    tally, extent, missing = Tally(), Extent(dataset.columns), Missing()
    with TableWriter(paths.RECORDS, record_schema(dataset.columns)) as records:
        _store(dataset, settings.labels == "none", records, tally, extent, missing, report)
        tally.check(settings.max_rejected_share, paths.REJECTED)
        labelling.require(settings.labels, tally.files)
        records.write(missing.records(dataset.columns, report))
    source = tally.source(settings.dataset, dataset, missing.families) | {"reading": reading.stated()}
    write_json(paths.SOURCE, source)
    write_reports(settings, source, tally, extent, report)


def _store(
    dataset: Dataset, unread: bool, records: TableWriter, tally: Tally, extent: Extent, missing: Missing, report: Report
) -> None:
    """Store each chunk: its records, its rejected rows, and the confidence in each record."""
    with (
        TableWriter(paths.REJECTED, REJECTED_SCHEMA) as rejected,
        confidence_table.writer(report.folder, 0, TRUST_SCHEMA) as confidence,
    ):
        for read in dataset.read():
            labelled = labelling.without_labels(read.records) if unread else read.records
            chunk = replace(read, records=labelling.presumed_benign(labelled))
            records.write(missing.without(chunk.records))
            rejected.write(chunk.rejected)
            confidence.write(trust := trusted(chunk.records, dataset.columns))
            extent.add(chunk.records)
            tally.add(chunk, int((trust.column("confidence").to_numpy() < 1).sum()))


if __name__ == "__main__":
    launch("ingest", Ingest, ingest)
