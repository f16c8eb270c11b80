"""The gate sees live traffic: a candidate is refused for alarms that the champion does not raise, and for no other."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from flows import promotion
from flows.reports import decisions
from pipeline import config, tracking
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, read_lines, write_json
from pipeline.serving import arrivals, batch, judged, quarantine, registry, scored, shadow
from pipeline.settings.promotion import Rules
from tests.flows.test_promotion_flow import COLUMNS, SETTINGS, Registry, models

HOST = "10.0.0.5"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A champion that reads two columns, and candidates that read all four and are better on held-out records."""
    asked = {"champion": {"columns": COLUMNS[:2]}, "candidate": {}}
    return models(tmp_path_factory.mktemp("live"), asked, dataset="table", synthetic=True)


@pytest.fixture
def project(made, tmp_path, monkeypatch):
    """A registry with a champion and a candidate, and no record that arrived."""
    (tmp_path / "data").mkdir()
    for name in ("interim", "processed"):
        (tmp_path / "data" / name).symlink_to(made.root / "data" / name)
    (tmp_path / "params.yaml").write_bytes(config.PARAMS.resolve().read_bytes())
    monkeypatch.chdir(tmp_path)
    settings(**SETTINGS)
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI", tracking.PARENT_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    store = Registry(tmp_path / "registry")
    for name in ("find_version", "fetch", "promote", "rollback", "note"):
        monkeypatch.setattr(registry, name, getattr(store, name))
    store.add(made.champion)
    store.aliases["champion"] = 1
    store.signed(1)
    store.add(made.candidate)
    return store


def settings(**changed):
    """Change settings of promotion."""
    params = yaml.safe_load(config.PARAMS.read_text())
    params["promotion"] |= changed
    config.PARAMS.write_text(yaml.safe_dump(params))


