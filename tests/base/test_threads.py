"""Work in several threads: in order, few parts in memory, errors where they are due."""

import os
import subprocess
import sys
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.base.parallel import cores, in_order, one_thread


@settings(max_examples=30, deadline=None)
@given(parts=st.lists(st.integers(), max_size=30), workers=st.integers(1, 5))
def test_results_come_in_the_order_of_their_parts(parts, workers):
    assert list(in_order(str, parts, workers)) == [str(part) for part in parts]


def test_few_parts_are_drawn_ahead():
    drawn = []

    def parts():
        for part in range(100):
            drawn.append(part)
            yield part

    for taken, _ in enumerate(in_order(lambda part: part, parts(), workers=3)):
        assert len(drawn) <= taken + 5


def test_parts_are_worked_on_at_the_same_time():
    barrier = threading.Barrier(2, timeout=20)
    assert len(list(in_order(lambda _: barrier.wait(), range(6), workers=2))) == 6


def test_an_error_is_raised_where_its_result_is_due():
    results = in_order(lambda part: 1 / part, [2, 1, 0, 5])
    assert [next(results), next(results)] == [0.5, 1.0]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_an_error_among_the_parts_is_not_lost():
    def parts():
        yield 1
        raise KeyError("source")

    with pytest.raises(KeyError, match="source"):
        list(in_order(str, parts()))


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("max 100000", 4),
        ("250000 100000", 3),  # two and a half cores keep three threads busy for most of the time
        ("900000 100000", 4),
        ("1000 100000", 1),
        ("", 4),
        ("unknown", 4),
    ],
)
def test_a_container_has_no_more_cores_than_its_quota(tmp_path, monkeypatch, told, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 5}, raising=False)
    (tmp_path / "cpu.max").write_text(f"{told}\n")
    assert cores(tmp_path / "cpu.max") == expected
    assert cores(tmp_path / "absent") == 4


def test_a_process_that_may_run_on_few_cores_counts_these_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {7}, raising=False)
    assert cores(tmp_path / "absent") == 1


LIMITED = """
import numpy, pyarrow, torch
from threadpoolctl import threadpool_info
from pipeline.base.parallel import limit_threads

def threads():
    pools = [pool["num_threads"] for pool in threadpool_info()]
    return [max(pools), torch.get_num_threads(), pyarrow.cpu_count()]

torch.set_num_threads(3)
pyarrow.set_cpu_count(3)
limit_threads(2)
print(threads())
limit_threads(1)
print(threads())
limit_threads(8)
print(threads())
"""


def test_no_library_has_more_threads_than_it_is_allowed_and_none_gets_more_than_it_had():
    environment = os.environ | {"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3"}
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, env=environment)
    assert done.stdout.split("\n")[:3] == ["[2, 2, 2]", "[1, 1, 1]", "[1, 1, 1]"], done.stderr


def test_whoever_asks_for_one_thread_gives_the_others_back(monkeypatch):
    import torch

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
