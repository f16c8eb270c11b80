"""New files are judged as evaluate judges, whole or not at all, once each and in bounded memory."""

import gzip
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import false_discovery_control

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, sha256_of, write_json
from pipeline.artifacts.tables import read_table
from pipeline.base.errors import DataError, RejectedError, SchemaError, SilentModelError, SourceError
from pipeline.calibration.decisions import Promise
from pipeline.calibration.prediction import Prediction
from pipeline.datasets.schema import ENDPOINTS, FEATURE_NAMES
from pipeline.evaluation.alarm_share import counted
from pipeline.evaluation.promotion_gate.measure import highest_fpr
from pipeline.serving import arrivals, batch, judged, reading, scored
from pipeline.serving.alerts import stored as alerts_stored
from pipeline.serving.alerts.schema import key_of
from pipeline.serving.bundle import Bundle
from pipeline.serving.discoveries import fewest
from pipeline.serving.scored import TABLES
from pipeline.serving.tally import Sample, expected


@pytest.fixture
def bundle(prepared):
    return Bundle.of_project()


@pytest.fixture
def wednesday(week, tmp_path):
    source = next(path for path in week.iterdir() if "Wednesday" in path.name)
    (tmp_path / "new").mkdir()
    return shutil.copy(source, tmp_path / "new" / "wednesday.csv")


def score(path, bundle, version=3):
    (file,) = arrivals.find(path)
    summary = batch.score(file, bundle, version, "a-flow-run")
    return summary, paths.SCORED / f"{file.key(version)}.parquet"


def contents():
    return {path.relative_to(paths.SCORED): path.read_bytes() for path in paths.SCORED.rglob("*.parquet")}


def test_records_are_judged_as_the_bundle_judges(bundle, wednesday):
    _, path = score(wednesday, bundle)
    table = pq.read_table(path)
    records = pa.concat_tables([chunk.records for chunk in reading.chunks(arrivals.find(wednesday)[0], bundle)])
    judged: Prediction = bundle.predict(records)
    for name in ("score", "p_value", "confidence", "margin", "detector"):
        np.testing.assert_array_equal(table[name].to_numpy(), getattr(judged, name))
    assert table["verdict"].to_pylist() == judged.verdict.tolist()
    assert table["record_id"].equals(records["record_id"]) and table["row"].equals(records["row"])
    assert set(table["model_version"].to_pylist()) == {3}


def test_the_file_says_what_judged_what(bundle, wednesday):
    summary, path = score(wednesday, bundle)
    (file,) = arrivals.find(wednesday)
    told = {key.decode(): text.decode() for key, text in pq.read_schema(path).metadata.items()}
    assert told["flowsculpt.version"] == "3"
    assert told["flowsculpt.digest"] == bundle.digest
    assert told["flowsculpt.source_sha256"] == file.sha256
    assert path.name == f"wednesday.csv-{file.sha256}-v3.parquet"
    assert b"a-flow-run" not in path.read_bytes()
    stored = read_json(paths.SCORED / "summaries" / f"{path.stem}.json")
    rooms = {room: paths.SCORED / room / path.name for room in TABLES}
    assert stored == {**summary, "tables": {room: sha256_of(each) for room, each in rooms.items()}}
    assert (summary["flow_run"], summary["source"], summary["version"]) == ("a-flow-run", "wednesday.csv", 3)


def test_the_summary_counts_verdicts_and_what_chance_would_give(bundle, wednesday):
    summary, path = score(wednesday, bundle)
    table = pq.read_table(path)
    n = table.num_rows
    assert summary["records"] == sum(summary["verdicts"].values()) == n
    for name, threshold in bundle.calibration.thresholds.items():
        told = summary["alarms"][name]
        assert told["alarms"] == int((table["score"].to_numpy() > threshold).sum())
        assert told["expected"] == pytest.approx(n * bundle.calibration.promises()[name], abs=0.06)
        assert told["low"] <= told["expected"] <= told["high"]


def test_the_expected_number_is_what_the_drift_check_calls_promised(bundle, wednesday):
    decision, n = bundle.calibration, 10_000
    for name, share in decision.promises().items():
        parts = [Promise(n, share, decision.reference.size)]
        (alarms,) = counted({name: np.zeros(n, bool)}, {name: parts})
        told = expected(parts)
        assert (told["low"], told["high"], told["expected"]) == (alarms.low, alarms.high, round(alarms.expected, 1))
        highest = highest_fpr(share, n, decision.reference.size, 0.975)
        assert highest == told["high"] / n  # the gate's limit, one-sided
    summary, _ = score(wednesday, bundle)
    assert summary["alarms"]["p99"]["calibrated_on"] == decision.reference.size


