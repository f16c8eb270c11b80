"""A mark that was acknowledged is in the log, as `flowsculpt label` writes it; one click takes it back."""

import json
from html import unescape

import numpy as np
import pytest

from flows.triage import views
from flows.triage.app import build
from flows.triage.filters import Filter
from flows.triage.sessions import Sessions
from pipeline.artifacts import labels, paths
from pipeline.artifacts.labels import Label
from pipeline.serving import labelling
from tests.flows.triage.conftest import SECRET, Page


@pytest.fixture
def keys(desk):
    """Alerts whose raw columns were kept, the strongest first, with their records."""
    shown = desk.index.now
    order = np.argsort(shown.table.column("p_value").to_numpy())[:380]
    return [(shown.table.column("alert")[int(row)].as_py(), int(shown.record_id[row])) for row in order]


def test_alerts_are_marked_in_bulk_as_the_command_label_would(page, keys, marked):
    answer = page.mark("attack", [key for key, _ in keys[:5]], name="Bot", note="beacons")
    assert "5 alerts marked bot." in answer.text
    assert marked() == {record: "bot" for _, record in keys[:5]}
    (first, *_) = labels.read()
    found = labelling.find([f"{first.record_id:016x}"])[first.record_id]
    assert (first.by, first.note, first.columns, first.row) == ("ada", "beacons", found.columns, found.row)
    assert {json.loads(line)["label"] for line in paths.LABELS.read_text().splitlines()} == {"confirmed"}


def test_benign_and_unsure_and_a_new_name(page, keys, marked):
    page.mark("benign", [keys[0][0]])
    page.mark("unsure", [keys[1][0]])
    refused = page.mark("attack", [keys[2][0]], name="crypto miner")
    assert "is no known attack" in refused.text and "tick “new name”" in refused.text
    page.mark("attack", [keys[2][0]], name="crypto miner", new="1")
    assert [marked()[record] for _, record in keys[:3]] == ["benign", "unsure", "crypto_miner"]
    assert [*labels.in_force(labels.read()).values()] == [
        each for each in labels.read() if each.attack in ("benign", "crypto_miner")
    ]


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"what": "attack", "name": ""}, "give the attack a name"),
        ({"what": "attack", "name": "taken back", "new": "1"}, "a word of the log itself"),
        ({"what": "attack", "name": "port scam"}, "did you mean"),
        ({"what": "attack", "name": "x" * 81, "new": "1"}, "at most 80 printable characters"),
        ({"what": "nonsense"}, "given 'nonsense'"),
        ({"what": "benign", "note": "x" * 2_001}, "at most 2,000 characters"),
    ],
)
def test_what_cannot_be_said_is_refused_with_the_reason_and_writes_nothing(page, keys, marked, fields, sentence):
    answer = page.mark(alerts=[keys[0][0]], **fields)
    assert sentence in unescape(answer.text)
    assert marked() == {}


def test_nothing_chosen_and_alerts_that_are_gone_mark_nothing(page, marked):
    assert "choose an alert first" in page.mark("benign").text
    assert "choose an alert first" in page.mark("benign", ["0" * 32]).text
    assert marked() == {}


def test_what_was_marked_last_is_taken_back_by_one_click(page, keys, marked):
    page.mark("benign", [keys[0][0]])
    page.mark("attack", [key for key, _ in keys[:3]], name="bot")
    answer = page.mark("undo", last="1")
    assert "3 marks taken back." in answer.text
    assert marked() == {keys[0][1]: "benign"}
    assert "choose an alert first" in page.mark("undo", last="1").text


def test_a_mark_is_taken_back_from_the_history(page, keys, marked):
    for key, _ in keys[:2]:
        page.mark("benign", [key])
    page.post("/marks", {"csrf": page.token, "what": "undo", "record": f"{keys[0][1]:016x}", "back": "/marks"})
    assert marked() == {keys[1][1]: "benign"}
    text = page.get("/marks").text
    assert text.count("taken back") == 1 and "1 is benign" in text


