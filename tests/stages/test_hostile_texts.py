"""One text that is live in every medium stands in each input; no output has it alive, and people can read it."""

import csv
import io
import logging
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from prefect import artifacts

from flows import explain, incidents, label, read, score, scoring
from flows.drift_check import Finding
from flows.reports import decisions, drift, summary
from flows.reports.decisions import Outcome
from flows.runtime import events, refusals, shown
from flows.triage.app import build
from flows.triage.desk import Desk
from flows.triage.sessions import Sessions
from pipeline.artifacts import labels, paths
from pipeline.artifacts.files import read_json, write_csv
from pipeline.artifacts.labels import Label
from pipeline.artifacts.tables import read_table, strings
from pipeline.base.errors import DataError, TrustError
from pipeline.base.escaping import printable
from pipeline.serving import registry
from pipeline.serving.alerts import stored
from pipeline.serving.version import Version
from pipeline.stages.reports.report import Report
from pipeline.tracking import operations
from pipeline.tracking import store as tracked
from tests.flows.triage.conftest import SECRET, Page
from tests.stages import hostile
from tests.stages.conftest import Project
from tests.stages.hostile import CELL, MEMBER, NAME, TEXT, WORD

ATTACK = "own_attack"
SHOWN = printable(NAME)


def rows(n, seed):
    """Cells of n records of two kinds of attacks, which have a hostile word and overlap with benign ones."""
    random = np.random.default_rng(seed)
    for place in range(n):
        attack = ("", "", "", "", ATTACK, "other one")[place % 6]
        shift = 5.0 * bool(attack)
        values = (random.normal(shift, 3), random.normal(shift / 2, 5), random.gamma(2, 3 + shift))
        word = WORD if place % 60 == 5 else (CELL, "tcp", "udp")[place % 3]  # a row that is rejected
        yield [*(f"{value:.4f}" for value in values), word, attack or "benign"]


def table(n, seed, column=CELL):
    """A CSV whose second column has a hostile name."""
    stream = io.StringIO(newline="")
    written = csv.writer(stream)
    written.writerow(["size", column, "rate", "proto", "label"])
    written.writerows(rows(n, seed))
    return stream.getvalue()


