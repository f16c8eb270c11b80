"""A process of its own reads files of others: it gives what reading here gives, and its end is one file's refusal."""

import errno
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.base import limits
from pipeline.base.errors import SchemaError, SourceError
from pipeline.base.limits import Limits
from pipeline.datasets.apart import child, reader
from pipeline.datasets.apart.reader import Apart, Asked, EndedError
from pipeline.datasets.reading import Reading
from pipeline.datasets.schema import FEATURES, Column
from pipeline.datasets.synthetic.files import write

MEMORY = 3 << 30


@pytest.fixture(scope="module")
def apart():
    with closing(Apart(MEMORY, 60)) as made:
        yield made


@pytest.fixture(scope="module")
def week(tmp_path_factory):
    folder = tmp_path_factory.mktemp("week")
    write(folder, 600, 0)
    return folder


def asked(path, dataset="cicids2017", needed=FEATURES):
    return Asked(path, dataset, needed, {}, Reading(), {}, ())


def table(path):
    return asked(path, "table", (Column("a"), Column("word", categorical=True)))


def written(tmp_path, text, name="x.csv"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def layout(table):
    return [[len(chunk) for chunk in column.chunks] for column in table.columns]


def same(here, there):
    """Whether two processes have read the same, chunk for chunk."""
    pairs = zip(here, there, strict=True)
    return all(
        one.records.equals(other.records, check_metadata=True)
        and one.rejected.equals(other.rejected)
        and (not one.records.num_rows or layout(one.records) == layout(other.records))
        and (one.notes, dict(one.passed_over)) == (other.notes, dict(other.passed_over))
        for one, other in pairs
    )


def test_every_file_of_a_week_is_read_as_it_is_here(apart, week):
    for path in sorted(week.iterdir()):
        assert same([*asked(path).read()], [*apart.read(asked(path))])


def test_a_file_of_many_parts_arrives_chunk_for_chunk(apart, tmp_path):
    path = written(tmp_path, "a,word\n" + "".join(f"{i},w{i % 977}\n" for i in range(700_000)) + "x,y\n1\n")
    here, there = [*table(path).read()], [*apart.read(table(path))]
    assert len(here) > 1 and max(len(each) for chunk in here for each in layout(chunk.records)) > 1
    assert same(here, there)
    assert sum(chunk.rejected.num_rows for chunk in there) == 2


def test_times_units_and_labels_arrive(apart, tmp_path):
    text = "Src IP,Dst IP,Timestamp,a,word,label\n" + "1.1.1.1,2.2.2.2,03/07/2017 8:55,1,x,y\n" * 3
    path = written(tmp_path, text)
    here, there = [*table(path).read()], [*apart.read(table(path))]
    assert here[0].notes.meaning.times is not None
    assert same(here, there)


def test_a_refusal_is_the_one_that_is_raised_here(apart, tmp_path):
    path = written(tmp_path, "a,word,a\n1,2,3\n")
    with pytest.raises(SchemaError) as here:
        list(table(path).read())
    with pytest.raises(SchemaError) as there:
        list(apart.read(table(path)))
    assert str(here.value) == str(there.value)
    assert not isinstance(there.value, EndedError)


def test_what_the_system_refuses_is_no_fault_of_the_file(tmp_path):
    error = SourceError("x.csv: cannot be read")
    error.__cause__ = OSError(errno.EACCES, "Permission denied")
    arrived = reader.error_of(tmp_path / "x.csv", child.told(error))
    assert (type(arrived), str(arrived)) == (SourceError, "x.csv: cannot be read")
    assert arrived.__cause__.errno == errno.EACCES


def test_limits_hold_in_the_other_process(apart, tmp_path):
    path = written(tmp_path, "a,word\n1,2\n3,4\n")
    with limits.holding(Limits(rows=1)), pytest.raises(SourceError, match=r"files\.rows"):
        list(apart.read(table(path)))


def test_a_process_that_is_killed_harms_one_file_alone(tmp_path):
    path = written(tmp_path, "a,word\n" + "1,2\n" * 2_000_000)
    with closing(Apart(MEMORY, 60)) as apart:
        chunks = apart.read(table(path))
        next(chunks)
        os.kill(apart.pid, signal.SIGSEGV)
        with pytest.raises(EndedError, match="its reader was ended by SIGSEGV"):
            list(chunks)
        small = written(tmp_path, "a,word\n1,2\n", "small.csv")
        assert same([*table(small).read()], [*apart.read(table(small))])


def test_a_service_that_is_stopped_can_still_read_what_has_come(tmp_path):
    path = written(tmp_path, "a,word\n1,2\n")
    with closing(Apart(MEMORY, 60)) as apart:
        list(apart.read(table(path)))
        pid = apart.pid
        os.kill(pid, signal.SIGTERM)
        assert same([*table(path).read()], [*apart.read(table(path))])
        assert apart.pid == pid


def test_a_file_that_is_read_in_part_leaves_nothing_for_the_next_one(tmp_path):
    path = written(tmp_path, "a,word\n" + "1,2\n" * 2_000_000)
    small = written(tmp_path, "a,word\n5,6\n", "small.csv")
    with closing(Apart(MEMORY, 60)) as apart:
        chunks = apart.read(table(path))
        next(chunks)
        chunks.close()
        assert same([*table(small).read()], [*apart.read(table(small))])


def test_more_memory_than_is_allowed_is_one_files_refusal(tmp_path):
    n = 60_000
    word = pa.DictionaryArray.from_arrays(pa.repeat(0, n), ["x" * 100_000])
    given = pa.table({"a": pa.repeat(1.0, n), "word": word})
    pq.write_table(given, tmp_path / "x.parquet", store_schema=False)  # 100 KB that hold 6 GB
    with closing(Apart(1 << 30, 60)) as apart:
        with pytest.raises(SourceError, match=r"files\.memory"):
            list(apart.read(table(tmp_path / "x.parquet")))
        small = written(tmp_path, "a,word\n5,6\n", "small.csv")
        assert same([*table(small).read()], [*apart.read(table(small))])


def test_more_processor_time_than_is_allowed_ends_the_process(tmp_path):
    path = written(tmp_path, "a,word\n" + "1,x y z\n" * 12_000_000)
    with closing(Apart(MEMORY, 1)) as apart, pytest.raises(EndedError, match=r"files\.seconds|SIGKILL"):
        for _ in range(20):
            list(apart.read(table(path)))


def test_the_process_knows_no_secret_and_gives_up_what_it_does_not_need(apart, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    with closing(Apart(MEMORY, 60)) as made:
        list(made.read(table(written(tmp_path, "a,word\n1,2\n"))))
        environment = Path(f"/proc/{made.pid}/environ").read_bytes()
        assert b"secret" not in environment
        if made.about["filtered"]:
            assert "Seccomp:\t2" in Path(f"/proc/{made.pid}/status").read_text()
        if made.about["network"]:
            assert Path(f"/proc/{made.pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink()


GIVEN_UP = {
    "socket": "import socket; socket.socket()",
    "program": "import os; os.execv('/bin/true', ['true'])",
    "writing": "open('written', 'w')",
    "removing": "import os; os.remove('x')",
}


@pytest.mark.parametrize("means", GIVEN_UP)
@pytest.mark.parametrize("door", ["hooked", "filtered"])
def test_sockets_programs_and_writing_are_refused(means, door, tmp_path):
    if door == "filtered" and means in ("writing", "removing"):
        pytest.skip("the kernel's filter is for sockets and programs")
    script = (
        f"from pipeline.datasets.apart import sandbox\nif sandbox.{door}() is False: raise SystemExit(77)\n"
        f"try:\n    {GIVEN_UP[means]}\nexcept PermissionError:\n    raise SystemExit(0)\nraise SystemExit(1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(reader.ROOT)}
    )
    if done.returncode == 77:
        pytest.skip("this kernel has no filter")
    assert done.returncode == 0
    assert not (tmp_path / "written").exists()
