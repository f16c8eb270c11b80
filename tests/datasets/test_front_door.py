"""Nothing passes unseen: each member and each byte of a file is read, rejected with its reason, or refused by name."""

import bz2
import gzip
import io
import lzma
import stat
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.base import limits
from pipeline.base.errors import DataError, SchemaError, SourceError
from pipeline.base.limits import Limits
from pipeline.datasets import controls, members, sources
from pipeline.datasets.base import PASSED_OVER
from pipeline.datasets.incoming import incoming
from pipeline.datasets.rows import RETURNED
from pipeline.datasets.schema import Column
from pipeline.datasets.table import Table

NEEDED = (Column("a"), Column("b"), Column("service", categorical=True))
TEXT = b"a,b,service\n1,2,http\n3,4,dns\n5,6,http\n"
MORE = TEXT + b"7,8,x\n"


def read(path, to_score=True):
    """The records and the rejected rows of a file that is to be scored."""
    chunks = list(members.accounted(incoming(path, "table", NEEDED), to_score))
    return [pa.concat_tables([getattr(each, name) for each in chunks]).to_pylist() for name in ("records", "rejected")]


def written(tmp_path, content, name="x.csv"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


def zipped(tmp_path, *given, name="x.zip"):
    """A zip of members: a name, or what describes a member, and its content."""
    path = tmp_path / name
    with zipfile.ZipFile(path, "w") as archive, pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)  # of two members of one name
        for member, content in given:
            archive.writestr(member, content)
    return path


def linked(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


class Pipe(io.BytesIO):
    """Takes bytes in order."""

    def seekable(self):
        return False

    def tell(self):
        raise OSError


# Members of archives.

UNREAD = {
    "inner.zip": "an archive within the archive",
    "inner.tar": "an archive within the archive",
    ".x/b.csv": "a hidden file",
    "__MACOSX/b.csv": "a hidden file",
    "b.txt": "no file of the kind that is read here",
    "b.exe": "no file of the kind that is read here",
}


@pytest.mark.parametrize("name", UNREAD)
def test_a_member_that_may_hold_records_and_is_not_read_is_named(name, tmp_path):
    path = zipped(tmp_path, ("a.csv", TEXT), (name, TEXT))
    with pytest.raises(SourceError, match=rf"x\.zip: 1 of 2 members would not be read: '{name}' \({UNREAD[name]}\)"):
        read(path)
    table = Table(path, label="service", benign=("http",))
    rejected = [row for each in members.accounted(table, False) for row in each.rejected.to_pylist()]
    assert [(row["source_file"], row["reason"]) for row in rejected] == [
        (f"x.zip/{name}", f"{PASSED_OVER}{UNREAD[name]}")
    ]


def test_a_member_that_holds_no_records_is_listed_as_passed_over(tmp_path):
    given = {"README.md": b"# Flows", "empty.bin": b"", "._a.csv": b"\x00\x05\x16\x07\x00"}
    path = zipped(tmp_path, ("a.csv", TEXT), ("folder/", b""), *given.items())
    records, rejected = read(path)
    assert len(records) == 3
    assert {row["source_file"] for row in rejected} == {f"x.zip/{name}" for name in given}
    assert all(row["reason"].startswith(PASSED_OVER) for row in rejected)


def test_a_comment_of_an_archive_is_listed(tmp_path):
    path = zipped(tmp_path, ("a.csv", TEXT))
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"x" * 40
    assert [row["reason"] for row in read(path)[1]] == [f"{PASSED_OVER}a comment of 40 bytes"]


def test_a_member_whose_name_begins_with_a_dot_and_a_slash_is_read(tmp_path):
    assert len(read(zipped(tmp_path, ("./a.csv", TEXT)))[0]) == 3


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([("a.csv", TEXT), ("a.csv", MORE)], "'a.csv': is there twice"),
        ([("a.csv", TEXT), ("./a.csv", MORE)], "'a.csv': is there twice"),
        ([("/a.csv", TEXT)], "'/a.csv': leads out of the archive"),
        ([("b/../../a.csv", TEXT)], "leads out of the archive"),
        ([("C:/a.csv", TEXT)], "leads out of the archive"),
        ([("a.csv", TEXT), (linked("b.csv"), "a.csv")], "'b.csv': is a link or a device"),
        ([("a\x1b[2J.csv", TEXT)], r"has a control character in its name"),
    ],
)
def test_a_member_that_is_not_what_it_seems_makes_the_archive_refused(given, told, tmp_path):
    with pytest.raises(SourceError, match=told.replace("[", r"\[")):
        read(zipped(tmp_path, *given))


