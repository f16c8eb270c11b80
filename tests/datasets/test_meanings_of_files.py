"""Files of the kinds that people have: their labels, times and units mean what their owner expects."""

import csv
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.incoming import incoming
from pipeline.datasets.schema import FEATURES

CASES = Path(__file__).parents[3] / "shared" / "cases" / "formats"
needs_cases = pytest.mark.skipif(not CASES.is_dir(), reason="the files of ../shared/cases/formats are not there")
NEEDED = tuple(column for column in FEATURES if column.name != "destination_port")


def case(name: str) -> Path:
    """The one file of a case."""
    (path,) = (CASES / name).iterdir()
    return path


def trained(path: Path, **settings) -> pa.Table:
    """The records as ingest reads them."""
    return pa.concat_tables([chunk.records for chunk in CICIDS2017(path, **settings).read()]).unify_dictionaries()


def scored(path: Path) -> pa.Table:
    """The records as scoring reads them."""
    chunks = incoming(path, "cicids2017", NEEDED).read()
    return pa.concat_tables([chunk.records for chunk in chunks]).unify_dictionaries()


def labels(records: pa.Table) -> tuple[dict, dict]:
    return Counter(records["attack"].to_pylist()), Counter(records["y"].to_pylist())


BOTH = pytest.mark.parametrize("read", [trained, scored])


@needs_cases
@BOTH
@pytest.mark.parametrize("name", ["d36_binary_label", "d53_label_spelt"])
def test_words_for_benign_mean_benign(read, name):
    assert labels(read(case(name))) == ({"benign": 59}, {0: 59})


@needs_cases
@BOTH
def test_a_label_that_says_nothing_yet_is_no_attack(read):
    assert labels(read(case("d19_need_manual_label"))) == ({"unlabelled": 59}, {None: 59})


@needs_cases
@BOTH
def test_a_label_of_nan_is_no_attack(read):
    path = case("d37_nan_label")
    with path.open() as file:
        written = Counter(row[-1].strip() for row in csv.reader(file))
    found, y = labels(read(path))
    assert found == {"unlabelled": written["NaN"], "benign": written["BENIGN"]}
    assert y == {None: written["NaN"], 0: written["BENIGN"]}
