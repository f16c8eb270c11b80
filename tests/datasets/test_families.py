"""The families of names: each is data with a source, knows all features, and no name means two columns."""

import bz2
import tomllib

import pytest

from pipeline.base.errors import SchemaError, SourceError
from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.families import known
from pipeline.datasets.findings import Finding
from pipeline.datasets.header import layout
from pipeline.datasets.meaning import Notes
from pipeline.datasets.nslkdd import NSLKDD
from pipeline.datasets.schema import FEATURE_NAMES, FEATURES, Column
from pipeline.datasets.suffixes import PACKINGS
from pipeline.datasets.table import Table

FILES = sorted(known.FOLDER.glob("*.toml"))
METERS = [family for family in known.families() if family.name != "tables"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_file_states_its_source(path):
    about = tomllib.loads(path.read_text())
    assert {"title", "authors", "source", "year", "url", "columns"} <= {*about}
    assert about["url"].startswith("https://")


@pytest.mark.parametrize("family", METERS, ids=lambda family: family.name)
def test_a_family_knows_every_feature_that_its_files_have(family):
    lacking = {*FEATURE_NAMES} - {*family.headers.values()} - {"fwd_header_length_repeated"}
    assert lacking <= {*family.may_lack}


def test_a_name_means_one_column_in_all_families():
    meant: dict[str, set[str]] = {}
    for family in known.families():
        for header, name in family.headers.items():
            meant.setdefault(known.key(header), set()).add(name)
    assert not {text: names for text, names in meant.items() if len(names) > 1}


def test_the_headers_of_the_schema_are_those_of_the_two_releases():
    families = {family.name: family.headers for family in known.families()}
    for column in FEATURES:
        assert families["cicflowmeter_2017"][column.headers[0]] == column.name
        if column.name != "fwd_header_length_repeated":
            assert families["cicflowmeter_corrected"][column.headers[-1]] == column.name


def headers(family):
    """One header for each column that a family has, in the order of the file."""
    return [*dict.fromkeys({name: header for header, name in reversed(family.headers.items())}.values())]


@pytest.mark.parametrize(
    "change", [str, str.lower, str.upper, lambda text: f' "{text}" ', lambda text: text.replace(" ", "_")]
)
@pytest.mark.parametrize("family", METERS, ids=lambda family: family.name)
def test_a_header_is_known_in_any_form(family, change):
    names = headers(family)
    names += [*family.unused, *([] if "label" in family.headers.values() else ["Label"])]
    read = layout("a.csv", ",".join(map(change, names)).encode())
    assert {*FEATURE_NAMES} - {column.name for column in read.columns} <= {*family.may_lack}
    if change is str:
        assert read.family == family.name


def test_a_mixture_in_one_header_is_told():
    names = [column.headers[0].removesuffix(".1") for column in FEATURES]
    names[1], names[2] = "flow_duration", "tot_fwd_pkts"
    assert layout("a.csv", ",".join([*names, "Label"]).encode()).family == "cicflowmeter_2017 + python_cicflowmeter"


def test_the_reading_report_says_that_names_are_mixed():
    finding = Finding("a.csv")
    for family, said in (("cicflowmeter_2017", False), ("cicflowmeter_2017 + cicflowmeter_v4", True)):
        finding.add_notes(Notes("a.csv", family=family))
        assert any("mixes names of several families" in sentence for sentence in finding.sentences()) is said


@pytest.mark.parametrize("text", ["", " ", "#", "Unnamed: 0", "Unnamed: 0.1", "index", "level_0", "__index_level_0__"])
def test_row_numbers_are_known_by_their_names(text):
    assert known.is_index(text)


@pytest.mark.parametrize(
    "text", ["\u7aef\u53e3", "unnamed", "Index of refraction", "level", "id", "Level 1", "Level1", "index level 2"]
)
def test_other_names_are_no_row_numbers(text):
    assert not known.is_index(text)


def flows(path, names, cell="1", label="BENIGN"):
    path.write_text(",".join([*names, "Label"]) + "\n" + ",".join([cell] * len(names) + [label]) + "\n")


def test_files_of_several_families_may_lie_in_one_folder(tmp_path):
    old = [column.headers[0].removesuffix(".1") for column in FEATURES]
    new = headers(next(family for family in known.families() if family.name == "cicflowmeter_v4"))
    flows(tmp_path / "a.csv", old)
    flows(tmp_path / "b.csv", [name for name in new if name != "Label"], "2", "DDoS")
    records = [chunk.records for chunk in CICIDS2017(tmp_path).read()]
    assert [table["flow_duration"].to_pylist() for table in records] == [[1.0], [2.0]]


def test_what_files_lack_is_told_and_may_be_left_out_by_a_setting(tmp_path):
    names = [column.headers[0].removesuffix(".1") for column in FEATURES]
    flows(tmp_path / "a.csv", names)
    flows(tmp_path / "b.csv", names[:-1], "2")
    with pytest.raises(SchemaError, match=r"b.csv: column 'Idle Min' is missing; .*columns to present"):
        _ = CICIDS2017(tmp_path).columns
    present = CICIDS2017(tmp_path, columns="present")
    assert [column.name for column in present.columns] == [*FEATURE_NAMES[:-1]]
    assert all("idle_min" not in chunk.records.column_names for chunk in present.read())


def test_a_misspelt_column_is_an_error_whatever_may_be_missing(tmp_path):
    names = [column.headers[0].removesuffix(".1") for column in FEATURES]
    flows(tmp_path / "a.csv", ["Flow Durashun" if name == "Flow Duration" else name for name in names])
    with pytest.raises(
        SchemaError, match=r"'Flow Durashun' \(number 2\) is unknown \(did you mean 'Flow Duration'\?\)"
    ):
        _ = CICIDS2017(tmp_path, columns="present").columns


TABLE = "Source IP,src_port,dst_ip,dport,Timestamp,protocol,size,label\n10.0.0.1,5,10.0.0.2,80,2020-01-01,6,3,0\n"


def test_endpoints_of_a_table_are_no_features(tmp_path):
    (tmp_path / "t.csv").write_text(TABLE + TABLE.splitlines()[1].removesuffix("0") + "1\n")
    table = Table(tmp_path / "t.csv")
    [chunk] = table.read()
    assert [column.name for column in table.columns] == ["protocol_column", "size"]
    record = chunk.records.to_pylist()[0]
    assert (record["src_ip"], record["src_port"]) == ("10.0.0.1", 5)
    assert (record["dst_ip"], record["dst_port"]) == ("10.0.0.2", 80)
    assert record["timestamp"].year == 2020


def test_endpoints_are_features_where_they_are_asked_for(tmp_path):
    (tmp_path / "t.csv").write_text(TABLE)
    names = [column.name for column in Table(tmp_path / "t.csv", categorical=("dport",)).columns]
    assert names == ["dport", "protocol_column", "size"]
    needed = (Column("src_port_column"), Column("size"))
    [chunk] = Table(tmp_path / "t.csv", needed=needed).read()
    assert chunk.records["src_port_column"].to_pylist() == [5]  # of a model that learnt from it


@pytest.mark.parametrize("numbers", ["", "Unnamed: 0", "index", "id"])
def test_row_numbers_of_a_table_are_set_aside(tmp_path, numbers):
    rows = "".join(f"{place},{place % 7},{place % 2}\n" for place in range(40, 60))
    (tmp_path / "t.csv").write_text(f"{numbers},size,label\n{rows}")
    assert [column.name for column in Table(tmp_path / "t.csv").columns] == ["size"]


def test_an_id_that_numbers_no_rows_is_a_feature(tmp_path):
    (tmp_path / "t.csv").write_text("id,size,label\n5,1,0\n3,2,1\n5,3,0\n")
    assert [column.name for column in Table(tmp_path / "t.csv").columns] == ["id", "size"]


def test_connections_may_be_packed_in_any_way(tmp_path):
    row = ",".join(["0", "tcp", "http", "SF", *["1"] * 37, "normal", "21"]) + "\n"
    (tmp_path / "KDDTrain+.txt.bz2").write_bytes(bz2.compress(row.encode()))
    [chunk] = NSLKDD(tmp_path).read()
    assert chunk.records["source_file"].to_pylist() == ["KDDTrain+.txt"]
    assert ".zst" in PACKINGS
    (tmp_path / "KDDTrain+.txt.bz2").unlink()
    with pytest.raises(SourceError, match=r"holds no \.txt, \.csv, \.zip file"):
        list(NSLKDD(tmp_path).read())
