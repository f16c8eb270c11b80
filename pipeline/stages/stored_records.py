"""Stores what a data set reads: records, rejected rows, and the confidence in each record."""

from dataclasses import replace

from pipeline.artifacts import paths
from pipeline.artifacts.tables import TableWriter
from pipeline.datasets import labelling, members
from pipeline.datasets.base import REJECTED_SCHEMA, Dataset
from pipeline.datasets.tally import Tally
from pipeline.datasets.trust import TRUST_SCHEMA, Extent, trusted
from pipeline.reporting import confidence_table
from pipeline.stages.labelled_records import Missing
from pipeline.stages.reports.report import Report


def store(
    dataset: Dataset, unread: bool, records: TableWriter, tally: Tally, extent: Extent, missing: Missing, report: Report
) -> None:
    """Store each chunk: its records, its rejected rows, and the confidence in each record."""
    with (
        TableWriter(paths.REJECTED, REJECTED_SCHEMA) as rejected,
        confidence_table.writer(report.folder, 0, TRUST_SCHEMA) as confidence,
    ):
        for read in members.accounted(dataset, to_score=False):
            labelled = labelling.without_labels(read.records) if unread else read.records
            chunk = replace(read, records=labelling.presumed_benign(labelled))
            records.write(missing.without(chunk.records))
            rejected.write(chunk.rejected)
            confidence.write(trust := trusted(chunk.records, dataset.columns))
            extent.add(chunk.records)
            tally.add(chunk, int((trust.column("confidence").to_numpy() < 1).sum()))
