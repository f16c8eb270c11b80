"""A path -> CSV texts: what is found, under which name, and how it is cut into blocks."""

import gzip
import io
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base import limits
from pipeline.base.errors import SourceError
from pipeline.base.limits import Limits
from pipeline.datasets import sources
from pipeline.datasets.sources import SeenContents, Source, blocks

TEXT = b"a,b\n1,2\n3,4\n"


def text_of(content):
    return Source("x.csv", "x.csv", lambda: io.BytesIO(content))


def names(path):
    return [source.name for source in sources.sources(path)]


def zipped(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_folder_gives_its_texts_in_the_order_of_their_names_whatever_their_packing(tmp_path):
    (tmp_path / "b.CSV").write_bytes(TEXT)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(TEXT))
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "d.csv").write_bytes(TEXT)
    zipped(tmp_path / "z.zip", **{"inner/y.csv": TEXT, "inner/x.csv.gz": gzip.compress(TEXT)})
    found = sources.sources(tmp_path)
    assert [source.name for source in found] == ["a.csv", "b.CSV", "c/d.csv", "x.csv", "y.csv"]
    assert [b"".join(blocks(source)) for source in found] == [TEXT] * 5


def test_what_is_hidden_or_no_csv_is_passed_over(tmp_path):
    for name in (".a.csv", ".ipynb_checkpoints/b.csv", "__MACOSX/c.csv", "notes.txt", "folder.csv/d.txt", "e.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(TEXT)
    archive = zipped(tmp_path / "z.zip", **{"__MACOSX/._f.csv": TEXT, "f.csv": TEXT, "readme.md": b""})
    assert names(tmp_path) == ["e.csv", "f.csv"]
    assert names(archive) == ["f.csv"]


def test_members_of_one_name_are_told_apart_by_their_folders(tmp_path):
    archive = zipped(tmp_path / "z.zip", **{"2017/monday.csv": TEXT, "2018/monday.csv": TEXT})
    assert names(archive) == ["2017/monday.csv", "2018/monday.csv"]


@given(
    lines=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r\0"), max_size=30), max_size=30),
    size=st.integers(1, 200),
)
def test_blocks_end_where_lines_end_and_lose_nothing(lines, size):
    content = "\n".join(["a,b", *lines]).encode()
    parts = list(blocks(text_of(content), size))
    assert all(part.endswith(b"\n") for part in parts)
    assert b"".join(parts) == content + (b"" if content.endswith(b"\n") else b"\n")


def test_blocks_hold_about_what_they_may():
    line = b"x" * 99 + b"\n"
    assert max(map(len, blocks(text_of(line * 10_000), 1000))) <= 1000 + len(line)


def test_a_text_without_line_ends_is_refused_before_it_fills_the_memory(monkeypatch):
    told = r"x\.csv: no line ends within 1,100 bytes .* allowed is 1,000; raise files\.line"
    with limits.holding(Limits(line=1000)), pytest.raises(SourceError, match=told):
        list(blocks(text_of(b"\0" * 10_000), 100))


@pytest.mark.parametrize("left", [1, 10, 0.5, -1])
def test_a_truncated_gzip_says_how_far_it_could_be_read(tmp_path, left):
    content = b"".join(b"%d,%d\n" % (i, i * i) for i in range(5000))
    packed = gzip.compress(content)
    path = tmp_path / "x.csv.gz"
    path.write_bytes(packed[: int(len(packed) * left) if isinstance(left, float) else left])
    with pytest.raises(SourceError, match=r"x\.csv.*cannot be read beyond byte \d+ .*; fetch the file again"):
        list(blocks(sources.sources(path)[0], 1000))


@pytest.mark.parametrize(("at", "byte"), [(6, 99), (47, 0xFF)])  # the version that is needed; a byte of the name
def test_a_zip_whose_list_of_members_is_damaged_is_refused(tmp_path, at, byte):
    archive = zipped(tmp_path / "z.zip", **{"\xfc.csv": TEXT})
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + at] = byte
    archive.write_bytes(content)
    with pytest.raises(SourceError, match=r"z\.zip: is not a zip archive \(.*\); download it again$"):
        sources.sources(archive)


def test_a_damaged_member_of_a_zip_is_refused(tmp_path):
    archive = zipped(tmp_path / "z.zip", **{"x.csv": TEXT * 100})
    archive.write_bytes(archive.read_bytes().replace(b"1,2", b"9,9", 1))
    with pytest.raises(SourceError, match=r"x\.csv.*cannot be read"):
        list(blocks(sources.sources(archive)[0]))


def test_the_same_content_is_refused_under_a_second_name_however_it_is_cut():
    seen = SeenContents()
    first = Source("a.csv", "a.csv", lambda: io.BytesIO(TEXT))
    second = Source("b.csv", "z.zip/b.csv", lambda: io.BytesIO(TEXT))
    assert b"".join(seen.watch(first, blocks(first))) == TEXT
    with pytest.raises(SourceError, match=r"z\.zip/b\.csv: has the same content as a\.csv; remove one of the two"):
        list(seen.watch(second, blocks(second, 5)))
