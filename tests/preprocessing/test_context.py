"""The recent past of hosts: what a loop over all earlier records finds, and nothing from the future."""

from itertools import pairwise
from math import log

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.preprocessing.context.past import AT_ONCE, Past, backwards, columns, context
from pipeline.preprocessing.context.regularity import GAPS, IRREGULAR, LEAST_GAPS, PAUSE
from pipeline.preprocessing.context.talks import NO_PORT, Talks, hashed, talks_of

WINDOWS = (5.0, 60.0, 600.0)
SECOND = 1_000_000


def some(n, seed, hosts=4, ports=3, seconds=700):
    random = np.random.default_rng(seed)
    time = random.integers(0, seconds * SECOND, n)
    time[: n // 4] = time[: n // 4] // SECOND * SECOND  # ties
    whole = (random.integers(0, high, n) for high in (hosts, hosts, ports, 2, 2000, 10**6))
    return Talks(time, *whole)


def every(talks, most=10**6, windows=WINDOWS):
    return context(talks, np.ones(len(talks), bool), windows, most)


def naive(talks, most, windows=WINDOWS):
    """(n, F) in float64, one record after the other, each looking at all earlier ones."""
    order = np.argsort(talks.time, kind="stable")
    ordered = talks.take(order)
    found = np.empty((len(talks), len(columns(windows))))
    for place, row in enumerate(order):
        found[row] = _of_one(ordered, place, most, windows)
    return found


def _of_one(talks, i, most, windows):
    earlier = talks.take(slice(max(0, i - most), i))
    source, destination = earlier.source == talks.source[i], earlier.destination == talks.destination[i]
    row = []
    for rows, hosts in ((source, "destination"), (destination, "source"), (source & destination, None)):
        for window in windows:
            seen = earlier.take(rows & (earlier.time > talks.time[i] - window * SECOND))
            ports = np.unique(seen.port, return_counts=True)[1]
            shares = ports / max(len(seen), 1)
            entropy = -sum(share * log(share) for share in shares)
            failed = seen.failed.mean() if len(seen) else 0.0
            row += [np.log1p(len(seen)), np.log1p(len(ports)), entropy, failed]
            row += [np.log1p(seen.sent.sum()), np.log1p(seen.received.sum())]
            row += [] if hosts is None else [np.log1p(len(np.unique(getattr(seen, hosts))))]
    times = earlier.time[source & destination & (earlier.port == talks.port[i])]
    gaps = np.diff([*times[-GAPS:], talks.time[i]]) / SECOND
    gaps = gaps[np.flatnonzero(np.append(True, gaps > PAUSE))[-1] :]  # those after the last pause
    mean = gaps.mean() if len(gaps) else 0.0
    varies = (gaps.std() / mean if mean else 0.0) if len(gaps) >= LEAST_GAPS else IRREGULAR
    return [*row, len(gaps), np.log1p(mean), varies]


@pytest.mark.parametrize("most", [7, 40, 10**6])
@pytest.mark.parametrize("seed", range(3))
def test_context_is_what_a_loop_over_all_remembered_records_finds(most, seed):
    talks = some(150, seed)
    np.testing.assert_allclose(every(talks, most), naive(talks, most), rtol=1e-5, atol=1e-5)


@given(st.integers(1, 60), st.integers(0, 30), st.integers(0, 2**32 - 1))
def test_later_records_change_nothing(n, more, seed):
    talks = some(n + more, seed)
    talks = talks.take(np.argsort(talks.time, kind="stable"))
    np.testing.assert_array_equal(every(talks)[:n], every(talks.take(slice(n))))


@given(st.lists(st.integers(0, 40), max_size=4), st.integers(0, 2**32 - 1))
def test_steps_of_any_length_give_the_same_bytes(cuts, seed):
    talks = some(40, seed)
    talks = talks.take(np.argsort(talks.time, kind="stable"))
    past = Past(WINDOWS, 15)
    edges = [0, *sorted(cuts), len(talks)]
    parts = [past.add(talks.take(slice(*edge))) for edge in pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(parts), every(talks, most=15))
    assert len(past.remembered) == 15


@pytest.mark.parametrize("most", [5, 40, 10**6])
@given(st.integers(1, 12), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_few_records_behind_many_get_the_same_bytes_as_all_together(most, few, is_late, seed):
    talks = some(90, seed, seconds=200 if seed % 2 else 20_000)
    if not is_late:
        talks = talks.take(np.argsort(talks.time, kind="stable"))
    old, known = len(talks) - few, np.random.default_rng(seed).random(len(talks)) < 0.9
    found = context(talks, known, WINDOWS, most, since=old)
    np.testing.assert_array_equal(found, context(talks, known, WINDOWS, most)[old:])


@given(st.lists(st.integers(0, 200), max_size=8), st.integers(0, 2**32 - 1))
def test_a_stream_in_any_parts_has_the_context_that_it_has_in_one(cuts, seed):
    talks = some(200, seed, hosts=3)
    talks = talks.take(np.argsort(talks.time, kind="stable"))
    edges = [0, *sorted(cuts), len(talks)]
    parts = [
        context(talks.take(slice(end)), np.ones(end, bool), WINDOWS, 60, since=begin) for begin, end in pairwise(edges)
    ]
    np.testing.assert_array_equal(np.concatenate(parts), every(talks, most=60))


@pytest.mark.parametrize("values", [2**62, 2**15])
def test_values_far_apart_are_told_from_each_other(values):
    talks, random = some(400, 3), np.random.default_rng(0)
    names = random.integers(-values, values, (3, 5))
    talks = Talks(
        talks.time, names[0][talks.source], names[1][talks.destination], names[2][talks.port], talks.failed, talks.sent,
        talks.received,
    )  # fmt: skip
    np.testing.assert_array_equal(context(talks, np.ones(400, bool), WINDOWS, 10**6, since=390), every(talks)[390:])


def test_records_out_of_order_have_their_place_by_their_own_time():
    talks, random = some(80, 5), np.random.default_rng(0)
    apart = talks.take(np.unique(talks.time, return_index=True)[1])  # no ties: order within them would matter
    shuffled = random.permutation(len(apart))
    np.testing.assert_array_equal(every(apart.take(shuffled)), every(apart)[shuffled])


def test_of_records_with_one_time_each_sees_those_given_before_it():
    ones = np.ones(4, np.int64)
    found = every(Talks(ones, ones, ones, ones, ones, ones, ones))
    np.testing.assert_allclose(found[:, columns(WINDOWS).index("pair_records_5s")], np.log1p(np.arange(4)), rtol=1e-6)


def test_records_without_a_time_have_no_context_and_are_in_nobody_elses():
    talks, known = some(60, 1), np.arange(60) % 3 > 0
    found = context(talks, known, WINDOWS, 10**6)
    assert np.isnan(found[~known]).all()
    np.testing.assert_array_equal(found[known], every(talks.take(known)))


def test_a_clock_that_runs_backwards_is_counted_and_leaves_numbers_that_are_finite():
    time = np.array([0, 10, 20, 5, 12, 30]) * 60 * SECOND
    ones = np.ones(6, np.int64)
    assert backwards(time, ones > 0, allowed=60) == 2
    assert backwards(time, ones > 0, allowed=900) == 0
    assert backwards(time[:0], ones[:0] > 0, allowed=60) == 0
    assert np.isfinite(every(Talks(time, ones, ones, ones, ones, ones, ones))).all()


def test_records_that_go_back_in_time_are_refused_where_order_is_promised():
    past = Past(WINDOWS, 10)
    past.add(Talks(*([np.array([5])] * 7)))
    with pytest.raises(ValueError, match="order of time"):
        past.add(Talks(*([np.array([4])] * 7)))


def test_memory_is_bounded_whatever_the_number_of_hosts():
    n, most = 3 * AT_ONCE, 1000
    numbers = np.arange(n)
    past = Past(WINDOWS, most)
    for start in range(0, n, AT_ONCE):
        part = slice(start, start + AT_ONCE)
        hosts = numbers[part]
        past.add(Talks(hosts, hosts, hosts, hosts, hosts * 0, hosts, hosts))
    assert len(past.remembered) == most


def test_a_pause_of_hours_begins_anew():
    n = 2 * GAPS
    time = np.arange(n) * 30 * SECOND + (np.arange(n) >= GAPS) * 10 * round(PAUSE) * SECOND
    talks = Talks(time, *[np.ones(n, np.int64)] * 6)
    np.testing.assert_allclose(every(talks), naive(talks, 10**6), rtol=1e-5, atol=1e-5)
    assert every(talks)[:, columns(WINDOWS).index("gaps")].tolist() == [*range(GAPS)] * 2


def test_no_records_have_no_context():
    assert every(Talks.none()).shape == (0, len(columns(WINDOWS)))


def test_a_regular_caller_varies_less_than_one_by_chance():
    n, random = 30, np.random.default_rng(0)
    variation = columns(WINDOWS).index("gap_variation")
    ones = np.ones(n, np.int64)
    clock, chance = np.arange(n) * 30 * SECOND, np.sort(random.integers(0, n * 30 * SECOND, n))
    regular, irregular = (every(Talks(time, *[ones] * 6))[GAPS:, variation] for time in (clock, chance))
    assert regular.max() < 0.01 < 0.3 < irregular.min()


def table(**columns):
    n = len(next(iter(columns.values())))
    base = {"timestamp": pa.array(np.arange(n), pa.timestamp("us", "UTC")), "src_ip": ["a"] * n, "dst_ip": ["b"] * n}
    return pa.table(base | columns)


@pytest.mark.parametrize(
    ("columns", "failed"),
    [
        ({"total_bwd_packets": [0.0, 3.0], "rst_flag_count": [0.0, 0.0]}, [1, 0]),
        ({"total_bwd_packets": [2.0, 3.0], "rst_flag_count": [1.0, 0.0]}, [1, 0]),
        ({"bwd_packets": [0.0, 1.0]}, [1, 0]),
        ({"bwd_packets": [1.0, 1.0], "state": ["REJ", "SF"]}, [1, 0]),
        ({"bwd_packets": [1.0, 1.0], "bwd_reset": [1.0, 0.0]}, [1, 0]),
        ({"bwd_packets": [float("nan"), 1.0]}, [0, 0]),
    ],
)
def test_every_kind_of_record_says_whether_it_was_answered(columns, failed):
    talks, known = talks_of(table(**columns))
    assert known.all()
    assert talks.failed.tolist() == failed


def test_ports_and_bytes_are_read_under_the_names_of_each_tool():
    one = table(dst_port=pa.array([80, None], pa.int32()), fwd_ip_bytes=[10.0, 1.0], bwd_ip_bytes=[np.inf, 2.0])
    talks, _ = talks_of(one)
    assert (talks.port.tolist(), talks.sent.tolist(), talks.received.tolist()) == ([80, NO_PORT], [10, 1], [0, 2])
    other = table(destination_port=[443.0], total_length_fwd_packets=[7.0], total_length_bwd_packets=[8.0])
    talks, _ = talks_of(other)
    assert (talks.port.tolist(), talks.sent.tolist(), talks.received.tolist()) == ([443], [7], [8])


def test_records_that_lack_an_address_or_a_time_are_not_known():
    time = pa.array([0, None, 2, 3], pa.timestamp("us", "UTC"))
    _, known = talks_of(table(timestamp=time, src_ip=["a", "a", None, "a"], dst_ip=["b"] * 4))
    assert known.tolist() == [True, False, False, True]


def test_the_hash_of_an_address_does_not_depend_on_how_it_is_stored():
    texts = ["10.0.0.1", None, "10.0.0.2", "10.0.0.1"]
    plain = pa.chunked_array([pa.array(texts)])
    parts = pa.chunked_array([pa.array(texts[:2]).dictionary_encode(), pa.array(texts[2:]).dictionary_encode()])
    np.testing.assert_array_equal(hashed(plain), hashed(parts))
    assert len(set(hashed(plain).tolist())) == 3
