"""The log of labels: it only grows, its lines are whole, and the last one on a record holds."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.artifacts import labels, paths
from pipeline.artifacts.labels import Label
from pipeline.base.errors import ArtifactError

NOW = "2026-01-31T09:00:00+00:00"


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def read_back(*said):
    """Labels, written one after the other, as they are read."""
    for label in said:
        labels.append(label)
    read = labels.read()
    assert read == [*said]
    return read


def test_a_label_is_read_back_as_it_was_written():
    columns = {"a": 0.1 + 0.2, "b": 1e300, "word": "tcp", "rate": float("inf"), "none": float("nan")}
    label = Label(2**64 - 1, "bot", "ada", NOW, "why\nso", "monday.csv", 7, columns)
    labels.append(label)
    (read,) = labels.read()
    assert read.columns == {**columns, "rate": "inf", "none": "nan"}  # which float() reads
    assert Label(**{**vars(read), "columns": columns}) == label
    assert labels.read() == [read]


def test_no_log_is_no_label():
    assert labels.read() == []
    paths.LABELS.parent.mkdir()
    paths.LABELS.touch()
    assert labels.read() == []


def test_the_last_line_holds_and_all_stay():
    read = read_back(Label(1, "bot", "ada", NOW), Label(2, "bot", "ada", NOW), Label(1, "benign", "ada", NOW))
    assert {number: label.verdict for number, label in labels.in_force(read).items()} == {
        1: "dismissed",
        2: "confirmed",
    }
    assert labels.contradictions(read) == []  # one person may change her mind


def test_two_people_who_differ_are_named_until_they_agree():
    said = [Label(1, "bot", "ada", NOW), Label(1, "benign", "bob", NOW)]
    (sentence,) = labels.contradictions(said)
    assert sentence == f"{1:016x}: ada says bot ({NOW}), bob says benign ({NOW}); the last one holds"
    again = [*said, Label(1, "bot", "ada", NOW)]
    assert labels.contradictions(again)[0].startswith(f"{1:016x}: bob says benign")
    assert labels.in_force(again)[1].attack == "bot"
    assert labels.contradictions([*said, Label(1, "benign", "ada", NOW)]) == []


def written(**changed):
    """The line of a label, in which some fields are changed by hand."""
    return json.dumps(Label(1, "bot", "ada", NOW).line() | changed)


LINES = {
    "lacks all": '{"record_id": "01"}',
    "lacks some": '{"record_id": "xyz", "label": "confirmed", "attack": "bot"}',
    "cut off": written(record_id="0f3c"),
    "longer than an id": written(record_id="f" * 17),
    "negative": written(record_id="-00000000000001f"),
    "no name": written(attack=""),
    "null": written(attack=None),
}


@pytest.mark.parametrize("line", LINES.values(), ids=LINES)
def test_a_line_that_is_no_label_is_named(line):
    labels.append(Label(1, "bot", "ada", NOW))
    with paths.LABELS.open("a") as log:
        log.write(line + "\n")
    with pytest.raises(ArtifactError, match=r"labels\.jsonl, line 2: is no label"):
        labels.read()


WRITER = """
from pipeline.artifacts import labels
from pipeline.artifacts.labels import Label
number = 0
while True:
    number += 1
    labels.append(Label(number, "bot", "ada", "now", columns={"a": float(number)}))
    print(number, flush=True)
"""


def test_a_kill_loses_no_label_that_was_said_to_be_written():
    writer = subprocess.Popen([sys.executable, "-c", WRITER], stdout=subprocess.PIPE, text=True)
    for _ in range(20):
        writer.stdout.readline()
    time.sleep(0.01)
    os.kill(writer.pid, signal.SIGKILL)
    told = 20 + len(writer.stdout.read().split())
    writer.wait()
    writer.stdout.close()
    read = labels.read()
    assert [label.record_id for label in read] == [*range(1, len(read) + 1)]
    assert len(read) >= told


def test_half_a_line_is_set_aside_and_the_log_goes_on():
    labels.append(Label(1, "bot", "ada", NOW))
    with paths.LABELS.open("a") as log:
        log.write('{"record_id": "00000000')
    labels.append(Label(2, "bot", "ada", NOW))
    assert [label.record_id for label in labels.read()] == [1, 2]


def test_the_shipped_log_has_no_label_and_no_warning_of_dvc():
    """DVC warns of a file without a byte at each stage that depends on it."""
    shipped = (Path(__file__).parents[2] / paths.LABELS).read_bytes()
    assert shipped
    paths.LABELS.parent.mkdir(exist_ok=True)
    paths.LABELS.write_bytes(b"\n")
    assert labels.read() == []
    labels.append(Label(1, "bot", "ada", "2026-01-31T09:00:00+00:00"))
    assert [label.record_id for label in labels.read()] == [1]


# What is unsure, and what is taken back.


def test_an_unsure_record_is_nothing_to_learn_and_stays_so_until_somebody_is_sure():
    read = read_back(Label(1, "bot", "ada", NOW), Label(1, "unsure", "ada", NOW), Label(2, "unsure", "bob", NOW))
    assert [label.verdict for label in read] == ["confirmed", "unsure", "unsure"]
    assert labels.in_force(read) == {}
    assert labels.last(read) == {1: read[1], 2: read[2]}
    sure = Label(2, "benign", "ada", NOW)
    assert labels.in_force([*read, sure]) == {2: sure}
    assert labels.contradictions([Label(1, "bot", "ada", NOW), Label(1, "unsure", "bob", NOW)]) == []


def test_what_is_taken_back_lets_hold_again_what_was_said_before():
    bot, scan, back = (Label(1, name, "ada", NOW) for name in ("bot", "port_scan", "taken_back"))
    assert labels.in_force([bot, scan, back]) == {1: bot}
    assert labels.in_force([bot, scan, back, back]) == {}
    assert labels.in_force([bot, back, back, scan]) == {1: scan}  # a line that finds nothing does nothing
    assert labels.standing([bot, scan, back]) == [bot]


def test_a_person_takes_back_only_what_they_said_on_that_record():
    ada, bob = Label(1, "bot", "ada", NOW), Label(1, "benign", "bob", NOW)
    assert labels.in_force([ada, bob, Label(1, "taken_back", "ada", NOW)]) == {1: bob}
    assert labels.in_force([ada, bob, Label(1, "taken_back", "bob", NOW)]) == {1: ada}
    assert labels.in_force([ada, Label(2, "taken_back", "ada", NOW)]) == {1: ada}
    assert labels.contradictions([ada, bob, Label(1, "taken_back", "bob", NOW)]) == []


def test_lines_that_were_written_before_read_as_they_did():
    line = '{"record_id": "%016x", "label": "%s", "attack": "%s", "by": "ada", "time": "t", "note": "", '
    line += '"source_file": "", "row": null, "columns": {}}'
    paths.LABELS.parent.mkdir()
    paths.LABELS.write_text("\n".join([line % (1, "confirmed", "bot"), line % (2, "dismissed", "benign"), ""]))
    assert {number: label.attack for number, label in labels.in_force(labels.read()).items()} == {1: "bot", 2: "benign"}


def test_many_labels_are_one_write_behind_half_a_line():
    paths.LABELS.parent.mkdir()
    paths.LABELS.write_text('{"record_id": "000')
    labels.append_all([Label(number, "bot", "ada", NOW) for number in range(100)])
    labels.append_all([])
    assert [label.record_id for label in labels.read()] == [*range(100)]