def test_a_second_time_gives_the_same_bytes(bundle, wednesday):
    score(wednesday, bundle)
    first = contents()
    shutil.rmtree(paths.SCORED)
    score(wednesday, bundle)
    assert contents() == first
    assert len(first) == len(TABLES)


def test_the_packing_does_not_change_what_is_said(bundle, wednesday):
    folder = wednesday.parent
    (folder / "a.csv.gz").write_bytes(gzip.compress(wednesday.read_bytes()))
    with zipfile.ZipFile(folder / "b.zip", "w") as archive:
        archive.write(wednesday, "deep/wednesday.csv")
    shutil.copy(paths.RECORDS, folder / "all.parquet")
    scores = {}
    for file in arrivals.find(folder):
        batch.score(file, bundle, 1)
        scores[file.name] = pq.read_table(paths.SCORED / f"{file.key(1)}.parquet")
    assert list(scores) == ["a.csv.gz", "all.parquet", "b.zip", "wednesday.csv"]
    for name in ("a.csv.gz", "b.zip"):
        assert scores[name]["score"].equals(scores["wednesday.csv"]["score"])
    assert scores["b.zip"]["record_id"].equals(scores["wednesday.csv"]["record_id"])
    stored = read_table(paths.RECORDS)
    assert scores["all.parquet"]["record_id"].equals(stored["record_id"])


def test_what_was_scored_is_known_by_its_content_and_the_version(bundle, wednesday):
    score(wednesday, bundle)
    again = shutil.copy(wednesday, wednesday.with_name("copy.csv"))
    (file,) = arrivals.find(again)
    assert scored.is_scored(file, 3)
    assert not scored.is_scored(file, 4)
    with again.open("a") as stream:
        stream.write(again.read_text().splitlines()[-1] + "\n")
    (file,) = arrivals.find(again)
    assert not scored.is_scored(file, 3)


@pytest.mark.parametrize("room", [*TABLES, "summaries"])
@pytest.mark.parametrize("left", [0.0, 0.5, None])
def test_what_a_power_cut_has_cut_short_does_not_count_as_scored(bundle, wednesday, room, left):
    """A file system may bring back a name whose content never reached the disk."""
    score(wednesday, bundle)
    first, (file,) = contents(), arrivals.find(wednesday)
    (damaged,) = (paths.SCORED / room).glob(f"{file.key(3)}.*")
    whole = damaged.read_bytes()
    if left is None:
        damaged.unlink()
    else:
        damaged.write_bytes(whole[: int(len(whole) * left)])
    assert not scored.is_scored(file, 3)
    assert scored.recent(3, 10**6).score.size == 0
    score(wednesday, bundle)
    assert contents() == first
    assert scored.is_scored(file, 3)


def test_a_bit_that_flips_in_a_verdict_is_seen(bundle, wednesday):
    _, path = score(wednesday, bundle)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)
    assert not scored.is_scored(arrivals.find(wednesday)[0], 3)


def test_two_contents_whose_hashes_begin_alike_are_both_scored(bundle, wednesday, monkeypatch):
    """Twelve hexadecimal digits can be made to agree in minutes; the whole hash cannot."""
    other = shutil.copy(wednesday, wednesday.with_name("other.csv"))
    other.write_text(other.read_text() + other.read_text().splitlines()[-1] + "\n")
    alike = {wednesday: "a" * 63 + "1", other: "a" * 63 + "2"}
    monkeypatch.setattr(arrivals, "content_hash", alike.__getitem__)
    monkeypatch.setattr(batch, "content_hash", alike.__getitem__)
    score(wednesday, bundle)
    (file,) = arrivals.find(other)
    assert not scored.is_scored(file, 3)
    score(other, bundle)
    assert len(list(paths.SCORED.glob("*.parquet"))) == 2


