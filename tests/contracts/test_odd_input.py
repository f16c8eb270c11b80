"""Each kind of input that the project reads from its users is taken, or refused in words, whatever stands in it."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from benchmarks.fuzz.kinds import KINDS
from benchmarks.fuzz.odd import DEEP, odd
from benchmarks.fuzz.trial import take

FOUND = sorted((Path(__file__).parent / "odd").iterdir())  # what gave way once, as the benchmark left it
SLOW = ("params", "bundle")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", KINDS)
def test_a_good_input_is_taken(name, folder):
    assert take(KINDS[name], KINDS[name].good(), folder) == "taken"


@pytest.mark.parametrize("name", KINDS)
def test_an_odd_input_is_taken_or_refused_in_words(name, folder):
    @settings(
        max_examples=25 if name in SLOW else 60,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(odd(KINDS[name]))
    def holds(content):
        assert take(KINDS[name], content, folder) in ("taken", "refused")

    holds()


@pytest.mark.parametrize("file", FOUND, ids=lambda file: file.name)
def test_what_gave_way_once_is_taken_or_refused_in_words(file, folder):
    name = file.name.partition("-")[0]
    assert take(KINDS[name], file.read_bytes(), folder) in ("taken", "refused")


DEEPER = {"line": DEEP, "lines": DEEP.replace(b"[", b"[\n"), "names": b'{"a":' * len(DEEP)}


@pytest.mark.parametrize("name", [name for name, kind in KINDS.items() if kind.form and not kind.is_whole])
@pytest.mark.parametrize("deep", DEEPER)
def test_thousands_of_brackets_are_taken_or_refused_in_words(name, deep, folder):
    first = KINDS[name].good().partition(b"\n")[0]
    for content in (DEEPER[deep], first[:-1] + b', "x": ' + DEEPER[deep] + b"\n"):
        assert take(KINDS[name], content, folder) in ("taken", "refused")
