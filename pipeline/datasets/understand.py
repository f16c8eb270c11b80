"""Finds what the cells of a file mean, before its records are read: from its first rows, or from a whole column."""

from collections.abc import Callable, Iterator

import pyarrow as pa

from pipeline.base.errors import DataError
from pipeline.datasets import times
from pipeline.datasets.extractors import extractor_of
from pipeline.datasets.header import Layout
from pipeline.datasets.meaning import Meaning
from pipeline.datasets.reading import Reading
from pipeline.datasets.times import Evidence, TimeFormat
from pipeline.datasets.units import units_of

Texts = Callable[[], Iterator[pa.Array]]


def meaning(
    source: str, layout: Layout, sample: pa.Table | None, texts: Texts, reading: Reading, strict: bool = True
) -> Meaning:
    """What the cells of a file mean.

    Args:
        source: name of the file.
        layout: its columns.
        sample: its first records, under canonical names; None where they are no flows.
        texts: gives the column of its timestamps from the beginning, some cells at a time; as much is read of it as the
            format needs.
        reading: what the user says.
        strict: whether times that contradict each other are an error; otherwise none of them is read.

    Raises:
        DataError: times contradict each other.
    """
    found = _times(texts, reading) if "timestamp" in layout.names else None
    if strict and found is not None and found.order == "contradictory":
        raise DataError(f"{source}: column {layout.title('timestamp')!r}: {' '.join(found.doubts())}")
    if sample is None:
        return Meaning(found)
    return Meaning(found, units_of(sample), extractor_of(layout.header, sample))


def _times(texts: Texts, reading: Reading) -> TimeFormat:
    explicit = times.of_settings(reading)
    if explicit is not None:
        return explicit
    evidence = Evidence()
    for some in texts():
        evidence.add(some)
        if evidence.settled:
            break
    return evidence.format(reading.zone)
