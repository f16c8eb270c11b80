"""The log of promotions as a chain: whatever is done to one of its lines is found."""

import hashlib
import json
import multiprocessing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.artifacts import paths
from pipeline.artifacts.files import append_line
from pipeline.serving.trust import chain, keys, trusted

LINES = 6
OLDER = 2


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A log of two lines from before and four signed ones, and the keys."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("log")
        (root / "params.yaml").touch()
        patch.chdir(root)
        patch.delenv("FLOWSCULPT_TRACKING_ROOT", raising=False)
        for number in range(LINES):
            line = {"decision": "promoted", "model": "m", "serving": number, "criteria": [{"n": 0.1 + number}]}
            append_line(paths.PROMOTIONS, line) if number < OLDER else chain.append(line)
        return paths.PROMOTIONS.read_bytes(), tuple(trusted.load())


def faults(content, known, thorough=True):
    return chain.parsed(content, known, thorough).faults


def test_a_log_that_nobody_touched_has_no_fault(whole):
    content, known = whole
    assert faults(content, known) == faults(content, known, thorough=False) == ()
    assert faults(content.removesuffix(b"\n"), known) == ()
    assert faults(content + b'{"half', known) == ()  # of a process that was killed; the next one puts it aside
    lines = content.splitlines()
    told = [json.loads(each) for each in lines]
    assert told[OLDER]["previous"] == hashlib.sha256(b"\n".join(lines[:OLDER])).hexdigest()
    for number in range(OLDER + 1, LINES):
        assert told[number]["previous"] == hashlib.sha256(lines[number - 1]).hexdigest()
    assert [each.get("sequence") for each in told] == [None, None, 1, 2, 3, 4]


def edited(lines, number, kind, place, char):
    """The log after one edit of one line."""
    line = lines[number]
    at = place % len(line)
    kinds = {
        "change": [line[:at] + char + line[at + 1 :]],
        "insert": [line[:at] + char + line[at:]],
        "delete": [line[:at] + line[at + 1 :]],
        "remove": [],
        "twice": [line, line],
        "swap": [lines[number - 1]],
        "forge": [line, line.replace(b'"serving": ', b'"serving": 7')],
        "unsigned": [line, b'{"decision": "promoted", "model": "m", "serving": 9}'],
    }
    after = [*lines[:number], *kinds[kind], *lines[number + 1 :]]
    if kind == "swap":
        after[number - 1] = line
    return b"\n".join(after) + b"\n"


@given(
    number=st.integers(0, LINES - 1),
    kind=st.sampled_from(["change", "insert", "delete", "remove", "twice", "swap", "forge", "unsigned"]),
    place=st.integers(0, 2000),
    char=st.integers(32, 126).map(lambda code: bytes([code])),
)
def test_any_edit_of_any_line_is_found(whole, number, kind, place, char):
    content, known = whole
    after = edited(content.splitlines(), number, kind, place, char)
    is_cut = kind == "remove" and number == LINES - 1  # see ``checks``: only the champion shows it
    if after == content or is_cut or (kind == "swap" and not number):
        return
    found = faults(after, known)
    assert found
    assert faults(after, known, thorough=False)
    if kind in ("change", "insert", "delete"):
        assert found[0].startswith(f"line {max(number, OLDER) + 1} ")


@pytest.mark.parametrize("number", range(OLDER, LINES))
@pytest.mark.parametrize("name", ["sequence", "previous", "keyid", "signature"])
def test_what_is_signed_cannot_be_taken_away(whole, number, name):
    content, known = whole
    lines = content.splitlines()
    told = json.loads(lines[number])
    del told[name]
    lines[number] = json.dumps(told).encode()
    assert faults(b"\n".join(lines) + b"\n", known)


def _append(root):
    for number in range(10):
        chain.append({"decision": "refused", "number": number})


def test_processes_that_append_at_once_keep_the_chain(project):
    keys.signer()
    with multiprocessing.get_context("fork").Pool(3) as pool:
        pool.map(_append, [str(project)] * 3)
    found = chain.read(thorough=True)
    assert (len(found.lines), found.faults, found.sequence) == (30, (), 30)
