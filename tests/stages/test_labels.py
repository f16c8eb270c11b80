"""Alerts that analysts have labelled are learnt by the next training, and never tested on."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from flows import arguments, label
from pipeline.artifacts import labels, paths
from pipeline.artifacts.files import read_json
from pipeline.artifacts.labels import Label
from pipeline.artifacts.samples import read_samples
from pipeline.artifacts.tables import read_table, strings
from pipeline.base.errors import ConfigError, DataError
from pipeline.calibration import cross_conformal
from pipeline.serving import arrivals, batch, heldout, labelling
from pipeline.serving.bundle import Bundle
from pipeline.stages import analysts, weights

FITTED, TESTS = ("train", "val", "calibration"), ("test_seen", "test_unseen")
EVERYTHING = ("ingest", "preprocess", "stage1", "stage2", "calibrate")


def said(*given):
    return label.labelled(arguments.parse("label", [*map(str, given)]))


def spelt(number):
    return f"{number:016x}"


def splits():
    return {name: read_samples(paths.PROCESSED, name) for name in (*FITTED, *TESTS)}


def artefacts():
    """Every table, model and report, and its bytes."""
    return {
        path: path.read_bytes() for path in sorted(paths.DATA.rglob("*")) if path.is_file() and path != paths.LABELS
    }


def traffic(project, day="Friday", attack=None):
    """Take a file out of the data set; gives what is ingested of it: the traffic that comes in later."""
    project.run("ingest")
    records = read_table(paths.RECORDS)
    path = project.file(day)
    shutil.move(path, path.name)
    rows = strings(records.column("source_file")) == path.name
    if attack:
        rows &= strings(records.column("attack")) == attack
    return records.filter(rows).to_pylist()


def label_of(record, attack, by="ada"):
    columns = labelling._found(record).columns
    return Label(record["record_id"], attack, by, "2026-01-31T09:00:00+00:00", columns=columns)


@pytest.fixture
def bots(project):
    """Bots that came in after the data set was made."""
    project.set("stage2.head", "boosting")
    project.set("stage2.calibration.kind", "cross")
    return traffic(project, "Friday-WorkingHours-Morning", "bot")


def test_without_labels_an_empty_log_changes_no_byte(project):
    project.run(*EVERYTHING)
    before = artefacts()
    paths.LABELS.touch()
    project.run(*EVERYTHING)
    assert artefacts() == before


def test_confirmed_records_are_learnt_when_their_file_is_gone(project, bots):
    for record in bots[:5]:
        labels.append(label_of(record, "bot"))
    project.run(*EVERYTHING)
    ids = [record["record_id"] for record in bots[:5]]
    parts = splits()
    train = parts["train"]
    rows = np.isin(train.record_id, ids)
    assert rows.sum() == 5
    assert set(train.attack[rows]) == {"bot"} and (train.y[rows] == 1).all() and (train.confidence[rows] == -1).all()
    assert not any(np.isin(parts[name].record_id, ids).any() for name in (*FITTED[1:], *TESTS))
    told = read_json(paths.REPORTS / "preprocess" / "splits.json")["labels_of_analysts"]
    assert told["confirmed"] == {"bot": 5} and told["passed_over"] == 0
    stored = read_table(paths.RECORDS, ["record_id", "flow_duration"]).to_pylist()
    durations = {row["record_id"]: row["flow_duration"] for row in stored}
    assert [durations[record["record_id"]] for record in bots[:5]] == [record["flow_duration"] for record in bots[:5]]


def test_the_rest_of_a_confirmed_attack_stays_unseen(project, capsys):
    project.run("ingest", "preprocess")
    before = splits()["test_unseen"]
    unseen = before.attack == "bot"
    records = {row["record_id"]: row for row in read_table(paths.RECORDS).to_pylist()}
    record = records[before.record_id[unseen][0]] | {"record_id": 7, "flow_duration": 123456789.0}
    labels.append(label_of(record, "bot"))
    project.run(*EVERYTHING)
    assert "bot (unseen: the rest of it stays so)" in capsys.readouterr().out
    after = splits()["test_unseen"]
    assert after.record_id.tolist() == before.record_id.tolist()
    selection = heldout.select([Bundle.of_project()])
    assert "bot" not in selection.not_unseen
    assert selection.counts["unseen_attacks"] == int((after.y == 1).sum())


def test_a_label_of_a_test_record_changes_no_fitted_number(project):
    project.run(*EVERYTHING)
    before = artefacts()
    (seen, unseen), records = (splits()[name] for name in TESTS), read_table(paths.RECORDS).to_pylist()
    chosen = {*seen.record_id[:5].tolist(), *unseen.record_id[:5].tolist()}
    for record in records:
        if record["record_id"] in chosen:
            labels.append(label_of(record, "benign" if record["attack"] != "benign" else "bot"))
    project.run(*EVERYTHING)
    told = read_json(paths.REPORTS / "preprocess" / "splits.json")["labels_of_analysts"]
    assert told == {
        "confirmed": {},
        "dismissed": 0,
        "passed_over": 10,
        "left_out": 0,
        "disputed": 0,
        "contradicting": 0,
    }
    after = artefacts()
    assert {path for path in before if after[path] != before[path]} == {paths.REPORTS / "preprocess" / "splits.json"}


def test_test_records_that_are_copies_of_a_labelled_one_leave_the_tests(project):
    project.run("ingest", "preprocess")
    test = splits()["test_unseen"]
    records = {row["record_id"]: row for row in read_table(paths.RECORDS).to_pylist()}
    original = records[test.record_id[test.attack == "bot"][0]]
    labels.append(label_of(original | {"record_id": 7}, "bot"))
    project.run("ingest", "preprocess")
    after = splits()["test_unseen"]
    assert original["record_id"] not in after.record_id
    left_out = read_json(paths.REPORTS / "preprocess" / "splits.json")["labels_of_analysts"]["left_out"]
    assert left_out == len(test) - len(after) >= 1
    project.set("preprocess.duplicates", "keep")
    project.run("ingest", "preprocess")
    assert original["record_id"] in splits()["test_unseen"].record_id


def test_a_dismissed_alert_is_quiet_and_sets_no_threshold(project, bots):
    benign = [row for row in traffic(project, "Thursday-WorkingHours-Morning") if row["attack"] == "benign"]
    project.run(*EVERYTHING)
    bundle, dismissed = Bundle.of_project(), benign[0] | {"flow_duration": 9.9e7, "total_fwd_packets": 99_999.0}
    (score,) = scores(bundle, dismissed)
    labels.append(label_of(dismissed, "benign"))
    project.run(*EVERYTHING)
    learnt = Bundle.of_project()
    assert scores(learnt, dismissed)[0] < score
    assert dismissed["record_id"] in splits()["train"].record_id
    assert dismissed["record_id"] not in read_samples(paths.SCORES, "out_of_fold").record_id
    assert learnt.calibration.reference.size == bundle.calibration.reference.size


def scores(bundle, record):
    columns = {column.name: np.array([record[column.name]]) for column in bundle.columns}
    return bundle.predict(columns).score


def test_labels_hold_for_the_same_ids_when_their_file_is_ingested_again(project):
    floods = [label_of(record, "benign") for record in traffic(project, "DDos", "ddos")]
    for each in floods:
        labels.append(each)
    project.run("ingest")
    assert analysts.appended() == len(floods)
    (path,) = Path().glob("*DDos*")
    shutil.move(path, project.raw / path.name)
    project.run("ingest", "preprocess")
    assert analysts.appended() == 0
    told = read_json(paths.REPORTS / "preprocess" / "splits.json")["labels_of_analysts"]
    assert told["dismissed"] + told["passed_over"] == len(floods)
    assert 0 < told["passed_over"] < told["dismissed"]  # a fifth of the draw are test records
    train = splits()["train"]
    rows = np.isin(train.record_id, [each.record_id for each in floods])
    assert rows.sum() == told["dismissed"] and (train.y[rows] == 0).all()


def test_training_says_which_labelled_records_are_gone_and_goes_on(project, capsys):
    labels.append(Label(11, "bot", "ada", "now"))
    labels.append(Label(12, "bot", "ada", "now", columns={"duration": 3.0}))
    labels.append(Label(12, "benign", "bob", "now", columns={"duration": 3.0}))
    project.run("ingest", "preprocess")
    told = capsys.readouterr().out
    assert "2 labelled records are passed over" in told and f"({spelt(11)}, {spelt(12)})" in told
    assert "people contradict each other on record 000000000000000c: ada says bot" in told
    assert analysts.appended() == 0


@pytest.mark.parametrize("value", ["tcp", None, [1.0]])
def test_kept_values_that_are_no_numbers_are_passed_over(project, capsys, value):
    labels.append(Label(11, "bot", "ada", "now", columns={"flow_duration": "written by hand"}))
    paths.LABELS.write_text(paths.LABELS.read_text().replace('"written by hand"', json.dumps(value)))
    project.run("ingest", "preprocess")
    told = capsys.readouterr().out
    assert "1 labelled records are passed over" in told and spelt(11) in told
    assert analysts.appended() == 0


def test_labels_of_copies_that_contradict_each_other_are_told_and_trusted_in_no_way(project, bots, capsys):
    first, second, third = (bots[0] | {"record_id": number} for number in (5, 6, 7))
    labels.append(label_of(first, "bot"))
    labels.append(label_of(second, "benign"))
    labels.append(label_of(bots[1] | {"record_id": 8, "flow_duration": 1e7}, "bot"))
    project.run("ingest", "preprocess")
    told = read_json(paths.REPORTS / "preprocess" / "splits.json")["labels_of_analysts"]
    assert told["contradicting"] == 2
    assert (
        "2 labelled records are copies of each other, but one is confirmed and one dismissed" in capsys.readouterr().out
    )
    train = splits()["train"]
    trust = dict(zip(train.record_id.tolist(), train.confidence.tolist(), strict=True))
    assert [trust[number] for number in (5, 6, 8)] == [0, 0, -1]
    labels.append(label_of(third, "bot"))
    labels.append(label_of(second, "bot"))  # she agrees now
    project.run("ingest", "preprocess")
    told = read_json(paths.REPORTS / "preprocess" / "splits.json")["labels_of_analysts"]
    assert told["contradicting"] == 0 and told["confirmed"] == {"bot": 4}


def test_a_training_record_whose_copy_an_analyst_calls_otherwise_is_trusted_in_no_way(project):
    project.run("ingest", "preprocess")
    before = splits()["train"]
    chosen = before.record_id[(before.y == 0) & (before.confidence == 1)][0]
    (record,) = [row for row in read_table(paths.RECORDS).to_pylist() if row["record_id"] == chosen]
    labels.append(label_of(record | {"record_id": 7}, "bot"))
    project.run("ingest", "preprocess")
    train = splits()["train"]
    trust = dict(zip(train.record_id.tolist(), train.confidence.tolist(), strict=True))
    assert trust[chosen] == 0 and trust[7] == -1
    told = read_json(paths.REPORTS / "preprocess" / "splits.json")["labels_of_analysts"]
    assert told["disputed"] >= 1 and told["contradicting"] == 0


def test_a_new_attack_passes_the_audit(project, bots):
    labels.append(label_of(bots[0], "coin_miner"))
    project.run("ingest", "validate", "preprocess")
    assert "coin_miner" in splits()["train"].attack


def test_confirmed_records_weigh_more_and_dismissed_ones_count_once(project):
    project.run("ingest", "preprocess")
    train = splits()["train"]
    attack, benign = train.record_id[train.y == 1][0], train.record_id[train.y == 0][0]
    plain, _ = weights.given(train, 7)
    assert len(plain) == len(train)
    labels.append(Label(int(attack), "bot", "ada", "now"))
    labels.append(Label(int(benign), "benign", "ada", "now"))
    rows, families = weights.given(train, 7)
    assert len(rows) == len(families) == len(train) + 6
    assert int((families == 0).sum()) == int((train.y == 0).sum())


def test_a_record_that_every_model_has_seen_is_not_counted_for_the_bound_on_levels():
    fold = np.repeat([0, 1, 2], [50, 60, 70])
    with_dismissed = np.concatenate([fold, np.full(5, cross_conformal.IN_EVERY_MODEL)])
    assert cross_conformal.worst_factor(with_dismissed) == cross_conformal.worst_factor(fold)


# The command.


def test_an_alert_is_labelled_by_what_scoring_keeps_of_it(project, bots):
    project.run(*EVERYTHING)
    (file,) = arrivals.find(next(Path().glob("Friday-WorkingHours-M*")))
    summary = batch.score(file, Bundle.of_project(), 3)
    (scored,) = paths.SCORED.glob("*.parquet")
    table = read_table(scored)
    alert = table.take([int(np.argmax(table["score"].to_numpy()))]).to_pylist()[0]
    assert summary["records"] == table.num_rows
    told = said(spelt(alert["record_id"]), "--confirmed", "Bot", "--by", "ada", "--note", "beacons")
    assert told.startswith(f"{spelt(alert['record_id'])}   confirmed   bot")
    (read,) = labels.read()
    assert (read.by, read.note, read.source_file, read.row) == ("ada", "beacons", file.name, alert["row"])
    file.path.unlink()
    shutil.rmtree(paths.SCORED)
    project.run(*EVERYTHING)
    assert read.record_id in splits()["train"].record_id


def test_ids_and_names_are_checked_before_anything_is_written(project, tmp_path):
    project.run("ingest")
    known = read_table(paths.RECORDS, ["record_id"])["record_id"][0].as_py()
    good, wrong = spelt(known), spelt(known ^ 1)
    with pytest.raises(DataError, match=rf"{wrong}: no scored file .* \(did you mean {good}\?\)"):
        said(good, wrong, "--dismissed")
    with pytest.raises(DataError, match=rf"is no record id; .* \(did you mean {good}\?\)"):
        said(good[:12], "--dismissed")
    with pytest.raises(ConfigError, match=r"'bto' is no known attack \(did you mean 'bot'\?\); --new"):
        said(good, "--confirmed", "bto")
    with pytest.raises(ConfigError, match="--dismissed says that an alert is none"):
        said(good, "--confirmed", "BENIGN")
    table = tmp_path / "verdicts.csv"
    table.write_text(f"record_id,label\n{good},DoS Hulk\n{good},dos_hulkk\n")
    with pytest.raises(ConfigError, match="'dos_hulkk' is no known attack"):
        said("--from", table)
    table.write_text(f"record,label\n{good},DoS Hulk\n")
    with pytest.raises(ConfigError, match=r"'record_id' \(did you mean 'record'\?\)"):
        said("--from", table)
    assert labels.read() == []


def test_a_csv_labels_many_and_a_contradiction_is_told(project, tmp_path):
    project.run("ingest")
    first, second = (row.as_py() for row in read_table(paths.RECORDS, ["record_id"])["record_id"][:2])
    table = tmp_path / "verdicts.csv"
    table.write_text(f"record_id,label,by\n{spelt(first)},DoS Hulk,bob\n{spelt(second)},benign,bob\n")
    assert "2 labels in data/labels.jsonl" in said("--from", table)
    told = said(spelt(first), "--confirmed", "coin miner", "--new", "--by", "ada")
    assert f"people contradict each other on {spelt(first)}: bob says dos_hulk" in told
    assert analysts.attacks() == {first: "coin_miner", second: "benign"}


def test_one_person_who_says_two_things_at_once_is_refused(project, tmp_path):
    project.run("ingest")
    first, second = (spelt(row.as_py()) for row in read_table(paths.RECORDS, ["record_id"])["record_id"][:2])
    table = tmp_path / "verdicts.csv"
    table.write_text(f"record_id,label\n{first},DoS Hulk\n{second},benign\n{first.upper()},benign\n")
    expected = f"{first} is called dos_hulk and benign at once by ada; give one label for each record"
    with pytest.raises(ConfigError, match=expected):
        said("--from", table, "--by", "ada")
    assert labels.read() == []
    table.write_text(f"record_id,label,by\n{first},DoS Hulk,bob\n{first},dos_hulk,bob\n{first},benign,ada\n")
    told = said("--from", table)
    assert "2 labels in data/labels.jsonl" in told  # what is said twice is written once
    assert "people contradict each other" in told
    said(second, second, "--dismissed")
    assert len(labels.read()) == 3


@pytest.mark.parametrize("given", [["--dismissed"], ["1", "--dismissed", "--confirmed", "bot"], ["1"]])
def test_what_does_not_go_together_is_refused(given, capsys):
    with pytest.raises(SystemExit) as ended:
        arguments.parse("label", given)
    assert ended.value.code == 2


# What is unsure or taken back is not learnt.


def test_training_passes_over_what_is_unsure_or_taken_back(project, bots):
    for record in bots[:3]:
        labels.append(label_of(record, "bot"))
    labels.append(label_of(bots[1], "unsure"))
    labels.append(Label(bots[2]["record_id"], "taken_back", "ada", "2026-01-31T09:00:00+00:00"))
    project.run("ingest", "preprocess")
    assert analysts.attacks() == {bots[0]["record_id"]: "bot"}
    stored = {*read_table(paths.RECORDS, ["record_id"]).column("record_id").to_pylist()}
    assert [record["record_id"] in stored for record in bots[:3]] == [True, False, False]
    told = read_json(paths.REPORTS / "preprocess" / "splits.json")["labels_of_analysts"]
    assert told["confirmed"] == {"bot": 1}
    assert not {"unsure", "taken_back"} & {*read_json(paths.SOURCE)["families"]}


def test_the_command_says_unsure_and_takes_back(project):
    project.run("ingest")
    first = spelt(read_table(paths.RECORDS, ["record_id"]).column("record_id")[0].as_py())
    said(first, "--confirmed", "bot", "--by", "ada")
    said(first, "--unsure", "--by", "ada")
    assert labels.in_force(labels.read()) == {}
    assert "taken_back" in said(first, "--undo", "--by", "ada")
    assert [each.attack for each in labels.in_force(labels.read()).values()] == ["bot"]
    with pytest.raises(ConfigError, match="bob has no label on"):
        said(first, "--undo", "--by", "bob")
    with pytest.raises(ConfigError, match="is no attack"):
        said(first, "--confirmed", "unsure")
    with pytest.raises(ConfigError, match="a word of the log itself"):
        said(first, "--confirmed", "taken-back", "--new")
