"""A model that reads contexts has several decisions: each door asks which judges a record, and what its past is."""

import re
import shutil
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows import drift_check, explain
from flows.reports import scoring as scoring_report
from pipeline import AlarmModel, config
from pipeline.artifacts import paths
from pipeline.artifacts.contexts import path_of
from pipeline.artifacts.files import read_json, sha256_of, write_json
from pipeline.artifacts.samples import read_samples
from pipeline.base.errors import SchemaError
from pipeline.calibration.decisions import WITHOUT_CONTEXT
from pipeline.calibration.prediction import Prediction
from pipeline.datasets.base import REJECTED_SCHEMA, Chunk
from pipeline.datasets.synthetic.captures import write_captures
from pipeline.preprocessing.context.past import GAP_COLUMNS
from pipeline.preprocessing.context.talks import talks_of
from pipeline.preprocessing.splits import SPLITS
from pipeline.serving import adoption, arrivals, batch, carried_past, heldout, judged, reading, scored, shadow
from pipeline.serving.alerts import stored
from pipeline.serving.alerts.schema import alerts_of
from pipeline.serving.arrivals import Incoming
from pipeline.serving.bundle import Bundle
from pipeline.serving.causes import Context
from pipeline.serving.reasons import Explainer
from pipeline.settings.evaluate import Evaluate
from pipeline.settings.promotion import Shadow
from pipeline.settings.retraining import Retraining
from tests.settings import alerts_with, rules_with
from tests.stages.conftest import Project