def benign(n=1500, unknown=0.0, wave=0.0, seed=5):
    """Benign records, of which the candidate finds a share unlike those of training, and a share of attacks."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((n, len(COLUMNS)))
    x[random.random(n) < unknown, 2] += 9  # a column that the champion does not read
    x[random.random(n) < wave] += 9
    return x


def score(made, x, name="live.csv", version=2, host=HOST):
    """Let a version score records as they arrive in a file of their own."""
    table = pd.DataFrame(x, columns=list(COLUMNS))
    table["src_ip"] = host
    table["timestamp"] = "2026-03-01 10:00:00"
    folder = paths.INCOMING
    folder.mkdir(exist_ok=True)
    table.to_csv(folder / name, index=False)
    (file,) = arrivals.find(folder / name)
    summary = batch.score(file, made.candidate if version == 2 else made.champion, version)
    return file, summary


def later(summary, time):
    """Say that a file was scored at another time."""
    for path in (paths.SCORED / "summaries").glob(f"*{summary['source_sha256']}*.json"):
        write_json(path, read_json(path) | {"time": time})


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_candidate_that_alarms_on_benign_traffic_is_refused(project, made):
    score(made, benign(unknown=0.23))
    outcome = promotion.promote()
    assert (outcome.kind, outcome.code, project.champion) == ("refused", 3, 1)
    assert outcome.decision.passed  # held-out records alone would have promoted it
    found = outcome.shadow.alarms
    assert 0.2 < found.candidate.share < 0.28 and found.champion.share < 0.03
    (reason,) = outcome.reasons
    assert reason.startswith("on the 1,500 records that arrived last this candidate alarms on 2")
    assert "% were promised; the champion on " in reason and "promotion.shadow.margin" in reason
    assert project.find_version(2).tags["flowsculpt.gate"] == "refused"


def test_a_wave_of_attacks_that_both_see_refuses_nobody(project, made):
    score(made, benign(wave=0.3))
    outcome = promotion.promote()
    assert (outcome.kind, project.champion) == ("promoted", 2), outcome.reasons
    found = outcome.shadow.alarms
    assert min(found.candidate.share, found.champion.share) > 0.25
    assert found.candidate.alarms > found.candidate.high


def test_quiet_traffic_is_said_to_be_quiet(project, made):
    score(made, benign())
    outcome = promotion.promote()
    assert outcome.kind == "promoted"
    assert any("on the 1,500 records that arrived last" in reason for reason in outcome.reasons)
    assert not outcome.shadow.refusal


def test_where_no_records_arrived_the_gate_decides_without_them_and_says_so(project, made):
    outcome = promotion.promote()
    assert outcome.kind == "promoted"
    told = "live traffic decides nothing: 0 records that arrived last can judge, needed are 1,000"
    assert told in outcome.reasons
    assert "## Live traffic" in decisions.markdown(outcome)


def test_too_few_records_decide_nothing_and_say_how_many_are_needed(project, made):
    score(made, benign(900, unknown=0.5))
    outcome = promotion.promote()
    assert outcome.kind == "promoted"
    assert any("900 records that arrived last can judge, needed are 1,000" in reason for reason in outcome.reasons)


@pytest.mark.parametrize("whose", ["candidate", "champion"])
def test_records_that_a_model_was_fitted_on_are_no_evidence_nor_what_was_left_of_their_file(project, made, whose):
    score(made, benign(2000, unknown=0.5), "used.csv")
    score(made, benign(1200, seed=6), "other.csv")
    (used, *_) = (each for each in scored.last_samples(1) if each.source == "used.csv")
    ids = used.records.column("record_id").to_numpy()[::3]
    bundles = {1: made.champion, 2: made.candidate}
    number = {"champion": 1, "candidate": 2}[whose]
    before = bundles[number]
    bundles[number] = before.with_calibration(before.calibration, ids)
    rules = config.load(Rules)
    found = shadow.run({2: bundles[2], 1: bundles[1]}, rules, 3.0)
    assert (found.records, found.left_out) == (1200, {shadow.USED: 2000})
    assert not found.refusal
    assert shadow.run({2: made.candidate, 1: made.champion}, rules, 3.0).refusal


def test_quarantined_and_foreign_files_are_not_used(project, made):
    held, _ = score(made, benign(1100, unknown=0.5), "held.csv")
    quarantine.put(held.path, held.name, held.sha256, 1, "it lacks a column")
    score(made, benign(1300, unknown=0.5, seed=6), "foreign.csv")
    for path in (paths.SCORED / "summaries").glob("foreign*.json"):
        about = read_json(path)
        write_json(path, about | {"contract": about["contract"] | {"foreign": True}})
    outcome = promotion.promote(dry_run=True)
    assert outcome.kind == "passed"
    assert outcome.shadow.left_out == {shadow.HELD: 1100, shadow.FOREIGN: 1300}
    assert "1,100 are left out: they are in quarantine" in outcome.shadow.sentence


def test_records_of_columns_that_a_model_lacks_are_left_out(project, made):
    score(made, benign(unknown=0.5), version=1)  # a sample of a table has the columns that its model reads
    outcome = promotion.promote(dry_run=True)
    assert (outcome.kind, outcome.shadow.left_out) == ("passed", {shadow.UNREADABLE: 1500})


def test_only_the_records_that_arrived_last_judge_and_each_counts_once(project, made, monkeypatch):
    monkeypatch.setattr(judged, "SAMPLE", 5000)
    grown = benign(1600, seed=7)
    settings(shadow={"records": 2000, "min_records": 1000, "margin": 0.0075})
    _, old = score(made, benign(1500, unknown=0.9), "old.csv")
    later(old, "2026-01-01T00:00:00+00:00")
    _, first = score(made, grown[:1000], "day.csv")
    later(first, "2026-01-02T00:00:00+00:00")
    _, second = score(made, grown, "day.csv")
    later(second, "2026-01-03T00:00:00+00:00")
    read = []
    monkeypatch.setattr(scored, "read_table", lambda path, *given: read.append(path) or _read(path, *given))
    found = promotion.promote(dry_run=True).shadow
    assert (found.records, found.files) == (2000, 2)  # 1,600 of the day, none of them twice, and 400 of the old file
    assert len(read) == 3
    settings(shadow={"records": 1500, "min_records": 1000, "margin": 0.0075})
    read.clear()
    assert promotion.promote(dry_run=True).shadow.records == 1500
    assert len(read) == 1  # older samples are not even read


_read = scored.read_table


def test_memory_does_not_grow_with_the_number_of_files(project, made, monkeypatch):
    """Arrow's live bytes, looked at for each file."""
    judge, live, peaks = shadow._predicted, [], []
    monkeypatch.setattr(shadow, "_predicted", lambda *given: live.append(pa.total_allocated_bytes()) or judge(*given))
    for files in (3, 24):
        for i in range(files):
            score(made, benign(400, seed=100 * files + i), f"{files}-{i}.csv")
        live.clear()
        before = pa.total_allocated_bytes()
        shadow.run({2: made.candidate, 1: made.champion}, config.load(Rules), 3.0)
        peaks.append((len(live), max(live) - before))
    (few, low), (many, high) = peaks
    assert (few, many) == (3, 27)
    assert high < 2 * low + (1 << 20)


