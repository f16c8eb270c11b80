"""Raw records of any type as the features read them."""

import numpy as np
import pyarrow as pa
import pytest

from pipeline.base.errors import DataError
from pipeline.datasets.schema import Column
from pipeline.serving import record_columns

COLUMNS = (Column("size"), Column("proto", categorical=True))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([6, 17], ["6", "17"]),
        (np.array([6.0, np.nan]), ["6", ""]),
        ([True, False], ["true", "false"]),
        (["tcp", None], ["tcp", ""]),
        (pa.array(["tcp", "udp"]).dictionary_encode(), ["tcp", "udp"]),
        (pa.chunked_array([[6], [None]]), ["6", ""]),
    ],
)
def test_a_column_of_words_takes_numbers_and_truths(values, words):
    table = record_columns.table(COLUMNS, {"size": [1, 2], "proto": values})
    found = dict(record_columns.arrays(COLUMNS, table))
    assert found["proto"].tolist() == words
    assert found["size"].tolist() == [1.0, 2.0]


def test_a_column_of_numbers_takes_no_words():
    with pytest.raises(DataError, match="column 'size' holds string, allowed are numbers"):
        record_columns.table(COLUMNS, {"size": ["a", "b"], "proto": ["tcp", "udp"]})
    with pytest.raises(DataError, match="column 'proto' holds double, allowed are words"):
        record_columns.arrow(COLUMNS[1], np.array([1.0]), text_only=True)


@pytest.mark.parametrize("values", [[2**70, 1], np.array([2**70, 1.5], dtype=object), [[1], 2]])
def test_what_no_column_can_hold_is_refused(values):
    given = np.array(values, dtype=object)
    with pytest.raises(DataError, match="column 'size' holds values of several kinds, or a number beyond 64 bits"):
        record_columns.converted("size", given)
