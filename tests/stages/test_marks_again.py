"""The triage page shows what today's champion makes of each record that somebody has marked."""

import json

from flows.triage import champion
from flows.triage.champion import Champion, Judged
from pipeline.artifacts import labels, paths
from pipeline.artifacts.labels import Label
from pipeline.artifacts.tables import read_table
from pipeline.serving import labelling
from pipeline.serving.bundle import Bundle

NOW = "2026-01-31T09:00:00+00:00"


def mark(record, attack, **changed):
    columns = labelling._found(record).columns | changed
    return Label(record["record_id"], attack, "ada", NOW, columns=columns)


def test_each_mark_has_the_verdict_of_the_model_beside_what_people_said(prepared):
    bundle = Bundle.of_project()
    records = read_table(paths.RECORDS)
    said = bundle.predict(records).flagged["p99"]
    rows = records.to_pylist()
    loud, quiet = (
        next(row for row, flag in zip(rows, said.tolist(), strict=True) if flag is found) for found in (True, False)
    )
    marks = [mark(loud, "bot"), mark(quiet, "benign")]
    answer = champion.parsed(json.loads(json.dumps(champion.judged(marks, bundle, "p99"))))
    assert answer.records[loud["record_id"]].words.startswith("alert at p99")
    assert answer.records[quiet["record_id"]].words.startswith("quiet")
    assert {each.tone for each in answer.records.values()} == {"good"}
    other = champion.parsed(champion.judged([mark(loud, "benign"), mark(quiet, "unsure")], bundle, "p99"))
    assert [other.records[row["record_id"]].tone for row in (loud, quiet)] == ["bad", ""]


def test_what_the_model_has_learnt_is_said_and_what_it_cannot_read_too(prepared):
    bundle = Bundle.of_project()
    rows = {row["record_id"]: row for row in read_table(paths.RECORDS).to_pylist()}
    used = rows[int(bundle.used[0])]
    bare = Label(1, "bot", "ada", NOW)
    foreign = Label(2, "bot", "ada", NOW, columns={"bytes": 3.0})
    answer = champion.judged([mark(used, "benign"), bare, foreign], bundle, "p99")
    assert answer["records"][f"{used['record_id']:016x}"][0].endswith(", learnt")
    assert answer["absent"] == {f"{1:016x}": "no columns kept", f"{2:016x}": "other columns"}


def test_values_that_json_spells_as_words_are_numbers_again(prepared):
    bundle = Bundle.of_project()
    row = read_table(paths.RECORDS).slice(0, 1).to_pylist()[0]
    labels.append(mark(row, "bot", flow_bytes_s=float("inf")))
    (read,) = labels.read()
    assert champion.judged([read], bundle, "p99")["records"]


def test_without_a_champion_the_page_says_why(project):
    answer = champion.asked()
    assert answer.records == {}
    assert "The champion cannot be asked" in answer.sentence


def test_the_champion_is_asked_in_the_background_and_once_for_the_same_marks(project, monkeypatch):
    asked = []
    monkeypatch.setattr(champion, "asked", lambda: asked.append(1) or Judged("done"))
    page = Champion()
    assert page.now() == Judged()  # nobody has marked anything
    labels.append(Label(1, "bot", "ada", NOW))
    assert "load this page again" in page.now().sentence
    while page.now().sentence != "done":
        pass
    assert page.now() == Judged("done")
    assert asked == [1]
