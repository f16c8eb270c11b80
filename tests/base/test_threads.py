"""Work in several threads: in order, few parts in memory, errors where they are due."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.base.parallel import in_order


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