class Drawn(Project):
    """A project of hostile records, with its figures."""

    report = Report

    def __init__(self):
        super().__init__()
        self.set("ingest.dataset", "table")
        self.set("ingest.max_rejected_share", 0.05)
        self.set("ingest.table.categorical", ["proto"])
        self.set("preprocess.unseen", ["other_one"])
        self.set("preprocess.features.categorical", "count")
        self.set("alerts.sensor", TEXT)
        self.set("alerts.level", "p95")
        self.set("alerts.sinks.active", ["eve", "ecs"])
        self.set("alerts.sinks.incidents", ["eve", "ecs"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder in which all stages ran."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        project = Drawn()
        project.raw.mkdir(parents=True)
        (project.raw / f"{NAME}.csv").write_text(table(900, 0), "utf-8")
        with zipfile.ZipFile(project.raw / "b.zip", "w") as archive:
            archive.writestr(f"{MEMBER}.csv", table(900, 1))
        project.run("ingest")
        records = read_table(paths.RECORDS)
        for record in records.filter(strings(records.column("attack")) == ATTACK).slice(0, 3).to_pylist():
            labels.append(Label(record["record_id"], ATTACK, WORD, "2026-01-31T09:00:00+00:00", TEXT))
        project.run("validate", "preprocess", "stage1", "stage2", "calibrate", "evaluate")
    return folder


@pytest.fixture
def prepared(trained, tmp_path, monkeypatch):
    """The project of the fixtures of scoring."""
    monkeypatch.chdir(shutil.copytree(trained, tmp_path / "project"))
    monkeypatch.setattr(paths, "INCOMING", tmp_path / "new")
    return Drawn()


@pytest.fixture
def inbox(prepared, tmp_path):
    """What came in: a file and an archive of hostile names, and two that cannot be read."""
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / f"{NAME}.csv").write_text(table(300, 2).replace("udp", f"{CELL}2"), "utf-8")
    with zipfile.ZipFile(folder / f"{NAME}.zip", "w") as archive:
        archive.writestr(f"{MEMBER}.csv", table(60, 3))
    with zipfile.ZipFile(folder / f"bad{NAME}.zip", "w") as archive:
        archive.writestr(f"{TEXT}.csv", table(60, 5))
    (folder / f"bad{NAME}.csv").write_text(table(9, 4, f"{WORD}2"), "utf-8")
    return folder


@pytest.fixture
def pages(monkeypatch):
    """What Prefect gets: pages, and the words of tables, by their keys."""
    got = {}

    def keep(content, key, description=None):
        got[key] = content if isinstance(content, str) else "\n\n".join(_words(content))
        got[f"{key}, in a word"] = description or ""

    monkeypatch.setattr(artifacts, "create_markdown_artifact", keep)
    monkeypatch.setattr(artifacts, "create_table_artifact", keep)
    return got


def _words(table):
    return [word for row in table for cells in row.items() for word in cells if isinstance(word, str)]


def printed(capsys):
    """What a command has printed on both streams."""
    out, err = capsys.readouterr()
    return out + err


def test_what_training_leaves_is_harmless(trained):
    assert hostile.in_files(trained / "data") == {}
    reports = [*(trained / paths.REPORTS).rglob("*.html")]
    assert any("&lt;script&gt;alert(1)" in path.read_text() for path in reports)  # people can read it


def test_what_scoring_leaves_is_harmless(store, inbox, task, pages, monkeypatch, caplog):
    monkeypatch.setattr(scoring, "create_markdown_artifact", shown.create_markdown_artifact)
    monkeypatch.setattr(scoring, "create_table_artifact", shown.create_table_artifact)
    with caplog.at_level(logging.INFO):
        state = scoring.scoring.fn(str(inbox), format="csv")
    assert len(state.data.scored) == 2 and len(state.data.quarantined) == 2
    assert "HYPERLINK" in pages["scoring-summary"] and "HYPERLINK" in pages["scoring-files"]
    assert {key: live for key, page in pages.items() if (live := hostile.in_markdown(page))} == {}
    assert hostile.in_files(Path("data")) == {}
    assert hostile.in_text(str(state.message)) == hostile.in_text(caplog.text) == []
    summaries = [*(paths.SCORED / "summaries").iterdir()]
    assert {read_json(path)["source"] for path in summaries} >= {f"{SHOWN}.csv"}


def test_what_commands_print_is_harmless(store, inbox, capsys):
    path = str(inbox / f"{NAME}.csv")
    assert score.main([path]) == 0
    said = printed(capsys)
    assert f"{SHOWN}.csv" in said and hostile.in_text(said) == []
    assert score.main([str(inbox / f"bad{NAME}.csv")]) == 1
    incidents.main(["--all"])
    explain.main([path])
    read.main([path])
    keys = [f"{number:016x}" for number in stored.read().column("record_id").to_pylist()[:2]]
    assert label.main([*keys, "--confirmed", "bot", "--by", WORD, "--note", TEXT]) == 0
    assert label.main([keys[0], "--confirmed", WORD]) == 1
    assert label.main([keys[0], "--dismissed", "--by", "ada"]) == 0
    said = printed(capsys)
    assert "HYPERLINK" in said and hostile.in_text(said) == []


def test_a_label_from_a_csv_that_a_spreadsheet_kept_has_the_word_of_its_author(store, inbox):
    score.main([str(inbox / f"{NAME}.csv")])
    number = stored.read().column("record_id")[0].as_py()
    write_csv(Path("verdicts.csv"), [{"record_id": f"{number:016x}", "label": "bot", "by": "=ada", "note": "-me"}])
    assert "'=ada" in Path("verdicts.csv").read_text()
    assert label.main(["--from", "verdicts.csv"]) == 0
    assert (labels.read()[-1].by, labels.read()[-1].note) == ("=ada", "-me")


def test_the_triage_page_is_harmless(store, inbox):
    score.main([str(inbox / f"{NAME}.csv")])
    desk = Desk()
    desk.refresh()
    now = desk.index.now
    labels.append(Label(int(now.record_id[0]), "bot", TEXT, "2026-01-31T09:00:00+00:00", TEXT))
    page = Page(build(desk, Sessions(SECRET)))
    page.log_in()
    alert, incident = now.table.column("alert")[0].as_py(), now.incidents[0].incident
    asked = ("/", f"/incident/{incident}", f"/alert/{alert}", "/marks", "/model", "/?kind=" + "%3Cscript%3Ealert(1)")
    answers = {path: page.get(path) for path in asked}
    assert {path: answer.status_code for path, answer in answers.items() if answer.status_code != 200} == {}
    assert {path: live for path, answer in answers.items() if (live := hostile.in_html(answer.text))} == {}
    assert "HYPERLINK" in answers[f"/alert/{alert}"].text and "HYPERLINK" in answers["/marks"].text


# What no run above comes to.


def test_reasons_and_errors_are_harmless_on_pages_and_in_events(pages, monkeypatch):
    version = Version(3, f"run{WORD}", f"{WORD}", {}, ("champion",))
    outcome = Outcome("refused", version, version, (TEXT, str(DataError(TEXT))), None, {"benign": 1}, WORD)
    found = Finding("train", TEXT, 3, 9, 8, (), np.zeros(0), (TEXT,), 4, TEXT)
    summary.publish([], [{"section": TEXT, "threshold": WORD}], DataError(f"```\n{TEXT}"))
    made = [decisions.markdown(outcome), drift.markdown(found), *pages.values()]
    assert [live for page in made if (live := hostile.in_markdown(page))] == []
    assert all("HYPERLINK" in page for page in (*made[:2], pages["training-summary"]))
    got = []
    monkeypatch.setattr(events, "emit_event", lambda *_, **given: got.append(given))
    with pytest.raises(TrustError), refusals.announced():
        raise TrustError(TEXT)
    assert hostile.in_text(got[0]["payload"]["reason"]) == []


def test_tags_and_settings_are_one_line_in_mlflow(monkeypatch):
    got = []
    client = SimpleNamespace(
        log_batch=lambda _, metrics, params, tags: got.extend(each.value for each in (*params, *tags)),
        set_tag=lambda _, name, value: got.append(value),
        set_terminated=lambda *_: None,
        set_model_version_tag=lambda model, number, name, value: got.append(value),
    )
    monkeypatch.setattr(tracked, "client", lambda: client)
    operations.apply({"call": "log", "run": "a", "params": {"ingest.path": TEXT}, "tags": {"flowsculpt.preset": TEXT}})
    operations.apply({"call": "close", "run": "a", "time": 0, "status": "FAILED", "error": str(DataError(TEXT))})
    registry.note(Version(3, "run", "", {}, ()), {"flowsculpt.gate.reasons": TEXT}, {})
    assert got == [printable(TEXT)] * 4
