"""A file that is damaged in any way is read with each row accounted for, or refused with a reason: nothing else."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.mutations import KINDS, asked, fault, mutated, text_of
from pipeline.base.errors import DataError
from pipeline.datasets.unpacking import BROKEN


@cache
def text():
    with TemporaryDirectory() as folder:
        return text_of(Path(folder))


@pytest.mark.parametrize("kind", KINDS)
def test_a_mutated_file_is_read_or_refused(kind, tmp_path):
    path = tmp_path / f"x{KINDS[kind][0]}"

    @settings(max_examples=60, deadline=None, derandomize=True, database=None)
    @example(seed=0)
    @given(seed=st.integers(0, 1 << 32))
    def holds(seed):
        path.write_bytes(mutated(kind, text(), seed))
        try:
            assert fault(kind, asked(path).read()) == ""
        except (DataError, *BROKEN) as error:
            assert str(error)

    holds()


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_a_change_is_read(kind, tmp_path):
    suffix, pack = KINDS[kind]
    path = tmp_path / f"x{suffix}"
    path.write_bytes(pack(text()))
    chunks = list(asked(path).read())
    assert fault(kind, chunks) == ""
    assert sum(chunk.records.num_rows for chunk in chunks) >= text().count(b"\n") - 1
    assert sum(chunk.rejected.num_rows for chunk in chunks) == 0
