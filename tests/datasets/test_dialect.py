"""The same records in any dialect, packing or type give the same records; what cannot be read is named."""

import bz2
import gzip
import lzma
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.base.errors import SchemaError, SourceError
from pipeline.datasets.cicids2017 import CICIDS2017
from pipeline.datasets.dialect import head_of
from pipeline.datasets.rows import BLANK, COMMENTED, REPEATED
from pipeline.datasets.schema import FEATURE_NAMES, FEATURES
from pipeline.datasets.table import Table

NAMES = [column.headers[0].removesuffix(".1") for column in FEATURES] + ["Label"]


def cells(seed=0, rows=12):
    """Rows of cells: whole numbers, fractions, negative ones, infinities, empty cells and labels."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(-1, 10**6, (rows, len(FEATURES))).astype(str).astype(object)
    for place, text in enumerate(("0.5", "-2.25", "1e3", "Infinity", "NaN", "", "3.0")):
        numbers[place % rows, 8 + place] = text
    return [[*row, ["BENIGN", "DDoS", "Bot"][at % 3]] for at, row in enumerate(numbers)]


def text(rows, separator=",", names=NAMES):
    return "".join(separator.join(row) + "\n" for row in [names, *rows])


def read(path, reader=CICIDS2017, **given):
    chunks = list(reader(path, **given).read())
    return tuple(pa.concat_tables([getattr(chunk, kind) for chunk in chunks]) for kind in ("records", "rejected"))


def same(one, other):
    return repr(one.to_pylist()) == repr(other.to_pylist())  # NaN too


@pytest.fixture
def plain(tmp_path):
    (tmp_path / "plain").mkdir()
    path = tmp_path / "plain" / "flows.csv"
    path.write_text(text(cells()))
    return read(path)[0]


def quoted(rows, separator=","):
    return "".join(separator.join(f'"{cell}"' for cell in row) + "\n" for row in [NAMES, *rows])


def decimal(rows):
    return text([[cell.replace(".", ",") for cell in row] for row in rows], ";")


DIALECTS = {
    "semicolons": lambda rows: text(rows, ";").encode(),
    "tabs": lambda rows: text(rows, "\t").encode(),
    "pipes": lambda rows: text(rows, "|").encode(),
    "decimal commas": lambda rows: decimal(rows).encode(),
    "decimal commas in quotes": lambda rows: quoted([[c.replace(".", ",") for c in row] for row in rows]).encode(),
    "mark": lambda rows: b"\xef\xbb\xbf" + text(rows).encode(),
    "utf-16": lambda rows: text(rows).encode("utf-16"),
    "utf-16 without a mark": lambda rows: text(rows).encode("utf-16-le"),
    "utf-16, big end first": lambda rows: text(rows).encode("utf-16-be"),
    "utf-32": lambda rows: text(rows, ";").encode("utf-32"),
    "quoted": lambda rows: quoted(rows).encode(),
    "quoted, padded": lambda rows: quoted([[f" {cell}" if cell else cell for cell in row] for row in rows]).encode(),
    "single quotes": lambda rows: quoted(rows).replace('"', "'").encode(),
    "padded": lambda rows: text([[f" {cell} " if cell else cell for cell in row] for row in rows]).encode(),
    "windows": lambda rows: text(rows).replace("\n", "\r\n").encode(),
    "old macs": lambda rows: text(rows).replace("\n", "\r").encode(),
    "stated": lambda rows: ("sep=;\n" + text(rows, ";")).encode(),
    "stated odd": lambda rows: ("\ufeffsep=^\r\n" + text(rows, "^")).encode(),
    "comments above": lambda rows: ("# by a tool, of 2023\n#\n\n" + text(rows)).encode(),
    "header in a comment": lambda rows: ("# made today\n# " + text(rows)).encode(),
    "rows end with a separator": lambda rows: text([[*row, ""] for row in rows]).encode(),
    "all lines end with separators": lambda rows: text(
        [[*row, "", ""] for row in rows], names=[*NAMES, "", ""]
    ).encode(),
    "header ends with a separator": lambda rows: text(rows, names=[*NAMES, ""]).encode(),
    "some rows end with separators": lambda rows: text(
        [[*row, *[""] * (place % 3 == 2)] for place, row in enumerate(rows)]
    ).encode(),
    "row numbers": lambda rows: text([[str(at), *row] for at, row in enumerate(rows)], names=["", *NAMES]).encode(),
    "row numbers of pandas": lambda rows: text(
        [[str(at), *row] for at, row in enumerate(rows)], names=["Unnamed: 0", *NAMES]
    ).encode(),
    "row names of R": lambda rows: text([[str(at), *row] for at, row in enumerate(rows)]).encode(),
    "upper case": lambda rows: text(rows, names=[name.upper() for name in NAMES]).encode(),
    "snake case": lambda rows: text(rows, names=[name.lower().replace(" ", "_") for name in NAMES]).encode(),
    "dots of R": lambda rows: text(rows, names=[name.replace(" ", ".").replace("/", ".") for name in NAMES]).encode(),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dialect_changes_no_record(tmp_path, plain, dialect):
    path = tmp_path / "flows.csv"
    path.write_bytes(DIALECTS[dialect](cells()))
    records, rejected = read(path)
    assert rejected.num_rows == 0
    assert same(records, plain)


@settings(max_examples=15)
@given(
    seed=st.integers(0, 99),
    separator=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be"]),
    end=st.sampled_from(["\n", "\r\n"]),
    bad=st.sets(st.integers(0, 11), max_size=3),
)
def test_records_rejects_and_ids_are_those_of_the_plain_file(tmp_path_factory, seed, separator, encoding, end, bad):
    folder = tmp_path_factory.mktemp("dialect")
    rows = cells(seed)
    for place in bad:
        rows[place] = rows[place][:-3] if place % 2 else ["x", *rows[place][1:]]
    found = []
    for name, content in (
        ("plain", text(rows).encode()),
        ("other", text(rows, separator).replace("\n", end).encode(encoding)),
    ):
        (folder / name).mkdir()
        (folder / name / "flows.csv").write_bytes(content)
        found.append(read(folder / name / "flows.csv"))
    (records, rejected), (again, rejected_again) = found
    assert same(records, again)
    for name in ("row", "column", "reason"):
        assert rejected[name].to_pylist() == rejected_again[name].to_pylist()


@pytest.mark.parametrize(
    ("packing", "pack"),
    [
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
        (".zst", lambda content: pa.compress(content, codec="zstd", asbytes=True)),
        (".GZ", gzip.compress),
    ],
)
def test_a_packing_changes_no_record(tmp_path, plain, packing, pack):
    path = tmp_path / f"flows.csv{packing}"
    path.write_bytes(pack(text(cells()).encode()))
    assert same(read(path)[0], plain)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(path, f"inside/{path.name}")
    assert same(read(tmp_path / "all.zip")[0], plain)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(SourceError, match=r"flows\.csv: cannot be read beyond byte"):
        read(path)


def typed():
    frame = pd.DataFrame(cells(), columns=[*(column.headers[0] for column in FEATURES), "Label"])
    return frame.apply(lambda column: column if column.name == "Label" else pd.to_numeric(column, errors="coerce"))


@pytest.mark.parametrize("suffix", [".parquet", ".pq", ".arrow", ".feather", ".ipc", ".jsonl", ".ndjson", ".jsonl.gz"])
def test_a_type_of_file_changes_no_value(tmp_path, plain, suffix):
    path = tmp_path / f"flows{suffix}"
    frame = typed()
    if suffix in {".parquet", ".pq"}:
        frame.set_index(frame.index + 7).to_parquet(path)
    elif suffix == ".arrow":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, pa.Schema.from_pandas(frame)) as stream:
            stream.write_table(pa.Table.from_pandas(frame), max_chunksize=5)
    elif suffix in {".feather", ".ipc"}:
        feather.write_feather(frame, str(path))
    else:
        lines = frame.replace({np.inf: "Infinity"}).to_json(orient="records", lines=True)
        path.write_bytes(gzip.compress(lines.encode()) if suffix.endswith(".gz") else lines.encode())
    records, rejected = read(path)
    assert rejected.num_rows == 0
    names = ["row", "attack", *FEATURE_NAMES]
    assert same(records.select(names), plain.select(names))


def test_broken_lines_of_json_are_rejected_alone(tmp_path):
    lines = typed().replace({np.inf: None}).to_json(orient="records", lines=True).splitlines()
    path = tmp_path / "flows.jsonl"
    path.write_text("\n".join([*lines[:2], "{broken", "", *lines[2:]]) + "\n")
    records, rejected = read(path)
    assert [(row["row"], row["reason"]) for row in rejected.to_pylist()] == [(3, "is no JSON object"), (4, BLANK)]
    assert records["row"].to_pylist() == [1, 2, *range(5, len(lines) + 3)]


def test_lines_that_hold_no_record_are_told_apart(tmp_path):
    rows = [",".join(row) for row in cells()]
    header = ",".join(NAMES)
    path = tmp_path / "flows.csv"
    lines = [
        header,
        rows[0],
        header,
        rows[1],
        "# half time",
        "",
        "," * 79,
        "\ufeff" + header + " ",
        rows[2],
        "\0\0\0\x1a",
    ]
    path.write_text("\n".join(lines) + "\n")
    records, rejected = read(path)
    assert records["row"].to_pylist() == [1, 3, 8]
    found = {row["row"]: row["reason"] for row in rejected.to_pylist()}
    assert found == {2: REPEATED, 4: COMMENTED, 5: BLANK, 6: BLANK, 7: REPEATED, 9: BLANK}


SPELT = {
    **dict.fromkeys(("#DIV/0!", "#N/A", "NULL", "N/A", "-", "(null)", "None", "null", " NA ", "<NA>"), np.nan),
    **dict.fromkeys(("-1.#IND", "1.#QNAN", "1.#QNAN0", "-1.#IND00"), np.nan),
    **dict.fromkeys(("1.#INF", "1.#INF00", "inf", "+Infinity", "INF", "\u221e"), np.inf),
    "-1.#INF": -np.inf,
    "0x1F": 31.0,
}


@pytest.mark.parametrize("spelt", SPELT)
@pytest.mark.parametrize("beside", ["", "0x10"])  # a cell that sends the whole block through the slow reader
def test_missing_and_infinite_numbers_are_known_however_they_are_spelt(tmp_path, spelt, beside):
    rows = cells()
    rows[3][1], rows[5][2] = spelt, beside or rows[5][2]
    path = tmp_path / "flows.csv"
    path.write_text(text(rows))
    records, rejected = read(path)
    assert rejected.num_rows == 0
    np.testing.assert_equal(records["flow_duration"][3].as_py(), SPELT[spelt])


def test_a_dash_in_a_column_of_words_is_a_word(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("size,service,label\n1,-,0\n#N/A,http,1\n-,?,0\n3,-,1\n")
    records, _ = read(path, Table, categorical=("service",))
    np.testing.assert_array_equal(records["size"].to_numpy(), [1, np.nan, np.nan, 3])
    assert records["service"].to_pylist() == ["-", "http", "", "-"]


def test_words_in_cp1252_and_utf8_may_stand_in_one_file(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(
        "size,town,label\n1,Z\u00fcrich,0\n".encode() + "2,Z\u00fcrich,1\n3,\u0141\u00f3d\u017a,0\n".encode("cp1250")
    )
    records, _ = read(path, Table, categorical=("town",))
    assert records["town"].to_pylist()[:2] == ["Z\u00fcrich", "Z\u00fcrich"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"a;b;c\n1;2;3\n", "separated by ';', utf-8"),
        (b"a\tb\n1,5\t2\n", "separated by tabs, with decimal commas, utf-8"),
        (b'"a","b"\n"1","2"\n', 'separated by commas, quoted by ", utf-8'),
        ("a,b\n\u00e9,2\n".encode("cp1252"), "separated by commas, cp1252"),
        (b"a,b\n", "separated by commas, utf-8"),
    ],
)
def test_the_dialect_is_said(line, said):
    assert str(head_of(line).dialect) == said


KINDS = {
    "a zip archive": b"PK\x03\x04\0\0",
    "packed by gzip": gzip.compress(b"a,b\n"),
    "a Parquet file": b"PAR1\0\0\0",
    "a web page": b"\n<!DOCTYPE html>\n<html>",
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "a capture of packets": b"\xd4\xc3\xb2\xa1\x02\0\x04\0",
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_table_is_named(tmp_path, kind):
    path = tmp_path / "flows.csv"
    path.write_bytes(KINDS[kind])
    with pytest.raises(SourceError, match=f"flows.csv: is no text, but {kind}"):
        read(path)


def test_damaged_utf16_is_named(tmp_path):
    path = tmp_path / "flows.csv"
    path.write_bytes(text(cells()).encode("utf-16") + b"\x00\xd8")
    with pytest.raises(SourceError, match="its text is damaged"):
        read(path)


def test_a_file_without_a_header_is_named(tmp_path):
    path = tmp_path / "flows.csv"
    rows = [["0", "0", *row[2:]] for row in cells()]
    path.write_text(text(rows).partition("\n")[2])
    for reader in (CICIDS2017, Table):
        with pytest.raises(SchemaError, match=r"flows\.csv: has no header, its first line holds values"):
            read(path, reader)
    path.write_text("0,1,2,label\n5,5,5,0\n6,6,6,1\n")  # as pandas numbers columns
    assert len(Table(path).columns) == 3


@pytest.mark.parametrize("name", ["flows.txt", "flows.tab", "flows.dat.gz"])
def test_a_text_that_is_named_may_be_called_otherwise(tmp_path, plain, name):
    path = tmp_path / "mine" / name
    path.parent.mkdir()
    content = text(cells(), "\t").encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert same(read(path)[0].select(FEATURE_NAMES), plain.select(FEATURE_NAMES))
    with pytest.raises(SourceError, match="holds no"):  # in a folder it may be a note
        read(path.parent)


def test_one_json_array_is_named(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text("[\n" + '{"a": 1},\n' * 3 + "]\n")
    with pytest.raises(SourceError, match="one JSON array; expected is one JSON object a line"):
        read(path, Table)


def test_one_table_in_two_types_is_refused(tmp_path):
    typed().to_parquet(tmp_path / "flows.parquet")
    (tmp_path / "flows.csv").write_text(text(cells()))
    with pytest.raises(SourceError, match=r"flows\.parquet has the name of flows\.csv"):
        read(tmp_path)


def test_columns_that_are_no_numbers_are_named(tmp_path):
    frame = typed()
    frame["Flow Duration"] = [[1]] * len(frame)
    frame.to_parquet(tmp_path / "flows.parquet")
    with pytest.raises(SchemaError, match="neither numbers nor text"):
        read(tmp_path)