def test_what_is_scored_is_for_this_user_alone(bundle, wednesday):
    before = os.umask(0o022)
    try:
        score(wednesday, bundle)
    finally:
        os.umask(before)
    made = [paths.SCORED, *paths.SCORED.rglob("*")]
    assert not [path for path in made if path.stat().st_mode & 0o077]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda t: t.set_column(0, "record_id", pa.array([None, *t["record_id"].to_pylist()[1:]], pa.uint64())),
            "empty",
        ),
        (lambda t: t.append_column("flow_duration", t["flow_duration"]), "two columns are called 'flow_duration'"),
        (lambda t: t.set_column(0, "record_id", pa.array([f"r{i}" for i in range(len(t))])), "holds string"),
        (
            lambda t: t.set_column(t.column_names.index("flow_duration"), "flow_duration", pa.array(["x"] * len(t))),
            "words",
        ),
    ],
)
def test_records_that_are_not_what_they_should_be_are_the_fault_of_the_file(bundle, tmp_path, change, said):
    table = read_table(paths.RECORDS)
    assert table.column_names[0] == "record_id"
    pq.write_table(change(table), tmp_path / "new.parquet")
    with pytest.raises(SchemaError) as caught:
        score(tmp_path / "new.parquet", bundle)
    assert arrivals.blames_file(caught.value)
    assert not [path for path in paths.SCORED.rglob("*") if path.is_file()]


@pytest.mark.parametrize(("action", "error"), [("off", DataError), ("refuse", SilentModelError)])
def test_a_model_that_refuses_what_is_typical_is_no_fault_of_the_file(
    prepared, bundle, wednesday, monkeypatch, action, error
):
    prepared.set("alerts.silence.action", action)

    def broken(*_):
        raise DataError("a score is NaN")

    monkeypatch.setattr(Bundle, "predict", broken)
    with pytest.raises(error) as caught:
        score(wednesday, bundle)
    assert not arrivals.blames_file(caught.value)


def test_a_file_that_changes_while_it_is_read_leaves_nothing(bundle, wednesday, monkeypatch):
    made = judged._table

    def meanwhile(*given):
        with wednesday.open("a") as stream:
            stream.write("\n")
        return made(*given)

    monkeypatch.setattr(judged, "_table", meanwhile)
    with pytest.raises(SourceError, match="changed while it was read; nothing was written"):
        score(wednesday, bundle)
    assert [path for path in paths.SCORED.rglob("*") if path.is_file()] == []


def test_a_missing_column_is_refused_before_a_record_is_read(bundle, wednesday):
    wednesday.write_text(wednesday.read_text().replace("Flow Duration", "Flow Duratoin", 1))
    (file,) = arrivals.find(wednesday)
    with pytest.raises(SchemaError, match="did you mean 'Flow Duratoin'"):
        next(reading.chunks(file, bundle))


def test_unreadable_rows_are_kept(bundle, wednesday):
    lines = wednesday.read_text().splitlines()
    lines[3] = "x" + lines[3]
    wednesday.write_text("\n".join(lines) + "\n")
    summary, path = score(wednesday, bundle)
    rejected = pq.read_table(paths.SCORED / "rejected" / path.name).to_pylist()
    assert summary["rejected"] == 1
    assert [(row["row"], row["column"]) for row in rejected] == [(3, "Destination Port")]


@pytest.mark.parametrize(
    ("name", "content", "error", "said"),
    [
        ("new.csv", b"", SourceError, "is empty"),
        ("new.csv", b"\x00\x01garbage\n\x02\n", SchemaError, "control character in its name"),
        ("new.csv.gz", gzip.compress(b"x" * 999, mtime=0)[:-9], SourceError, "cannot be read beyond"),
        ("new.csv.gz", b"no gz at all", SourceError, "cannot be read"),
        ("new.zip", b"no zip at all", SourceError, "is not a zip archive"),
        ("new.parquet", b"no parquet at all", SourceError, "cannot be read as Parquet"),
    ],
)
def test_a_file_that_is_no_table_is_refused_with_a_reason(bundle, tmp_path, name, content, error, said):
    (tmp_path / name).write_bytes(content)
    (file,) = arrivals.find(tmp_path / name)
    with pytest.raises(error, match=said):
        next(reading.chunks(file, bundle))


def test_a_file_without_one_readable_row_is_refused(bundle, wednesday):
    head, *rows = wednesday.read_text().splitlines()
    wednesday.write_text("\n".join([head, *("x" + row for row in rows)]) + "\n")
    with pytest.raises(RejectedError, match=r"not one of .* rows can be read, because 'x"):
        score(wednesday, bundle)
    assert not list(paths.SCORED.glob("*.parquet"))


def test_nothing_to_score_is_told(tmp_path):
    (tmp_path / "notes.md").write_text("x")
    for path, said in (
        (tmp_path, "holds no table of records"),
        (tmp_path / "notes.md", "is no table of records"),
        (tmp_path / "note.md", r"no such file or folder \(did you mean 'notes.md'\?\)"),
    ):
        with pytest.raises(SourceError, match=said):
            arrivals.find(path)


