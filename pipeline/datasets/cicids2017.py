"""CIC-IDS-2017 in its published shapes, and any other capture that CICFlowMeter wrote in the same formats.

The header shows which shape a file has: ``MachineLearningCSV`` (features and label), ``GeneratedLabelledFlows`` (the
same behind flow id, addresses, ports, protocol and timestamp), the corrected release of Engelen, Rimmer, Joosen (2021)
and Liu et al. (2022) (other names, true timestamps, ``Attempted Category``), or another one of ``families``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from pipeline.base.errors import SchemaError
from pipeline.datasets import sources
from pipeline.datasets.base import Chunk, Dataset, Part, read_parts
from pipeline.datasets.header import Columns, Layout, layout
from pipeline.datasets.labels import BENIGN, Unknown, canonical
from pipeline.datasets.parts import found, head_of, parts_of, understood
from pipeline.datasets.places import Where, where_of
from pipeline.datasets.reading import Reading
from pipeline.datasets.schema import FEATURES, Column
from pipeline.datasets.sources import Source


class CICIDS2017(Dataset):
    """Reads the records under ``path``: a file, a folder or a zip, plain or packed, or several of them.

    Args:
        path: where the records are.
        unknown_labels: ``refuse`` stops at a label outside the vocabulary, ``keep`` makes it an attack of its own.
        ignore_columns: headers that may stand in the files beside the known ones, and are left out.
        benign_labels: words that mean benign; case, spaces and dashes do not count.
        reading: what the files leave open.
        columns: ``family``: all files have the features that their kind of file has; ``all``: each published feature;
            ``present``: what all files have in common, and nothing is said of what is missing.
        needed: for records to be scored: the columns that must be there, while others and a label may be absent.
    """

    def __init__(
        self,
        path: Where,
        unknown_labels: Unknown = "refuse",
        ignore_columns: tuple[str, ...] = (),
        benign_labels: tuple[str | int, ...] = BENIGN,
        reading: Reading | None = None,
        columns: Columns = "family",
        needed: tuple[Column, ...] | None = None,
    ) -> None:
        self.path = where_of(path)
        self.unknown_labels: Unknown = unknown_labels
        self.ignore_columns = tuple(ignore_columns)
        self.benign_labels = tuple(map(str, benign_labels))
        self.reading = reading or Reading()
        self.wanted: Columns = columns
        self.needed = needed

    @property
    def columns(self) -> tuple[Column, ...]:
        """The features that all files have; their headers are read.

        Raises:
            SourceError: a file cannot be read or is empty.
            SchemaError: it lacks a column, or has a feature that another file lacks.
        """
        return self._columns

    @cached_property
    def _columns(self) -> tuple[Column, ...]:
        layouts = self.layouts.values()
        common = set.intersection(*({*read.columns} for read in layouts))
        columns = tuple(column for column in FEATURES if column in common)
        if self.needed is None and self.wanted != "present":
            self._require_same(columns)
        return columns

    @cached_property
    def layouts(self) -> dict[str, Layout]:
        """Place of each source -> the meaning of its columns.

        Raises:
            SourceError: a file cannot be read or is empty.
            SchemaError: it lacks a column.
        """
        return {source.place: self._layout(source) for source in self._sources}

    @property
    def label_settings(self) -> Mapping[str, Any]:
        """The words that mean benign, and what becomes of unknown labels."""
        return {"unknown_labels": self.unknown_labels, "benign_labels": [*self.benign_labels]}

    def read(self) -> Iterator[Chunk]:
        """All records, about a hundred megabytes of them in memory at a time.

        Raises:
            SourceError: a file cannot be read, is empty, or repeats another one.
            SchemaError: columns are missing or unknown.
            DataError: a label is unknown.
        """
        return read_parts(self.partitions())

    @cached_property
    def _sources(self) -> list[Source]:
        return found(self.path)

    def archives(self) -> dict[Path, set[str]]:
        """Archive -> its members that are read."""
        return sources.by_archive(self._sources)

    def partitions(self) -> Iterator[Part]:
        """What reads each block of each file."""
        contents = sources.SeenContents()
        benign, unlabelled = self.benign_labels, self.reading.nothing
        label = partial(canonical, unknown=self.unknown_labels, benign=benign, unlabelled=unlabelled)
        for source in self._sources:
            layout = replace(self.layouts[source.place], columns=self.columns)
            layout = understood(source, layout, self.reading, strict=self.needed is None)
            yield from parts_of(source, layout, label, contents)

    def _layout(self, source: Source) -> Layout:
        return layout(source.name, head_of(source), self.ignore_columns, self.needed, self.wanted, self.labelled)

    def _require_same(self, columns: tuple[Column, ...]) -> None:
        """Refuse a feature that some files have and others lack.

        Raises:
            SchemaError: with the feature and the files.
        """
        for place, read in self.layouts.items():
            more = [column.name for column in read.columns if column not in columns]
            if more:
                lacking = next(name for name, other in self.layouts.items() if more[0] not in {*_names(other)})
                raise SchemaError(
                    f"{place}: has {more[0]!r}, which {lacking} lacks; read them apart, or set "
                    "ingest.cicids2017.columns to present to read what they have in common"
                )


def _names(read: Layout) -> tuple[str, ...]:
    return tuple(column.name for column in read.columns)