def test_two_people_keep_their_own_marks_and_see_each_other(app, page, keys, marked):
    bob = Page(app)
    bob.log_in("bob")
    key, record = keys[0]
    page.mark("attack", [key], name="bot")
    disputed = bob.mark("benign", [key])
    assert "People disagree" in disputed.text and "ada says bot" in disputed.text
    assert marked() == {record: "benign"}
    assert "you have no mark" in bob.mark("undo", [keys[1][0]]).text
    page.mark("undo", [key])  # ada takes back what she said herself
    assert marked() == {record: "benign"}
    bob.mark("undo", [key])
    assert marked() == {}
    assert "ada" in bob.get("/marks").text and "bob" in page.get("/marks").text


def test_what_the_command_writes_appears_at_once(page, keys):
    labels.append(Label(keys[0][1], "heartbleed", "carol", "2026-03-02T20:00:00+00:00", "by hand"))
    text = page.get("/marks").text
    assert "carol" in text and "heartbleed" in text and "by hand" in text
    alert = page.get(f"/alert/{keys[0][0]}").text
    assert "carol" in alert


def test_a_whole_incident_is_marked_and_leaves_the_open_ones(page, desk, marked):
    shown = desk.index.now
    place = next(at for at, each in enumerate(shown.incidents) if each.kind == "many tries")
    incident = shown.incidents[place]
    answer = page.post(
        "/marks",
        {"csrf": page.token, "what": "attack", "name": "ssh_patator", "incident": incident.incident, "back": "/"},
    )
    kept = len(marked())
    assert 0 < kept <= incident.alerts
    assert f"{kept:,} alerts marked ssh_patator." in answer.text
    if kept == incident.alerts:
        assert incident.incident not in answer.text
    assert incident.incident in page.get("/?state=all").text
    assert f"{kept} of" in page.get(f"/incident/{incident.incident}").text


def test_records_without_raw_columns_are_not_marked_and_counted(page, desk, marked):
    shown = desk.index.now
    answer = page.mark("benign", shown.table.column("alert").to_pylist())
    assert len(marked()) == 390
    assert "10 were not marked, because their raw columns were not kept." in answer.text


def test_a_log_that_starts_anew_is_read_anew(page, keys, desk):
    page.mark("benign", [key for key, _ in keys[:3]])
    assert len(desk.marks.now().last) == 3
    line = paths.LABELS.read_bytes().splitlines(keepends=True)[0]
    paths.LABELS.unlink()
    assert desk.marks.now().last == {}
    paths.LABELS.write_bytes(line + line[:20])
    assert len(desk.marks.now().history) == 1  # half a line is not read


def test_marks_outlive_the_page(page, desk, keys, marked):
    page.mark("benign", [keys[0][0]])
    again = Page(build(desk, Sessions(SECRET)))
    assert again.get("/marks").url.path == "/login"
    again.log_in()
    assert "1 is benign" in again.get("/marks").text


def test_a_log_that_is_damaged_is_said_and_marks_nothing(page, keys):
    page.mark("benign", [keys[0][0]])
    with paths.LABELS.open("a") as log:
        log.write('{"record_id": "zz"}\n')
    answer = page.get("/")
    assert answer.status_code == 400
    assert "is no label" in unescape(answer.text)


def test_the_queue_counts_marks_of_each_kind(page, desk, keys):
    for what, (key, _) in zip(("benign", "benign", "unsure"), keys, strict=False):
        page.mark(what, [key])
    shown, said = desk.now()
    lines = [line for n in range(1, 20) for line in views.queue(shown, said, Filter(state="all"), str(n)).lines]
    whole = {line.incident.incident: line.marks for line in lines}  # a page beyond the last is the last
    n = len(shown.table)
    assert np.sum([*whole.values()], axis=0).tolist() == [n - 3, 0, 2, 1]


def test_the_history_offers_to_take_back_the_last_own_mark_of_a_record_alone(page, app, keys, marked):
    (key, record), (other, _) = keys[:2]
    page.mark("attack", [key], name="bot")
    page.mark("benign", [key, other])
    grace = Page(app)
    grace.log_in("grace")
    grace.mark("unsure", [key])
    form = f'name="record" value="{record:016x}"'
    assert page.get("/marks").text.count(form) == 1
    assert grace.get("/marks").text.count(form) == 1
    rows = page.get("/marks").text.split("<tr data-row")[1:]
    (offered,) = (row for row in rows if form in row)
    assert "benign" in offered and "bot" not in offered