RULES = rules_with(shadow=Shadow(records=20_000, min_records=100, margin=0.0075))
WHO = ("timestamp", "src_ip", "dst_ip")


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that has learnt two days of benign captures, and a third day that came in later."""
    folder = tmp_path_factory.mktemp("taught")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_captures(Path("captures"), 1200, 2, seed=0)
        write_captures(Path("later"), 600, 1, seed=7)
        for path in sorted(Path("later").glob("*.pcap")):
            path.rename(path.with_name(f"later-{path.name}"))
        project = Project()
        project.set("ingest.dataset", "pcap")
        project.set("ingest.path", "captures")
        project.set("calibrate.scores", ["detector", "head", "context"])
        project.set("calibrate.fusion", "fisher")
        project.set("preprocess.context.use", "auto")
        project.run("ingest", "preprocess", "stage1", "stage2", "calibrate")
    return folder


@pytest.fixture
def bundle(taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    shutil.copytree(taught, tmp_path / "project")
    monkeypatch.chdir(tmp_path / "project")
    return Bundle.of_project()


def later() -> Incoming:
    (path,) = Path("later").glob("*.pcap")
    return Incoming(path, path.name, sha256_of(path))


def in_memory(monkeypatch: pytest.MonkeyPatch, *parts: pa.Table) -> Incoming:
    """A file that is read in these parts."""
    chunks = [Chunk(part, REJECTED_SCHEMA.empty_table()) for part in parts]
    monkeypatch.setattr(reading, "_parts", lambda *_: ((lambda chunk=chunk: chunk) for chunk in chunks))
    return later()


def records() -> pa.Table:
    return pq.read_table(paths.RECORDS)


def told(file: Incoming) -> pd.DataFrame:
    return pq.read_table(scored.table_path(file.key(3))).to_pandas().set_index("record_id")


def test_the_shadow_run_judges_each_sampled_record_by_the_context_that_it_was_scored_with(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judged, "SAMPLE", 120)
    batch.score(later(), bundle, 3)
    (sample,) = scored.last_samples(3)
    table = told(later()).loc[sample.records.column("record_id").to_pylist()]
    assert len(table) == 120 and table.context.notna().all()
    found = shadow.run({4: bundle, 3: bundle}, rules_with(threshold="p95", shadow=RULES.shadow), 3.0)
    edge = bundle.calibration.thresholds["p95"]
    assert found.records == 120 and found.alarms is not None and found.alarms.champion is not None
    assert found.alarms.candidate.alarms == found.alarms.champion.alarms == int((table.score > edge).sum()) > 0
    assert "without a context" not in found.sentence


def test_the_shadow_run_says_whose_contexts_it_does_not_know(bundle: Bundle) -> None:
    batch.score(later(), bundle, 3)
    assert bundle.past is not None
    other = replace(bundle, past=replace(bundle.past, remembered=1000))
    found = shadow.run({4: other, 3: bundle}, RULES, 3.0)
    assert f"the candidate judged {found.records} without a context" in found.sentence
    assert "the champion judged" not in found.sentence
    strict = other.with_calibration(other.calibration.moved("", other.calibration.reference, lowest))
    silent = shadow.run({4: strict, 3: bundle}, RULES, 3.0)
    assert silent.alarms == found.alarms  # what judges records with a context has judged none


def lowest(values: Any) -> tuple[float, ...]:
    """Thresholds that every record is above."""
    return tuple(-1.0 for _ in values)


def test_the_gate_sees_the_thresholds_for_records_with_a_context(bundle: Bundle) -> None:
    moved = bundle.with_calibration(bundle.calibration.moved("", bundle.calibration.reference, lowest))
    selection = heldout.select([bundle, moved])
    usual, loud = heldout.predict(selection, [bundle, moved], "p95")
    assert loud.alarm.all() and usual.alarm.mean() < 0.3
    assert (usual.without_context, loud.without_context) == (0, 0)
    assert heldout.without_context({"the candidate": usual}) == ()


def test_the_gate_says_what_evaluate_says_of_the_same_records(bundle: Bundle) -> None:
    (judged,) = heldout.predict(selection := heldout.select([bundle]), [bundle], "p95")
    place = {int(each): row for row, each in enumerate(selection.record_id.tolist())}
    for split in heldout.TESTS:
        samples = read_samples(paths.SCORES, split)
        said = Prediction.of(bundle.calibration, *samples.x.T)
        rows = [place[each] for each in samples.record_id.tolist()]
        np.testing.assert_allclose(judged.score[rows], said.ranked, rtol=1e-3, atol=1e-3)
        assert (judged.alarm[rows] == said.flagged["p95"]).mean() > 0.99


def test_without_stored_contexts_the_gate_judges_by_what_is_known_and_says_so(bundle: Bundle) -> None:
    for split in SPLITS:
        path_of(paths.PROCESSED, split).unlink()
    (judged,) = heldout.predict(selection := heldout.select([bundle]), [bundle], "p95")
    n = len(selection.record_id)
    assert judged.without_context == n
    assert judged.calibrated_on == bundle.calibration.sides[WITHOUT_CONTEXT].whole.reference.size
    assert heldout.without_context({"the candidate": judged}) == (
        f"the candidate judges {n:,} of {n:,} held-out records without a context, as none is known of them",
    )


def test_a_model_that_looks_back_on_another_past_has_its_own_contexts_at_the_gate(bundle: Bundle) -> None:
    assert bundle.past is not None
    other = replace(bundle, past=replace(bundle.past, remembered=3))
    one, short = heldout.predict(heldout.select([bundle]), [bundle, other], "p95")
    assert short.without_context == 0 and not np.array_equal(one.score, short.score)


def drawn(bundle: Bundle, side: str, n: int) -> Any:
    """Scores of n records as at calibration."""
    return np.random.default_rng(0).choice(bundle.calibration.sides[side].whole.reference, n)


def recent(score: Any, side: str, more: int = 0, other: str = "") -> scored.Recent:
    """Records that one side judged, and some with a score of 0 that the other did."""
    group = np.array([side] * len(score) + [other] * more, dtype=object)
    ids = np.arange(len(group), dtype=np.uint64) + np.uint64(10**9)
    return scored.Recent(ids, np.concatenate([score, np.zeros(more)]), None, 1, group)


@pytest.mark.parametrize(("side", "other"), [("", WITHOUT_CONTEXT), (WITHOUT_CONTEXT, "")])
def test_drift_compares_records_with_those_of_their_own_kind(bundle: Bundle, side: str, other: str) -> None:
    settings = replace(config.load(Retraining), min_records=100, looks=0.1)
    found = drift_check.check(3, bundle, recent(drawn(bundle, side, 2000), side, 300, other), settings)
    assert found.outcome == "stable" and (found.side, found.aside, found.records) == (side, 300, 2300)
    decision = bundle.calibration.sides[side].whole
    for each in found.alarms:
        expected = (drawn(bundle, side, 2000) > decision.thresholds[each.threshold]).sum()
        assert (each.records, each.alarms) == (2300, expected)


@pytest.mark.parametrize(("side", "other"), [("", WITHOUT_CONTEXT), (WITHOUT_CONTEXT, "")])
def test_a_recalibration_moves_what_it_has_seen_and_nothing_else(bundle: Bundle, side: str, other: str) -> None:
    settings = replace(config.load(Retraining), min_records=100, looks=0.1)
    seen = recent(drawn(bundle, side, 2000) + 0.3, side, 300, other)
    new = drift_check.recalibrate(bundle, seen, settings)
    old, sides = bundle.calibration.sides, new.calibration.sides
    assert sides[side].whole.thresholds != old[side].whole.thresholds
    assert sides[other].whole is old[other].whole
    assert not {*new.used.tolist()} & {*seen.record_id[2000:].tolist()}
    before, after = heldout.predict(heldout.select([bundle]), [bundle, new], "p95")
    assert side == WITHOUT_CONTEXT or not np.array_equal(before.alarm, after.alarm)


def test_too_few_records_of_one_kind_are_waited_for(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, store_free: Any
) -> None:
    settings = replace(config.load(Retraining), min_records=1000)
    seen = recent(drawn(bundle, "", 900), "", 800, WITHOUT_CONTEXT)
    monkeypatch.setattr(config, "load", lambda _: settings)
    monkeypatch.setattr(scored, "recent", lambda *_: seen)
    monkeypatch.setattr(drift_check.loading, "load", lambda _: (store_free, bundle))
    assert drift_check.drift_check.fn().name == "Waiting"


@pytest.fixture
def store_free() -> Any:
    from pipeline.serving.version import Version

    return Version(3, "run", "", {}, ())


def test_recent_records_say_who_judged_them(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = records()
    bare = pa.array([None if row % 3 == 0 else text for row, text in enumerate(whole.column("src_ip").to_pylist())])
    at = whole.column_names.index("src_ip")
    mixed = whole.set_column(at, "src_ip", bare.dictionary_encode())
    summary = batch.score(in_memory(monkeypatch, mixed), bundle, 3)
    seen = scored.recent(3, 10**6)
    n, without = mixed.num_rows, int(bare.null_count)
    assert (summary["with_context"], summary["without_context"]) == (n - without, without)
    assert (seen.group == WITHOUT_CONTEXT).sum() == without and (seen.group == "").sum() == n - without
    counted = {name: int(mask.sum()) for name, mask in bundle.calibration.flagged(seen.score, seen.group).items()}
    assert counted == {name: told["alarms"] for name, told in summary["alarms"].items()}
    sizes = [each.whole.reference.size for each in bundle.calibration.sides.values()]
    parts = summary["alarms"]["p95"]["parts"]
    assert [part["records"] for part in parts] == [n - without, without]
    assert [part["calibrated_on"] for part in parts] == sizes
    assert f"{without:,} records have no context" in scoring_report.brief(summary, Path("x"), "champion", True)


def test_adoption_counts_the_alarms_that_the_model_raises(bundle: Bundle) -> None:
    threshold, settings = "p95", config.load(Evaluate).drills
    whole = bundle.calibration.reference
    loud = bundle.with_calibration(bundle.calibration.moved(WITHOUT_CONTEXT, whole, lowest))
    (one,) = adoption.compared({"as it is": bundle}, threshold, settings)
    for split in SPLITS:
        path_of(paths.PROCESSED, split).unlink()
    (other,) = adoption.compared({"loud without a context": loud}, threshold, settings)
    late = one.alarms.records
    assert one.without_context == 0 and "have no context" not in str(one)
    assert (other.alarms.alarms, other.without_context) == (late, late) and "have no context" in str(other)


def test_a_call_raises_the_alarms_that_its_thresholds_say(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "bundle")
    model = AlarmModel.load(tmp_path / "bundle")
    frame = records().drop_columns(["timestamp"]).to_pandas()
    score = model.decision_function(frame)
    for name, threshold in model.thresholds.items():
        alerts = model.explain(frame, name, None, 1)
        assert len(alerts) == (score > threshold).sum()
    assert model.thresholds != bundle.calibration.thresholds


def test_explain_names_the_alerts_of_the_scored_table(bundle: Bundle, tmp_path: Path) -> None:
    bundle.save(tmp_path / "bundle")
    file = later()
    batch.score(file, bundle, 3)
    flagged = told(file).query(f"score > {bundle.calibration.thresholds['p99']}").sort_values("score", ascending=False)
    chosen = Namespace(path=str(file.path), alias=str(tmp_path / "bundle"), record=None, most=50, features=1)
    named = re.findall(r"^([0-9a-f]{16})   ", explain.explained(chosen), re.M)
    assert named == [f"{each:016x}" for each in flagged.index[:50]] and named
    strange = told(file).context.idxmax()
    text = explain.explained(Namespace(**{**vars(chosen), "record": [f"{strange:016x}"]}))
    assert "context has " in text and f"score {told(file).score[strange]:.4g}" in text


def test_what_hosts_did_before_is_a_reason_where_it_drove_the_score(bundle: Bundle) -> None:
    assert bundle.past is not None
    whole, place = records(), {name: at for at, name in enumerate(bundle.past.columns)}
    x = np.tile(bundle.past.usual["middle"], (4, 1)).astype(np.float32)
    rows = ("source_records_5s", "source_ports_5s"), ("destination_hosts_60s",), ("gap_variation",), ()
    for row, names in enumerate(rows):
        for name in names:
            x[row, place[name]] = np.log1p(np.float32(98)) if name != "gap_variation" else 40
    context = Context(bundle.past.scores(x), x)
    found = Explainer(bundle).explain(whole.slice(0, 4), context)
    first = [each.causes[0].reason for each in found]
    assert [each.driver for each in found[:3]] == ["context"] * 3
    assert {reason.feature for reason in (each.reason for each in found[0].causes[:2])} == {*rows[0]}
    ports = next(each.reason for each in found[0].causes if each.reason.feature == "source_ports_5s")
    assert (ports.value, ports.high is not None and ports.high < 98) == (98, True)
    assert ports.text.startswith("ports asked 98 in 5 s by this source; 98 of 100 benign records: ")
    assert first[1].text.startswith("hosts that asked 98 in 60 s to this destination")
    assert [found[0].kind.split()[0], found[1].kind, found[2].kind] == ["source", "destination hosts", "pair timing"]
    assert not any(cause.reason.feature in place for cause in found[3].causes)
    bare = replace(bundle, past=replace(bundle.past, usual={}))
    (older, *_) = Explainer(bare).explain(whole.slice(0, 4), context)
    reason = next(each.reason for each in older.causes if each.reason.feature in place)
    assert (reason.low, reason.high, reason.usual) == (None, None, "") and ";" not in reason.text


def test_alerts_of_a_file_name_what_their_hosts_did_before(bundle: Bundle) -> None:
    batch.score(later(), bundle, 3, alerts=alerts_with(level="p95"))
    found = alerts_of(stored.read())
    driven = [alert for alert in found if alert.driver == "context"]
    assert driven and bundle.past is not None
    assert all({each.feature for each in alert.reasons} & {*bundle.past.columns} for alert in driven)


def test_contexts_do_not_depend_on_how_a_file_is_cut(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = records()
    first, last = whole.slice(0, 900), whole.slice(900).drop_columns(["src_ip"])
    found = []
    for parts in ([first, last], [first.slice(0, 450), first.slice(450), last]):
        past = reading.contexts(in_memory(monkeypatch, *parts), bundle)
        assert past is not None
        found.append(past.score)
    np.testing.assert_array_equal(*found)
    assert np.isfinite(found[0][:900]).all() and np.isnan(found[0][900:]).all()


def stored_with(path: Path, change: Any) -> Incoming:
    """Records as ingest stores them, with other times."""
    table = records()
    at = table.column_names.index("timestamp")
    pq.write_table(table.set_column(at, "timestamp", change(table.column("timestamp"))), path)
    return Incoming(path, path.name, sha256_of(path))


@pytest.mark.parametrize("unit", ["ns", "ms"])
def test_times_of_another_unit_mean_the_same(bundle: Bundle, tmp_path: Path, unit: str) -> None:
    past = bundle.looks_back
    assert past is not None
    file = stored_with(tmp_path / "new.parquet", lambda times: times.cast(pa.timestamp(unit), safe=False))
    cut = records().column("timestamp").cast(pa.timestamp(unit), safe=False).cast(pa.timestamp("us"))
    at = records().column_names.index("timestamp")
    batch.score(file, bundle, 3)
    expected = past.scores_of(records().set_column(at, "timestamp", cut))
    np.testing.assert_allclose(told(file).context, expected, rtol=1e-3, atol=1e-2)


def test_times_that_are_none_are_the_fault_of_the_file(bundle: Bundle, tmp_path: Path) -> None:
    file = stored_with(tmp_path / "new.parquet", lambda times: pa.array(["soon"] * len(times)))
    with pytest.raises(SchemaError, match="column 'timestamp' holds string, allowed is timestamp") as caught:
        batch.score(file, bundle, 3)
    assert arrivals.blames_file(caught.value)
    text = stored_with(tmp_path / "text.parquet", lambda times: times.cast(pa.string()))
    assert batch.score(text, bundle, 3)["without_context"] == 0


def stored_as(path: Path, table: pa.Table) -> Incoming:
    pq.write_table(table, path)
    return Incoming(path, path.name, sha256_of(path))


def test_numbers_that_are_none_are_the_fault_of_the_file(bundle: Bundle, tmp_path: Path) -> None:
    at = records().column_names.index("total_bwd_packets")
    text = records().set_column(at, "total_bwd_packets", pa.array(["many"] * records().num_rows))
    with pytest.raises(SchemaError, match=r"new\.parquet: column 'total_bwd_packets' holds string") as caught:
        batch.score(stored_as(tmp_path / "new.parquet", text), bundle, 3)
    assert arrivals.blames_file(caught.value)


def test_a_context_needs_no_column_among_the_features(bundle: Bundle, tmp_path: Path) -> None:
    past = bundle.looks_back
    assert past is not None
    kept = [each for each in bundle.columns if each.name not in ("total_bwd_packets", "rst_flag_count")]
    found = reading.contexts(stored_as(tmp_path / "new.parquet", records()), replace(bundle, columns=tuple(kept)))
    assert found is not None and len(kept) == len(bundle.columns) - 2
    np.testing.assert_array_equal(found.x, past.context(*talks_of(records())))


def parts_of_a_day(folder: Path) -> list[Incoming]:
    """The records of the later day in three files, in the form in which ingest stores records."""
    chunks = [chunk.records for chunk in reading.chunks(later(), Bundle.of_project())]
    whole = pa.concat_tables(chunks).sort_by("timestamp").unify_dictionaries()
    found = []
    for number in range(3):
        path = folder / f"part-{number}.parquet"
        pq.write_table(whole.slice(100 + 120 * number, 120), path)
        found.append(Incoming(path, path.name, sha256_of(path)))
    return found


def test_a_file_goes_on_where_the_last_one_ended(bundle: Bundle, tmp_path: Path) -> None:
    files, parts = parts_of_a_day(tmp_path), []
    past = bundle.looks_back
    assert past is not None
    for file in files:
        parts.append(reading.contexts(file, bundle, file.key(3)))
        batch.score(file, bundle, 3)
        np.testing.assert_array_equal(told(file).context.astype(np.float32), parts[-1].score)
    tables = [pq.read_table(file.path) for file in files]
    whole, found = past.context(*talks_of(pa.concat_tables(tables))), np.concatenate([part.x for part in parts])
    windows = slice(None, -len(GAP_COLUMNS))  # gaps between records may be longer than the longest window
    np.testing.assert_array_equal(found[:, windows], whole[:, windows])
    assert (past.context(*talks_of(tables[1])) != parts[1].x).any(axis=1).sum() > 3


def written() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in paths.SCORED.rglob("*.parquet")}


def test_a_file_goes_on_from_the_same_one_each_time(bundle: Bundle, tmp_path: Path) -> None:
    files = parts_of_a_day(tmp_path)
    for file in files:
        batch.score(file, bundle, 3)
    before = written()
    for file in reversed(files):
        batch.score(file, bundle, 3)
    assert written() == before
    shutil.rmtree(paths.SCORED)
    for file in files:
        batch.score(file, bundle, 3)
    assert written() == before


def test_an_older_file_and_one_after_a_pause_begin_anew(bundle: Bundle, tmp_path: Path) -> None:
    past = bundle.looks_back
    assert past is not None
    first, second, third = parts_of_a_day(tmp_path)
    for file in (third, first):
        batch.score(file, bundle, 3)
    at = pq.read_table(second.path).column_names.index("timestamp")
    table = pq.read_table(second.path)
    late = (table.column("timestamp").cast(pa.int64()).to_numpy() + 3_600_000_000).astype("datetime64[us]")
    pq.write_table(table.set_column(at, "timestamp", pa.array(late)), second.path)
    second = replace(second, sha256=sha256_of(second.path))
    batch.score(second, bundle, 3)
    for file in (first, second, third):
        expected = past.scores_of(pq.read_table(file.path))
        np.testing.assert_allclose(told(file).context, expected, rtol=1e-3, atol=1e-2)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def torn(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:4] + bytes(40) + content[44:])


def changed(path: Path) -> None:
    table = pq.read_table(path)
    ports = pa.array(table.column("port").to_numpy() + 1)
    pq.write_table(table.set_column(table.column_names.index("port"), "port", ports), path)


@pytest.mark.parametrize("damage", [cut, torn, changed])
def test_the_end_of_a_file_that_is_damaged_is_passed_over(bundle: Bundle, tmp_path: Path, damage: Any) -> None:
    past = bundle.looks_back
    assert past is not None
    first, second, _ = parts_of_a_day(tmp_path)
    batch.score(first, bundle, 3)
    damage(carried_past.path_of(first.key(3)))
    batch.score(second, bundle, 3)
    expected = past.scores_of(pq.read_table(second.path))
    np.testing.assert_allclose(told(second).context, expected, rtol=1e-3, atol=1e-2)


def goes_on_from(file: Incoming, bundle: Bundle) -> str:
    past = reading.contexts(file, bundle, file.key(3))
    assert past is not None
    return past.after.key


def test_times_in_the_future_are_not_carried_on(bundle: Bundle, tmp_path: Path) -> None:
    first, second, third = parts_of_a_day(tmp_path)
    table = pq.read_table(first.path)
    times = table.column("timestamp").to_pylist()
    ahead = pa.array([*times[:-1], times[-1].replace(year=2200)], pa.timestamp("us"))
    pq.write_table(table.set_column(table.column_names.index("timestamp"), "timestamp", ahead), first.path)
    first = replace(first, sha256=sha256_of(first.path))
    batch.score(first, bundle, 3)
    assert goes_on_from(second, bundle) == first.key(3)
    (pointer,) = (paths.SCORED / "pasts").glob("last-*.json")
    write_json(pointer, read_json(pointer) | {"time": int(np.datetime64("2200", "us").astype(np.int64))})
    batch.score(second, bundle, 3)
    assert goes_on_from(third, bundle) == second.key(3)


def test_the_first_file_of_a_new_model_goes_on_from_the_last_one_of_the_old(bundle: Bundle, tmp_path: Path) -> None:
    assert bundle.past is not None
    first, second, third = parts_of_a_day(tmp_path)
    batch.score(first, bundle, 3)
    new = bundle.with_calibration(bundle.calibration.moved("", bundle.calibration.reference, lowest))
    assert new.digest != bundle.digest and goes_on_from(second, new) == first.key(3)
    assert goes_on_from(second, replace(new, past=replace(bundle.past, remembered=5))) == ""
    batch.score(second, new, 4)
    assert goes_on_from(third, new) == second.key(4)


def test_the_ends_of_the_last_files_stay(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carried_past, "KEPT", 2)
    files = parts_of_a_day(tmp_path)
    for file in files:
        batch.score(file, bundle, 3)
    assert [carried_past.path_of(file.key(3)).exists() for file in files] == [False, True, True]
    assert all(scored.is_scored(file, 3) for file in files)
    assert scored.recent(3, 10**6).files == 3


def test_what_is_carried_on_is_bounded_and_holds_no_address(bundle: Bundle, tmp_path: Path) -> None:
    assert bundle.past is not None
    short = replace(bundle, past=replace(bundle.past, remembered=5))
    first, second, _ = parts_of_a_day(tmp_path)
    for file in (first, second):
        batch.score(file, short, 3)
    for path in (paths.SCORED / "pasts").glob("*.parquet"):
        end = pq.read_table(path)
        assert end.num_rows == 5 and {str(kind) for kind in end.schema.types} == {"int64"}
        last = pq.read_table(tmp_path / f"{path.name.split('.')[0]}.parquet").column("timestamp").to_pylist()[-1]
        assert end.column("time").to_numpy()[-1] == np.datetime64(last, "us").astype(np.int64)
