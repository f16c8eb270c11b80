"""Raw files -> records with canonical columns; rows that cannot be read are kept beside them, with the reason."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from pipeline import artifacts
from pipeline.base.errors import RejectedError
from pipeline.base.registry import build
from pipeline.datasets.base import REJECTED_SCHEMA, Chunk, Dataset, record_schema
from pipeline.datasets.labels import family
from pipeline.datasets.registry import DATASETS
from pipeline.datasets.rows import BLANK
from pipeline.datasets.schema import Column
from pipeline.datasets.trust import TRUST_SCHEMA, Extent, trusted
from pipeline.reporting import confidence_table
from pipeline.reporting.figures.records import class_counts
from pipeline.settings.ingest import Ingest
from pipeline.stages import launch
from pipeline.stages.reports.report import LEVELS, Report


def ingest(settings: Ingest, report: Report) -> None:
    """Stream the data set into one Parquet file."""
    plugin = settings.settings(settings.dataset, DATASETS)
    dataset = build(DATASETS, settings.dataset, "ingest.dataset", path=Path(settings.path), **plugin)
    tally, extent = Tally(), Extent(dataset.columns)
    with artifacts.TableWriter(artifacts.RECORDS, record_schema(dataset.columns)) as records:
        with (
            artifacts.TableWriter(artifacts.REJECTED, REJECTED_SCHEMA) as rejected,
            confidence_table.writer(report.folder, 0, TRUST_SCHEMA) as confidence,
        ):
            for chunk in dataset.read():
                records.write(chunk.records)
                rejected.write(chunk.rejected)
                sure = trusted(chunk.records, dataset.columns)
                confidence.write(sure)
                extent.add(chunk.records)
                tally.add(chunk, int((sure.column("confidence").to_numpy() < 1).sum()))
        tally.check(settings.max_rejected_share)
    source = tally.source(settings.dataset, dataset)
    artifacts.write_json(artifacts.SOURCE, source)
    report.json("ingest", source)
    report.json("confidence_intervals_epoch_0", extent.result())
    for name, limit in {"max_rejected_share": settings.max_rejected_share, **LEVELS}.items():
        report.shares(name, limit, tally.shares())
    counts = {name: file["attacks"] for name, file in source["files"].items()}
    report.figure("class_counts", class_counts(counts, subtitle=report.subtitle))
    columns = {column.name: "string" if column.categorical else "double" for column in dataset.columns}
    report.run.dataset(settings.dataset, settings.path, source["digest"], tally.records, columns, "raw")
    report.run.metrics({key: source[key] for key in ("records", "rejected", "blank", "distrusted")})
    report.say(f"{source['records']:,} records of {len(counts)} files, {source['rejected']:,} rows rejected")


class Tally:
    """Counts per file, and the first few rows that were rejected."""

    def __init__(self) -> None:
        self.files: dict[str, Counter[str]] = {}
        self.rejected: Counter[str] = Counter()
        self.blank = 0
        self.distrusted = 0
        self.examples: list[dict[str, Any]] = []
        self.digest = 0  # of all record ids, whatever their order

    @property
    def records(self) -> int:
        """Records so far."""
        return sum(counts.total() for counts in self.files.values())

    def add(self, chunk: Chunk, distrusted: int) -> None:
        """Count the rows of ``chunk``; ``distrusted`` says how many of its records are."""
        for row in chunk.records.group_by(["source_file", "attack"]).aggregate([([], "count_all")]).to_pylist():
            self.files.setdefault(row["source_file"], Counter())[row["attack"]] += row["count_all"]
        self.digest ^= int(np.bitwise_xor.reduce(chunk.records.column("record_id").to_numpy()))
        blank = pc.equal(chunk.rejected.column("reason"), BLANK)
        faulty = chunk.rejected.filter(pc.invert(blank))
        self.blank += chunk.rejected.num_rows - faulty.num_rows
        self.distrusted += distrusted
        self.rejected.update(faulty.column("source_file").to_pylist())
        self.examples += faulty.slice(0, 3 - len(self.examples)).to_pylist() if len(self.examples) < 3 else []

    def shares(self) -> dict[str, tuple[int, int]]:
        """How many rows were rejected, were blank or are distrusted, of how many."""
        rejected, records = self.rejected.total(), self.records
        return {
            "rejected": (rejected, rejected + records),
            "blank": (self.blank, self.blank + rejected + records),
            "distrusted": (self.distrusted, records),
        }

    def check(self, max_share: float) -> None:
        """Refuse too many rejected rows; rows that are blank from end to end do not count.

        Raises:
            RejectedError: naming the first three.
        """
        rejected = self.rejected.total()
        if not self.records or rejected > max_share * (rejected + self.records):
            rows = "; ".join(map(_spelt, self.examples))
            raise RejectedError(
                f"{rejected:,} of {rejected + self.records:,} rows cannot be read, more than the {max_share:g} "
                f"that ingest.max_rejected_share allows ({rows}); all are kept in {artifacts.REJECTED}"
            )

    def source(self, name: str, dataset: Dataset) -> dict[str, Any]:
        """What later stages know of the data: what the columns and attacks are, and how many records have which."""
        families = dataset.families or {attack: family(attack) for counts in self.files.values() for attack in counts}
        return {
            "dataset": f"{name} {dataset.title}".strip(),
            "synthetic": dataset.is_synthetic,
            "records": self.records,
            "rejected": self.rejected.total(),
            "blank": self.blank,
            "distrusted": self.distrusted,
            "digest": f"{self.digest:016x}",
            "files": {
                file: {"records": counts.total(), "rejected": self.rejected[file], "attacks": dict(counts)}
                for file, counts in sorted(self.files.items())
            },
            "families": dict(sorted(families.items())),
            "columns": [_told(column) for column in dataset.columns],
        }


def _told(column: Column) -> dict[str, Any]:
    """A column as JSON: what is not as usual of it, without the names that its files give it."""
    usual = vars(Column(name="", unit=""))
    return {key: value for key, value in vars(column).items() if key != "headers" and value != usual[key]}


def _spelt(example: dict[str, Any]) -> str:
    column = f", column {example['column']!r}" if example["column"] else ""
    return f"{example['source_file']}, row {example['row']}{column}: {example['reason']}"


if __name__ == "__main__":
    launch("ingest", Ingest, ingest)
