"""A confidence that someone gave is taken as a whole or refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import DataError
from pipeline.calibration.confidence import matched

IDS = np.array([0xFFFFFFFFFFFFFFFF, 3, 0xAB, 7], dtype=np.uint64)
VALUES = np.array([1.0, -1.0, 0.25, 0.0])


@given(ids=st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=40), seed=st.integers(0, 99))
def test_each_record_gets_its_own(ids, seed):
    random = np.random.default_rng(seed)
    record_id = np.array(ids, dtype=np.uint64)
    values = random.uniform(-1, 1, len(ids)).astype(np.float32)
    order = random.permutation(len(ids))
    confidence = matched(record_id, record_id[order], values[order])
    assert confidence.dtype == np.float32
    assert np.array_equal(confidence, values)


def test_missing_records_are_named():
    with pytest.raises(DataError, match="2 record_ids without a confidence: ffffffffffffffff, 00000000000000ab; "):
        matched(IDS, IDS[[1, 3]], VALUES[[1, 3]])


def test_other_records_are_ignored():
    assert matched(IDS[[3, 0, 1]], IDS, VALUES).tolist() == VALUES[[3, 0, 1]].tolist()


def test_records_given_twice_are_named_though_the_values_agree():
    with pytest.raises(DataError, match="1 record_ids given twice: 0000000000000003; "):
        matched(IDS, IDS[[0, 1, 2, 1, 3]], VALUES[[0, 1, 2, 1, 3]])


@pytest.mark.parametrize("value", [1.0001, -1.5, np.nan, np.inf])
def test_values_outside_the_limits_are_named(value):
    with pytest.raises(DataError, match=r"1 record_ids with a confidence outside \[-1, 1\] or NaN: 0000000000000003"):
        matched(IDS, IDS, np.where(IDS == 3, value, VALUES))


def test_only_the_first_three_are_named():
    ids = np.arange(5000, dtype=np.uint64)
    with pytest.raises(DataError, match=r"4,990 record_ids without a confidence: 0{15}a, 0{15}b, 0{15}c \.\.\.; "):
        matched(ids, ids[:10], np.zeros(10))


def test_ids_and_values_that_differ_in_number_are_refused():
    with pytest.raises(DataError, match="4 record_ids, but 3 values"):
        matched(IDS, IDS, VALUES[:3])


def test_no_values_for_some_records_are_refused():
    with pytest.raises(DataError, match="without a confidence"):
        matched(IDS, IDS[:0], VALUES[:0])
