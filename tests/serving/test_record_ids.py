"""An id of a record is sixteen hexadecimal digits, and nothing else that Python would read as a number."""

import pytest

from pipeline.base.errors import DataError
from pipeline.serving import labelling


def test_sixteen_digits_are_an_id():
    assert labelling.number_of("00000000000000fF") == 255


@pytest.mark.parametrize("text", ["-00000000000000f", "+00000000000000f", "0x0000000000000f", "0000_000_000_000f", ""])
def test_nothing_else_is(text, monkeypatch):
    monkeypatch.setattr(labelling, "_begins", lambda _: "")
    with pytest.raises(DataError, match="is no record id"):
        labelling.number_of(text)
