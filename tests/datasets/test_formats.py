"""Files that other tools wrote: each is read as its owner expects, or says in one sentence why it is not.

``test_made_formats`` makes files of these kinds, so that it runs where the files of other tools are absent.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline.base.errors import SchemaError
from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.incoming import incoming
from pipeline.datasets.rows import BLANK, REPEATED
from pipeline.datasets.schema import FEATURE_NAMES, FEATURES, Column
from pipeline.datasets.table import Table
from pipeline.preprocessing.features import Features
from tests.settings import recipe_with

CASES = Path(__file__).parents[3] / "shared" / "cases" / "formats"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"the files of other tools are absent: {CASES}")


def read(case, reader=CICIDS2017, **given):
    dataset = reader(CASES / case, **given)
    chunks = list(dataset.read())
    tables = (pa.concat_tables([getattr(chunk, kind) for chunk in chunks]) for kind in ("records", "rejected"))
    return dataset, *tables


def family(dataset):
    [layout] = dataset.layouts.values()
    return layout.family


# The first record of every file, by the plain header of 2017.
FIRST = {
    "destination_port": 80,
    "flow_duration": 5921745,
    "total_fwd_packets": 10,
    "total_bwd_packets": 9,
    "total_length_fwd_packets": 1033,
    "total_length_bwd_packets": 6046,
    "flow_bytes_per_s": 1195.4246594542656,
    "fwd_header_length": 332,
    "packet_length_variance": 285877.8394736842,
    "init_win_bytes_fwd": 65535,
    "init_win_bytes_bwd": 622,
    "fwd_data_packets": 3,
    "fwd_segment_size_min": 32,
    "packet_size_mean": 372.57894736842104,
}


@pytest.mark.parametrize(
    ("case", "name", "records"),
    [
        ("d01_cse2018_names", "cicflowmeter_v4", 59),
        ("d02_header_repeated", "cicflowmeter_2017", 200),
        ("d05_v4_ampm", "cicflowmeter_corrected", 59),
        ("d21_semicolon", "cicflowmeter_2017", 59),
        ("d25_utf16", "cicflowmeter_2017", 200),
        ("d28_all_quoted", "cicflowmeter_2017", 59),
        ("d31_trailing_comma_rows_only", "cicflowmeter_2017", 59),
        ("d33_lower_case_header", "cicflowmeter_2017", 59),
        ("d44_parquet", "cicflowmeter_2017", 200),
    ],
)
def test_the_same_columns_under_other_names_and_in_other_dialects(case, name, records):
    dataset, found, rejected = read(case)
    assert family(dataset) == name
    assert dataset.columns == FEATURES
    assert found.num_rows == records
    assert not {*rejected["reason"].to_pylist()} - {BLANK, REPEATED}
    assert {key: found[key][0].as_py() for key in FIRST} == FIRST


def test_python_cicflowmeter_has_no_labels_and_all_columns():
    path = next((CASES / "d04_python_cicflowmeter").iterdir())
    dataset = incoming(path, "cicids2017", FEATURES)
    records = pa.concat_tables([chunk.records for chunk in dataset.read()])
    assert family(dataset) == "python_cicflowmeter"
    assert {key: records[key][0].as_py() for key in FIRST} == FIRST
    assert (records["src_ip"][0].as_py(), records["src_port"][0].as_py()) == ("10.1.2.3", 56948)
    assert (records["dst_ip"][0].as_py(), records["dst_port"][0].as_py()) == ("10.1.2.9", 80)


def test_headers_inside_are_passed_over_and_counted():
    _, records, rejected = read("d02_header_repeated")
    assert records.num_rows == 200
    assert rejected["reason"].to_pylist().count(REPEATED) == 3


def test_ddos2019_has_row_numbers_and_two_columns_of_its_own():
    dataset, records, rejected = read("d20_ddos2019", unknown_labels="keep")
    [layout] = dataset.layouts.values()
    assert (layout.family, layout.index) == ("cicddos_2019", ("Unnamed: 0",))
    assert not {"SimillarHTTP", "Inbound"} & {*layout.names}
    assert (records.num_rows, rejected.num_rows) == (59, 0)
    assert records["fwd_header_length"][0].as_py() == -332
    assert records["fwd_header_length_repeated"][0].as_py() == 332


def test_errors_of_spreadsheets_are_missing_values():
    _, records, rejected = read("d41_spelt_nulls")
    assert (records.num_rows, rejected.num_rows) == (59, 0)
    assert np.isnan(records["flow_bytes_per_s"][0].as_py())
    infinite = [name for name in FEATURE_NAMES if np.isinf(records[name].to_numpy()).any()]
    assert len(infinite) == 1


def test_parquet_without_addresses_is_read_with_the_features_that_it_has():
    dataset, records, _ = read("d45_parquet_no_metadata")
    assert family(dataset) == "parquet_copies"
    lacking = {*FEATURE_NAMES} - {column.name for column in dataset.columns}
    assert lacking == {"destination_port", "fwd_bulk_bytes_mean"}
    assert records.num_rows == 200
    assert records["total_length_fwd_packets"][0].as_py() == 1033
    assert {*records["attack"].to_pylist()} == {"benign", "ddos"}
    with pytest.raises(SchemaError, match=r"'Destination Port' is missing.*set ingest\.cicids2017\.columns to present"):
        read("d45_parquet_no_metadata", columns="all")


def test_a_stated_separator_is_no_header():
    _, records, rejected = read("d52_sep_line")
    assert (records.num_rows, rejected.num_rows) == (58, 0)
    assert records["row"][0].as_py() == 1


def test_all_columns_of_text_are_named_at_once():
    with pytest.raises(SchemaError) as caught:
        read("t01_unsw_nb15", Table)
    message = str(caught.value)
    for name in ("proto", "service", "state", "attack_cat"):
        assert f"column {name!r} holds text, such as " in message
    assert "name these 4 columns in ingest.table.categorical" in message


def test_row_numbers_of_pandas_are_no_feature():
    dataset, records, _ = read("t28_pandas_index", Table)
    assert [column.name for column in dataset.columns] == [f"f{place}" for place in range(8)]
    assert records.num_rows == 3_000


NEEDED = (
    *(Column(f"f{place}") for place in range(6)),
    *(Column(name, categorical=True) for name in ("proto", "encrypted")),
)


def test_the_same_records_in_another_type_have_the_same_features():
    dataset, records, _ = read("words_by_type/train", Table, categorical=("proto", "encrypted"))
    columns = {column.name: _values(records, column) for column in dataset.columns}
    features = Features.fit(
        [columns], records.num_rows, recipe_with(drop=(), derive=(), rarity=(), categorical="one_hot")
    )
    found = {}
    for path in sorted((CASES / "words_by_type").glob("?_*")):
        tables = [chunk.records for chunk in incoming(path, "table", NEEDED).read()]
        given = {column.name: _values(pa.concat_tables(tables), column) for column in NEEDED}
        assert not any(features.unknown_words(given).values()), path.name
        found[path.name] = pd.DataFrame(features.map(given))
    first = found.pop("1_same_types.csv")
    assert len(found) == 4
    for name, other in found.items():
        pd.testing.assert_frame_equal(other, first, obj=name)


def _values(records, column):
    values = records[column.name]
    return np.array(values.to_pylist(), dtype=object) if column.categorical else values.to_numpy()
