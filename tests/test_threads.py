"""What the threads of libraries may do while tests run."""

import random
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st


def _beside_a_thread_that_draws(number):
    with ThreadPoolExecutor(1) as others:  # as the pings of Prefect's events do, which may come at any moment
        others.submit(random.random).result()
    return number


@settings(max_examples=5)
@given(st.builds(_beside_a_thread_that_draws, st.integers()))
def test_another_thread_may_draw_random_numbers_while_hypothesis_draws_an_example(number):
    assert isinstance(number, int)