def test_an_encrypted_member_is_named(tmp_path):
    path = zipped(tmp_path, ("a.csv", TEXT), ("b.csv", MORE))
    content = bytearray(path.read_bytes())
    content[content.rfind(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"'b\.csv': is encrypted"):
        read(path)


@pytest.mark.parametrize("where", ["in front", "between", "behind"])
def test_bytes_that_belong_to_no_member_make_the_archive_refused(where, tmp_path):
    path = zipped(tmp_path, ("a.csv", TEXT), ("b.csv", MORE))
    content = path.read_bytes()
    if where == "in front":
        content = b"a,b,service\n9,9,x\n" + content
    if where == "behind":
        content += b"9,9,x\n"
    if where == "between":
        cut = content.index(b"PK\x03\x04", 4)
        second, end = content.rindex(b"PK\x01\x02"), content.rindex(b"PK\x05\x06")
        moved = bytearray(content[:cut] + b"9,9,x\n" + content[cut:])
        for at in (second + 6 + 42, end + 6 + 16):
            moved[at : at + 4] = (int.from_bytes(moved[at : at + 4], "little") + 6).to_bytes(4, "little")
        content = bytes(moved)
    path.write_bytes(content)
    with pytest.raises(SourceError, match="belong to no member"):
        read(path)


def test_an_archive_that_was_written_to_a_pipe_is_read(tmp_path):
    stream = Pipe()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", TEXT)
        archive.writestr("b.csv", TEXT + b"7,8,dns\n")
    assert len(read(written(tmp_path, stream.getvalue(), "x.zip"))[0]) == 7


# Bytes of packed files.

PACKED = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("packing", PACKED)
@pytest.mark.parametrize("behind", [b"7,8,x\n", b"\x00garbage", b"BZh"])
def test_bytes_behind_a_packed_stream_are_not_passed_over(packing, behind, tmp_path):
    path = written(tmp_path, PACKED[packing](TEXT) + behind, f"x.csv{packing}")
    with pytest.raises(SourceError, match=r"x\.csv: cannot be read beyond byte"):
        read(path)


@pytest.mark.parametrize("packing", PACKED)
def test_packed_streams_in_a_row_are_read_as_one(packing, tmp_path):
    packed = PACKED[packing](TEXT) + PACKED[packing](b"7,8,x\n")
    assert len(read(written(tmp_path, packed, f"x.csv{packing}"))[0]) == 4


def test_zeros_behind_an_xz_stream_are_padding(tmp_path):
    assert len(read(written(tmp_path, lzma.compress(TEXT) + bytes(8), "x.csv.xz"))[0]) == 3


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
def test_a_format_inside_another_one_is_named(name, tmp_path):
    content = zipped(tmp_path, ("a.csv", TEXT)).read_bytes()
    path = written(tmp_path, gzip.compress(content) if name.endswith(".gz") else content, name)
    with pytest.raises(SourceError, match="is no text, but a zip archive"):
        read(path)


# Names, rows and words.


def test_two_columns_of_one_name_are_named_with_their_numbers(tmp_path):
    path = written(tmp_path, b"a,b,service,a\n1,2,http,9\n")
    with pytest.raises(SchemaError, match=r"two columns are called 'a' \(columns 1 and 4\)"):
        read(path)


def test_a_control_character_in_a_name_is_shown_as_an_escape(tmp_path):
    path = written(tmp_path, b"a,b,service,c\x1b[2J\n1,2,http,9\n")
    with pytest.raises(SchemaError, match=r"column 4 has a control character in its name, 'c\\x1b\[2J'"):
        read(path)


def test_a_carriage_return_within_a_row_shifts_no_other_row(tmp_path):
    records, rejected = read(written(tmp_path, TEXT + b"7,8\r,dns\n9,10,ftp\n"))
    assert [(row["row"], row["a"]) for row in records] == [(1, 1), (2, 3), (3, 5), (5, 9)]
    assert [(row["row"], row["reason"]) for row in rejected] == [(4, RETURNED)]


def test_carriage_returns_at_the_end_of_a_row_are_cut_off(tmp_path):
    records, rejected = read(written(tmp_path, TEXT.replace(b"3,4,dns\n", b"3,4,dns\r\r\n")))
    assert ([row["row"] for row in records], rejected) == ([1, 2, 3], [])


def test_a_text_whose_line_ends_change_is_refused(tmp_path):
    path = written(tmp_path, TEXT.replace(b"\n", b"\r") * 9 + b"1,2,x\n")
    with pytest.raises(SourceError, match="end in carriage returns, and later ones in line feeds"):
        list(sources.blocks(sources.sources(path)[0], 100))


@pytest.mark.parametrize("word", [b"ht\x00tp", b"\x1b[31mhttp", b"ht\ttp", "ht\u0085tp".encode()])
def test_a_word_with_a_control_character_is_rejected_with_its_row(word, tmp_path):
    records, rejected = read(written(tmp_path, TEXT + b"7,8," + word + b"\n9,10,ftp\n"))
    assert [row["row"] for row in records] == [1, 2, 3, 5]
    assert [(row["row"], row["column"], row["reason"]) for row in rejected] == [(4, "service", controls.REASON)]


@pytest.mark.parametrize("other", [b"", b"broken\n"])
def test_an_object_of_json_with_two_values_for_one_name_is_rejected(other, tmp_path):
    line = b'{"a": 1, "b": 2, "service": "x"}\n'
    path = written(tmp_path, line + b'{"a" :1, "a":2, "b":2, "service":"\\":"}\n' + line + other, "x.jsonl")
    records, rejected = read(path)
    assert [row["row"] for row in records] == [1, 3]
    assert (rejected[0]["row"], rejected[0]["reason"]) == (2, "two values for one name")


def test_a_text_that_looks_like_a_name_of_json_is_read(tmp_path):
    path = written(tmp_path, b'{"a": 1, "b": 2, "service": "x\\":y"}\n', "x.jsonl")
    assert [row["service"] for row in read(path)[0]] == ['x":y']


def test_a_word_of_parquet_with_a_control_character_is_rejected(tmp_path):
    pq.write_table(pa.table({"a": [1, 2], "b": [1, 2], "service": ["x", "y\n"]}), tmp_path / "x.parquet")
    records, rejected = read(tmp_path / "x.parquet")
    assert [row["row"] for row in records] == [1]
    assert [(row["row"], row["reason"]) for row in rejected] == [(2, controls.REASON)]


# Limits.


def wide(tmp_path):
    return written(tmp_path, b",".join(b"c%d" % place for place in range(40)) + b"\n" + b"1," * 39 + b"1\n")


def wide_parquet(tmp_path):
    pq.write_table(pa.table({f"c{place}": [1] for place in range(40)}), tmp_path / "x.parquet")
    return tmp_path / "x.parquet"


def long_parquet(tmp_path):
    pq.write_table(pa.table({"a": [1] * 4000, "b": [1] * 4000, "service": ["x"] * 4000}), tmp_path / "x.parquet")
    return tmp_path / "x.parquet"


@pytest.mark.parametrize(
    ("make", "held", "told"),
    [
        (lambda to: written(to, TEXT), {"bytes": 20}, r"x\.csv: its bytes are 38, allowed is 20; raise files\.bytes"),
        (lambda to: written(to, gzip.compress(TEXT * 9), "x.csv.gz"), {"bytes": 60}, r"files\.bytes"),
        (lambda to: zipped(to, ("a.csv", TEXT), ("b.csv", MORE)), {"bytes": 60}, r"x\.zip: .* 82, .*files\.bytes"),
        (long_parquet, {"bytes": 60}, r"x\.parquet: .*files\.bytes"),
        (lambda to: written(to, TEXT), {"rows": 2}, r"x\.csv: its rows are at least 3, allowed is 2; .*files\.rows"),
        (long_parquet, {"rows": 2}, r"its rows are 4,000, allowed is 2; raise files\.rows"),
        (wide, {"columns": 39}, r"x\.csv: its columns are 40, allowed is 39; raise files\.columns"),
        (wide_parquet, {"columns": 39}, r"its columns are 40, allowed is 39; raise files\.columns"),
        (lambda to: zipped(to, ("a.csv", TEXT), ("b.csv", MORE)), {"members": 1}, r"members are 2, .*files\.members"),
        (wide, {"header": 100}, r"x\.csv: bytes of the line of names are 150, allowed is 100; raise files\.header"),
        (lambda to: written(to, TEXT + b"1,2," + b"x" * 100 + b"\n"), {"line": 99}, r"after byte 38 .*files\.line"),
        (lambda to: written(to, TEXT + b"1,2," + b"x" * 100), {"line": 99}, r"after byte 38 .*files\.line"),
    ],
)
def test_more_than_is_allowed_is_refused_with_the_setting(make, held, told, tmp_path):
    path = make(tmp_path)
    with limits.holding(Limits(**held)), pytest.raises(SourceError, match=told):
        read(path)
    with pytest.raises(DataError) if make in (wide, wide_parquet) else limits.holding(Limits()):
        read(path)  # these lack columns, and are refused for no other reason


@pytest.mark.parametrize("packing", PACKED)
def test_a_small_file_that_unpacks_to_too_many_times_its_size_is_refused(packing, tmp_path):
    path = written(tmp_path, PACKED[packing](TEXT + b"\n" * (limits.SMALL + 9)), f"x.csv{packing}")
    with pytest.raises(SourceError, match=r"bytes that it unpacks to for each byte of it .*files\.ratio"):
        read(path)


def test_a_member_that_says_that_it_unpacks_to_too_many_times_its_size_is_refused_unread(tmp_path):
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", TEXT + b"\n" * (limits.SMALL + 9))
    with pytest.raises(SourceError, match=r"x\.zip/a\.csv: .*files\.ratio"):
        read(path)