def test_memory_does_not_grow_with_the_file(bundle, wednesday, monkeypatch):
    """Arrow's live bytes, looked at in each batch."""
    head, *rows = wednesday.read_text().splitlines()
    made, live = judged._table, []
    monkeypatch.setattr(judged, "_table", lambda *given: live.append(pa.total_allocated_bytes()) or made(*given))
    monkeypatch.setattr("pipeline.datasets.sources.BLOCK_BYTES", 1 << 15)
    monkeypatch.setattr("pipeline.datasets.sources.blocks.__defaults__", (1 << 15,))
    peaks = []
    for times in (10, 80):
        wednesday.write_text("\n".join([head, *(rows * times)]) + "\n")
        live.clear()
        score(wednesday, bundle)
        peaks.append((len(live), max(live)))
    (few, low), (many, high) = peaks
    assert many > 5 * few > 10
    assert high < 2 * low + (4 << 20)


def scored_in_turn(wednesday, bundle, changes):
    """Two files that are scored one after the other; then each summary is changed as given. Gives their tables."""
    tables = []
    for i, (name, change) in enumerate(zip(["z.csv", "a.csv"], changes, strict=True)):
        lines = wednesday.read_text().splitlines()
        (wednesday.parent / name).write_text("\n".join([lines[0], *lines[1 + i :]]) + "\n")
        (file,) = arrivals.find(wednesday.parent / name)
        batch.score(file, bundle, 3)
        summary = paths.SCORED / "summaries" / f"{file.key(3)}.json"
        write_json(summary, read_json(summary) | change)
        tables.append(pq.read_table(paths.SCORED / f"{file.key(3)}.parquet"))
    return tables


CHANGES = {
    "the clock was set back": [{"time": "2026-01-02"}, {"time": "2026-01-01"}],
    "an older flowsculpt": [{"number": None, "time": "2026-01-01"}, {"number": None, "time": "2026-01-02"}],
    "the first one by an older flowsculpt": [{"number": None, "time": "2026-01-02"}, {"time": "2026-01-01"}],
}


@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_the_last_records_come_in_the_order_in_which_they_were_judged(bundle, wednesday, changes):
    files = scored_in_turn(wednesday, bundle, changes)
    ids = np.concatenate([each["record_id"].to_numpy() for each in files])
    assert [each.source for each in scored.last_samples(3)] == ["a.csv", "z.csv"]
    recent = scored.recent(3, 10**6)
    np.testing.assert_array_equal(recent.record_id, ids)
    assert recent.files == 2
    assert recent.samples.num_rows == ids.size
    last = scored.recent(3, 5)
    np.testing.assert_array_equal(last.record_id, ids[-5:])
    assert last.files == 1
    assert scored.recent(4, 5).score.size == 0


def test_the_version_that_scored_last_is_known_where_the_clock_was_set_back(bundle, wednesday):
    (file,) = arrivals.find(wednesday)
    for version, time in ((4, "2026-01-02"), (3, "2026-01-01")):
        batch.score(file, bundle, version)
        summary = scored.summary_path(file.key(version))
        write_json(summary, read_json(summary) | {"time": time})
    assert scored.summary(file)["version"] == 3


@pytest.mark.parametrize("lost", [Path.unlink, lambda path: path.write_bytes(b"")], ids=["removed", "emptied"])
def test_the_numbers_of_summaries_go_on_where_the_last_one_was_lost(bundle, wednesday, lost):
    numbers = [score(wednesday, bundle, version)[0]["number"] for version in (1, 2)]
    lost(paths.SCORED / "sequence")
    assert numbers == [1, 2]
    assert [scored.next_number(), scored.next_number()] == [3, 4]


def test_the_sample_is_the_same_whatever_the_batches(bundle, wednesday):
    records = pa.concat_tables([chunk.records for chunk in reading.chunks(arrivals.find(wednesday)[0], bundle)])
    kept = []
    for size in (7, 1000):
        sample = Sample(20)
        for start in range(0, records.num_rows, size):
            part = records.slice(start, size)
            sample.add(part, np.zeros(part.num_rows), ["flow_duration"])
        kept.append(sample.kept)
    assert kept[0].equals(kept[1])
    assert kept[0]["record_id"].to_pylist() == sorted(records["record_id"].to_pylist())[:20]


