"""The records of a file that came in, as a model reads and decides on them; what is wrong with a file says so."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.base.errors import DataError, SchemaError, SourceError
from pipeline.calibration.prediction import Prediction
from pipeline.datasets import sources
from pipeline.datasets.base import Chunk, Dataset
from pipeline.datasets.incoming import incoming
from pipeline.preprocessing.context.past import Matrix
from pipeline.preprocessing.context.talks import Talks, can_have, talks_of, unknown
from pipeline.serving.arrivals import Incoming
from pipeline.serving.bundle import Bundle


def _reader(file: Incoming, bundle: Bundle) -> Dataset:
    """What reads a file in the format of the data set that the model was trained on, or as Parquet."""
    dataset = bundle.dataset.split(" ")[0]
    return incoming(file.path, dataset, bundle.columns, bundle.extraction, bundle.reading, labels=bundle.label_settings)


def chunks(file: Incoming, bundle: Bundle) -> Iterator[Chunk]:
    """What can be read of a file.

    Raises:
        SourceError: a library gave up on its bytes.
        SchemaError: two of its columns have one name.
    """
    try:
        for chunk in _reader(file, bundle).read():
            twice = [name for name, count in Counter(chunk.records.column_names).items() if count > 1]
            if twice:
                raise SchemaError(f"{file.path}: two columns are called {twice[0]!r}; rename one")
            yield chunk
    except MemoryError:
        raise
    except sources.BROKEN as error:
        told = f"{type(error).__name__}: {error}"
        raise SourceError(f"{file.path}: cannot be read ({told}); fetch the file again") from error


@dataclass(frozen=True)
class FilePast:
    """The recent past of the hosts of n records of a file.

    Attributes:
        x: (n, F) the context of each record, NaN where it has none.
        score: (n,) what the model makes of it, NaN where there is none.
    """

    x: Matrix
    score: NDArray[np.float32]

    def slice(self, start: int, n: int) -> "FilePast":
        """That of n records from ``start`` on."""
        return FilePast(self.x[start : start + n], self.score[start : start + n])


def contexts(file: Incoming, bundle: Bundle) -> FilePast | None:
    """The recent past of the hosts of all records of a file, in its order; None where the model reads none.

    The past of a record is that of its file alone, in the order of time, so the file is read once for this. Records
    without a time or an address have none, whatever other parts of the file have. What other files said before is not
    remembered.

    Raises:
        SourceError: a library gave up on its bytes.
        SchemaError: two of its columns have one name.
    """
    past = bundle.looks_back
    if past is None:
        return None
    talks, known = [Talks.none()], [np.zeros(0, bool)]
    for chunk in chunks(file, bundle):
        records = chunk.records
        part, timed = talks_of(records) if can_have(records.column_names) else unknown(records.num_rows)
        talks.append(part)
        known.append(timed)
    x = past.context(Talks.joined(*talks), np.concatenate(known))
    return FilePast(x, past.scores(x))


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