def test_the_time_of_arrival_is_that_of_the_first_scoring(project, made):
    score(made, benign(1000), "a.csv", version=2)
    score(made, benign(1000), "a.csv", version=1)
    (path,) = (paths.SCORED / "summaries").glob("*-v2.json")
    write_json(path, read_json(path) | {"time": "2026-01-01T00:00:00+00:00"})
    score(made, benign(1000, seed=8), "b.csv")
    assert [each.source for each in scored.last_samples(1)] == ["b.csv", "a.csv"]
    assert "gamma" not in next(each for each in scored.last_samples(1) if each.source == "a.csv").records.column_names
    assert "gamma" in next(each for each in scored.last_samples(None) if each.source == "b.csv").records.column_names


def test_a_summary_that_is_not_whole_is_passed_over(project, made):
    score(made, benign(unknown=0.9))
    for path in (paths.SCORED / "samples").glob("*"):
        path.write_bytes(path.read_bytes()[:-1])
    (paths.SCORED / "summaries" / "torn.json").write_text("{")
    (paths.SCORED / "summaries" / "other.json").write_text("[]")
    assert promotion.promote().kind == "promoted"


def test_the_run_writes_nothing_where_alerts_are_and_a_dry_run_nothing_at_all(project, made):
    score(made, benign(unknown=0.5))
    before = contents(paths.DATA)
    assert promotion.promote(dry_run=True).code == 3
    assert contents(paths.DATA) == before and not project.notes
    promotion.promote()
    assert {path for path in contents(paths.DATA) if path not in before} == {paths.PROMOTIONS}


def test_the_decision_says_it_in_json_and_as_metrics_without_hosts_in_the_log(project, made):
    score(made, benign(unknown=0.23))
    promotion.promote()
    ((_, _, files),) = project.notes
    kept = json.loads(next(text for name, text in files.items() if name.endswith(".json")))
    assert kept["shadow"]["records"] == 1500 and kept["shadow"]["alarms"]["candidate"]["records"] == 1500
    assert len(kept["differences"]["first"]) == 20
    assert kept["differences"]["most"]["host"][0][0] == HOST
    (line,) = read_lines(paths.PROMOTIONS)[-1:]
    assert line["shadow"]["refusal"] and "differences" not in line and HOST not in json.dumps(line)
    assert project.metrics == {
        "shadow.records": 1500,
        "shadow.candidate_alarm_share": kept["shadow"]["alarms"]["candidate"]["alarms"] / 1500,
        "shadow.champion_alarm_share": kept["shadow"]["alarms"]["champion"]["alarms"] / 1500,
        "shadow.excess": pytest.approx(0.23, abs=0.05),
    }


def test_the_page_shows_where_the_two_differ_and_no_markup_of_a_file(project, made):
    score(made, benign(unknown=0.23), "a<b>|c.csv", host="<script>alert(1)</script>")
    page = decisions.markdown(promotion.promote(dry_run=True))
    assert "<script>" not in page and "<b>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page and "a&lt;b&gt;&#124;c.csv" in page
    assert "| file | candidate alone | champion alone |" in page
    assert "| day | candidate alone | champion alone |\n| --- | --- | --- |\n| 2026-03-01 |" in page
    assert "The first 20 of these records:" in page
    header = "| file | row | src_ip | timestamp | candidate p | champion p | alarm by |"
    assert header in page
    rows = page.partition(header)[2].strip().splitlines()[1:21]
    assert len(rows) == 20 and all(row.count("|") == 8 for row in rows)
    numbers = [int(row.split("|")[2]) for row in rows]
    assert numbers == sorted(numbers)  # in the order of the file


def test_a_first_model_is_refused_only_for_far_more_alarms_than_promised(project, made):
    del project.aliases["champion"]
    _, summary = score(made, benign(wave=0.008))
    outcome = promotion.promote(dry_run=True)
    assert outcome.kind == "passed" and outcome.shadow.alarms.champion is None
    later(summary, "2026-01-01T00:00:00+00:00")
    score(made, benign(1600, unknown=0.23, seed=6), "more.csv")
    outcome = promotion.promote(dry_run=True)
    assert outcome.kind == "refused"
    assert "or the model does not know it" in outcome.reasons[0]


def test_live_traffic_can_be_left_out(project, made):
    score(made, benign(unknown=0.5))
    settings(shadow={"records": 0, "min_records": 1000, "margin": 0.0075})
    outcome = promotion.promote(dry_run=True)
    assert outcome.kind == "passed"
    assert "live traffic was not looked at, because promotion.shadow.records is 0" in outcome.reasons


def test_models_that_read_captures_with_other_settings_are_not_compared(project, made):
    score(made, benign(unknown=0.5))
    sealed = replace(made.champion.sealed, about={**made.champion.sealed.about, "extraction": {"timeout": 60.0}})
    found = shadow.run({2: made.candidate, 1: replace(made.champion, sealed=sealed)}, config.load(Rules), 3.0)
    assert (found.records, found.left_out) == (0, {shadow.UNREADABLE: 1500})
