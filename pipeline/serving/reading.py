"""The records of a file that came in, as a model reads and decides on them; what is wrong with a file says so."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.base.errors import DataError, SchemaError, SourceError
from pipeline.calibration.prediction import Prediction
from pipeline.datasets import sources
from pipeline.datasets.base import Chunk, Dataset
from pipeline.datasets.incoming import incoming
from pipeline.preprocessing.context.past import backwards, late_sentence
from pipeline.preprocessing.context.talks import Talks, can_have, talks_of
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


def contexts(file: Incoming, bundle: Bundle) -> tuple[NDArray[np.float32] | None, str]:
    """(n,) scores of the recent past of the hosts of all records of a file, in its order; None where there are none.

    With them comes what a person should know of their times, in words, or "".

    The past of a record is that of its file alone, in the order of time, so the file is read once for this. What other
    files said before is not remembered.

    Raises:
        SourceError: a library gave up on its bytes.
        SchemaError: two of its columns have one name.
    """
    past = bundle.looks_back
    if past is None:
        return None, ""
    talks, known = [Talks.none()], [np.zeros(0, bool)]
    for chunk in chunks(file, bundle):
        if not can_have(chunk.records.column_names):
            return None, ""
        part, timed = talks_of(chunk.records)
        talks.append(part)
        known.append(timed)
    whole, timely, allowed = Talks.joined(*talks), np.concatenate(known), past.windows[-1]
    late = backwards(whole.time, timely, allowed)
    return past.scores(past.context(whole, timely)), late_sentence(late, allowed) + "." if late else ""


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