def test_a_sample_has_what_any_model_of_this_schema_reads_and_where_each_record_came_from(bundle, wednesday):
    _, path = score(wednesday, bundle)
    sample = read_table(paths.SCORED / "samples" / path.name)
    assert {*FEATURE_NAMES, *ENDPOINTS, "record_id", "source_file", "row", "day", "score"} == {*sample.column_names}
    scores = dict(zip(*(pq.read_table(path)[name].to_pylist() for name in ("record_id", "score")), strict=True))
    assert sample["score"].to_pylist() == [scores[each] for each in sample["record_id"].to_pylist()]
    assert not {"y", "attack", "family"} & {*sample.column_names}


def test_a_part_of_a_file_with_other_columns_leaves_the_sample_as_it_began():
    sample = Sample(3)
    first = {"record_id": np.array([9, 2], np.uint64), "alpha": [1.0, 2.0], "word": pa.array(["a", "b"])}
    sample.add(pa.table(first), np.zeros(2), ["alpha", "word"])
    other = {"record_id": np.array([5], np.uint64), "alpha": [3.0], "word": [4.0], "more": [1.0]}
    sample.add(pa.table(other), np.ones(1), ["alpha", "word", "more"])
    assert sample.kept.to_pylist() == [
        {"record_id": 2, "alpha": 2.0, "word": "b", "score": 0.0},
        {"record_id": 5, "alpha": 3.0, "word": None, "score": 1.0},
        {"record_id": 9, "alpha": 1.0, "word": "a", "score": 0.0},
    ]


def test_samples_that_have_other_columns_share_those_that_the_model_reads(bundle, wednesday):
    shutil.copy(paths.RECORDS, wednesday.with_name("stored.parquet"))  # of which only those are read
    for file in arrivals.find(wednesday.parent):
        batch.score(file, bundle, 3)
    recent = scored.recent(3, 10**6)
    assert recent.files == 2 and recent.samples.num_rows == recent.record_id.size
    assert {column.name for column in bundle.columns} <= {*recent.samples.column_names}


def test_a_batch_decision_marks_records_and_changes_nothing_else(bundle, wednesday):
    _, path = score(wednesday, bundle)
    alone = pq.read_table(path)
    assert alone["discovery"].null_count == alone.num_rows
    (file,) = arrivals.find(wednesday)
    summary = batch.score(file, bundle, 3, false_discovery=0.2)
    table = pq.read_table(path)
    changed = ["discovery", "head", "context"]  # there is none of the latter two, and NaN equals nothing
    assert table.drop_columns(changed).equals(alone.drop_columns(changed))
    assert pq.read_schema(path).metadata == alone.schema.metadata
    found = table["discovery"].to_numpy(zero_copy_only=False).astype(bool)
    np.testing.assert_array_equal(found, false_discovery_control(table["p_value"].to_numpy()) <= 0.2)
    n = bundle.calibration.reference.size
    told = {"level": 0.2, "discoveries": int(found.sum()), "fewest": fewest(len(found), n, 0.2)}
    assert summary["batch"] == told
    assert scored.is_scored(file, 3)


def test_each_record_above_the_level_is_an_alert_that_says_who_and_when(bundle, wednesday):
    summary, path = score(wednesday, bundle)
    (file,) = arrivals.find(wednesday)
    alerts, judged = alerts_stored.read(), pq.read_table(path)
    records = pa.concat_tables([chunk.records for chunk in reading.chunks(file, bundle)])
    flagged = bundle.predict(records).flagged["p99"]
    assert alerts.num_rows == flagged.sum() == summary["alarms"]["p99"]["alarms"] > 0
    assert alerts["record_id"].to_pylist() == judged["record_id"].to_numpy()[flagged].tolist()
    assert alerts["alert"].to_pylist() == [key_of(each, bundle.digest) for each in alerts["record_id"].to_pylist()]
    assert {*alerts["source_sha256"].to_pylist()} == {file.sha256}
    assert {*alerts["level"].to_pylist()} <= {"p99", "p99.9"}


def test_a_file_that_was_scored_half_and_then_whole_raises_each_alert_once(bundle, wednesday):
    whole = wednesday.read_text().splitlines(keepends=True)
    half = wednesday.with_name("half.csv")
    half.write_text("".join(whole[: len(whole) // 2]))
    score(half, bundle)
    half.write_text("".join(whole))
    score(half, bundle)
    alerts = alerts_stored.read()
    assert len({*alerts["alert"].to_pylist()}) == alerts.num_rows > 0
    assert sum(pq.read_metadata(path).num_rows for path in alerts_stored.tables()) > alerts.num_rows
