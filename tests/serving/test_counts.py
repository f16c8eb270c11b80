"""One is not many."""

import pytest

from pipeline.serving.counts import counted


@pytest.mark.parametrize(
    ("n", "words", "said"),
    [
        (0, ["record"], "0 records"),
        (1, ["record"], "1 record"),
        (2, ["record"], "2 records"),
        (1_234, ["record"], "1,234 records"),
        (1, ["record has", "records have"], "1 record has"),
        (0, ["record has", "records have"], "0 records have"),
        (1, ["discovery", "discoveries"], "1 discovery"),
    ],
)
def test_a_count_has_the_word_that_fits(n, words, said):
    assert counted(n, *words) == said
