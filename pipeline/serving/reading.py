"""The records of a file that came in, as a model reads and decides on them; what is wrong with a file says so."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.base.engine import mapped
from pipeline.base.errors import DataError, SchemaError, SourceError
from pipeline.calibration.prediction import Prediction
from pipeline.datasets.apart.reader import Apart, Asked
from pipeline.datasets.base import Chunk, Part, given
from pipeline.datasets.unpacking import BROKEN
from pipeline.preprocessing.context.past import Matrix, backwards, late_sentence
from pipeline.preprocessing.context.talks import READS, Mask, Talks, can_have, talks_of, unknown
from pipeline.serving.arrivals import Incoming
from pipeline.serving.bundle import Bundle
from pipeline.serving.carried_past import Before, before

EARLIEST, LATEST = (pa.scalar(each, pa.timestamp("us")) for each in (datetime.min, datetime.max))


_APART: list[Apart] = []  # the process that reads, if there is one; the last one is asked


@contextmanager
def by(apart: Apart) -> Iterator[None]:
    """Let a process of its own read files."""
    _APART.append(apart)
    try:
        yield
    finally:
        _APART.remove(apart)


def _parts(file: Incoming, bundle: Bundle) -> Iterator[Part]:
    """What reads each chunk of a file in the format of the data set that the model was trained on, or as Parquet.

    Where a process of its own reads, the chunks are read already.
    """
    dataset = bundle.dataset.split(" ")[0]
    also = READS if bundle.looks_back else ()
    asked = Asked(file.path, dataset, bundle.columns, bundle.extraction, bundle.reading, bundle.label_settings, also)
    return (partial(given, chunk) for chunk in _APART[-1].read(asked)) if _APART else asked.partitions()


def parts(file: Incoming, bundle: Bundle) -> Iterator[Part]:
    """What reads each chunk of a file.

    Raises:
        SourceError: a library gave up on its bytes.
        SchemaError: it lacks a column.
    """
    with _refused(file):
        yield from _parts(file, bundle)


def chunks(file: Incoming, bundle: Bundle) -> Iterator[Chunk]:
    """What can be read of a file; raises what ``parts`` and ``chunk_of`` do."""
    return mapped(partial(chunk_of, file), parts(file, bundle))


def chunk_of(file: Incoming, part: Part) -> Chunk:
    """What a part of a file holds.

    Raises:
        SourceError: a library gave up on its bytes.
        SchemaError: two of its columns have one name.
    """
    with _refused(file):
        chunk = part()
    twice = [name for name, count in Counter(chunk.records.column_names).items() if count > 1]
    if twice:
        raise SchemaError(f"{file.path}: two columns are called {twice[0]!r}; rename one")
    return _dated(chunk)


@contextmanager
def _refused(file: Incoming) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except BROKEN as error:
        told = f"{type(error).__name__}: {error}"
        raise SourceError(f"{file.path}: cannot be read ({told}); fetch the file again") from error


def _dated(chunk: Chunk) -> Chunk:
    """With no time where a time lies outside the years 1 to 9999: what reads alerts has no date for it."""
    records = chunk.records
    if "timestamp" not in records.column_names:
        return chunk
    time = records.column("timestamp")
    good = pc.and_(pc.greater_equal(time, EARLIEST), pc.less_equal(time, LATEST))
    place = records.column_names.index("timestamp")
    return replace(chunk, records=records.set_column(place, "timestamp", pc.if_else(good, time, None)))


@dataclass(frozen=True)
class FilePast:
    """The recent past of the hosts of n records of a file.

    Attributes:
        x: (n, F) the context of each record, NaN where it has none.
        score: (n,) what the model makes of it, NaN where there is none.
        talks: what contexts are made of, of the records that have one.
        after: the end of the file before, which counts as past.
        said: what a person should know of the times, in words, or "".
        sizes: how many records each part of the file has.
    """

    x: Matrix
    score: NDArray[np.float32]
    talks: Talks
    after: Before
    said: str
    sizes: tuple[int, ...]


def contexts(file: Incoming, bundle: Bundle, key: str = "", after: Before | None = None) -> FilePast | None:
    """The recent past of the hosts of all records of a file, in its order; None where the model reads none.

    The past of a record is that of its file, in the order of time, so the file is read once for this; and the end of
    the file before, where this one goes on from it. Records without a time or an address have none, whatever other
    parts of the file have.

    Args:
        file: what to read.
        bundle: the model.
        key: of the file, if it was or will be scored; it then goes on from the same file each time.
        after: what it goes on from, where that is known already.

    Raises:
        SourceError: a library gave up on its bytes.
        SchemaError: two of its columns have one name, or one that contexts are made of holds no numbers.
    """
    past = bundle.looks_back
    if past is None:
        return None
    talks, known, sizes = _talks(file, bundle)
    own = talks.take(known)
    if after is None:
        after = before(key, bundle, int(own.time.min())) if len(own) else Before.nothing()
    old = len(after.talks)
    x = past.context(Talks.joined(after.talks, talks), np.concatenate([np.ones(old, bool), known]), since=old)
    late = backwards(talks.time, known, past.windows[-1])
    said = late_sentence(late, past.windows[-1]) + "." if late else ""
    return FilePast(x, past.scores(x), own, after, said, sizes)


def _talks(file: Incoming, bundle: Bundle) -> tuple[Talks, Mask, tuple[int, ...]]:
    """All records of a file as contexts need them, (n,) which have a time and addresses, and the sizes of parts."""
    found = [(Talks.none(), np.zeros(0, bool)), *mapped(partial(_talks_of, file), parts(file, bundle))]
    known = [timed for _, timed in found]
    return Talks.joined(*(part for part, _ in found)), np.concatenate(known), tuple(map(len, known[1:]))


def _talks_of(file: Incoming, part: Part) -> tuple[Talks, Mask]:
    records = chunk_of(file, part).records
    try:
        return talks_of(records) if can_have(records.column_names) else unknown(records.num_rows)
    except SchemaError as error:
        raise SchemaError(f"{file.path}: {error}") from error


def predict(
    file: Incoming, bundle: Bundle, records: pa.Table, context: NDArray[np.float32] | None = None
) -> Prediction:
    """What the model says of n records of a file; ``context`` has the (n,) scores of their recent past.

    Raises:
        SchemaError: the model refuses the records, though it judges a typical one.
        DataError: it refuses that one too.
    """
    try:
        return bundle.predict(records, context)
    except DataError as error:
        bundle.predict({name: np.array([value]) for name, value in bundle.sealed.about["example"].items()})
        raise SchemaError(f"{file.path}: {error}") from error
