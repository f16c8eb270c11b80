"""Raw files -> records with canonical columns; rows that cannot be read are kept beside them, with the reason."""

from typing import Any

from pipeline import config
from pipeline.artifacts import paths
from pipeline.artifacts.files import write_json
from pipeline.artifacts.tables import TableWriter
from pipeline.base import limits
from pipeline.base.registry import build
from pipeline.datasets import labelling
from pipeline.datasets.base import Dataset, record_schema
from pipeline.datasets.places import where_of
from pipeline.datasets.reading import Reading
from pipeline.datasets.registry import DATASETS
from pipeline.datasets.tally import Tally
from pipeline.datasets.trust import Extent
from pipeline.objects import copies
from pipeline.settings import followed
from pipeline.settings.files import Files
from pipeline.settings.ingest import Ingest
from pipeline.stages.frame import launch
from pipeline.stages.labelled_records import Missing
from pipeline.stages.reports.ingest import write_reports
from pipeline.stages.reports.report import Report
from pipeline.stages.stored_records import store


def ingest(settings: Ingest, report: Report) -> None:
    """Stream the data set into one Parquet file."""
    followed.require(settings.path)
    given, path = settings.settings(settings.dataset, DATASETS), where_of(copies.local_all(settings.path))
    reading = Reading.of(settings.time_format, settings.time_zone, settings.unlabelled)
    dataset = build(DATASETS, settings.dataset, "ingest.dataset", path=path, reading=reading, **given)
    dataset.labelled = settings.labels in {"auto", "full"}
    with limits.holding(config.load(Files).limits()):
        _read(settings, dataset, given, reading, report)


def _read(settings: Ingest, dataset: Dataset, given: dict[str, Any], reading: Reading, report: Report) -> None:
    tally, extent, missing = Tally(), Extent(dataset.columns), Missing()
    with TableWriter(paths.RECORDS, record_schema(dataset.columns)) as records:
        store(dataset, settings.labels == "none", records, tally, extent, missing, report)
        tally.check(settings.max_rejected_share, paths.REJECTED)
        labelling.require(settings.labels, tally.files)
        records.write(missing.records(dataset.columns, report))
    source = tally.source(settings.dataset, dataset, missing.families)
    source |= {"reading": reading.stated(), "settings": given}
    write_json(paths.SOURCE, source)
    write_reports(settings, source, tally, extent, report)


if __name__ == "__main__":
    launch("ingest", Ingest, ingest)
