"""Records, verdicts, artefacts and DVC's remote in an object store: the same chain as on a disk."""

import shutil
import time
from argparse import Namespace
from pathlib import Path

import pytest

from flows import explain, prune, read, score, scoring, watch
from pipeline import config
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, sha256_of
from pipeline.base.errors import ConfigError, ScoringError, SourceError
from pipeline.objects import copies
from pipeline.objects.store import Store
from pipeline.serving import retention, scored, uploads
from pipeline.settings.retention import Retention
from pipeline.tracking.removal import DAY
from tests.conftest import KEY, SECRET

pytestmark = pytest.mark.usefixtures("bucket")


def put_folder(bucket, folder, prefix):
    for path in folder.iterdir():
        bucket.upload_file(str(path), f"{prefix}/{path.name}")


def keys(bucket, prefix=""):
    return sorted(each.key for each in bucket.objects.filter(Prefix=prefix))


def texts(folder):
    """Everything that is written below a folder, as one text."""
    return b"\n".join(path.read_bytes() for path in folder.rglob("*") if path.is_file()).decode(errors="replace")


def test_ingest_reads_a_bucket_as_it_reads_a_folder(project, bucket):
    project.only("Tuesday", "Wednesday")
    project.run("ingest")
    before, source = sha256_of(paths.RECORDS), read_json(paths.SOURCE)
    put_folder(bucket, project.raw, "days/2017")
    shutil.rmtree(project.raw)
    project.set("ingest.path", "s3://bucket/days/2017")
    project.run("ingest")
    assert sha256_of(paths.RECORDS) == before
    assert read_json(paths.SOURCE) == source  # names, hashes, rejects
    (one, two) = keys(bucket, "days")
    project.set("ingest.path", [f"s3://bucket/{one}", f"s3://bucket/{two}"])
    project.run("ingest")
    assert sha256_of(paths.RECORDS) == before
    assert read.understood(Namespace(path=[f"s3://bucket/{one}"], dataset=None, json=False))


def test_an_address_without_objects_stops_ingest_with_its_name(project):
    project.set("ingest.path", "s3://bucket/none")
    assert project.refusal("ingest", SourceError).startswith("s3://bucket/none: there is no such object")


# Scoring.


@pytest.fixture
def days(store, week, bucket):
    """Two days of records that have come in, in the bucket."""
    for day in ("Tuesday", "Wednesday"):
        path = next(path for path in week.iterdir() if day in path.name)
        bucket.upload_file(str(path), f"in/{day}.csv")
    return "s3://bucket/in"


def given(*paths_, **more):
    return Namespace(
        **{"path": paths_, "alias": "champion", "false_discovery": 0.0, "rescore": False, "format": "auto"} | more
    )


def test_an_object_is_scored_as_a_file_is_and_once(days, week):
    said = score._scored(given(f"{days}/Tuesday.csv"))
    (table,) = paths.SCORED.glob("*.parquet")
    file = next(path for path in week.iterdir() if "Tuesday" in path.name)
    assert table.name == f"Tuesday.csv-{sha256_of(file)}-v3.parquet"
    summary = read_json(scored.summary_path(table.stem))
    assert (summary["source"], summary["address"]) == ("Tuesday.csv", "s3://bucket/in/Tuesday.csv")
    assert summary["source_sha256"] == sha256_of(file)
    assert said and SECRET not in said
    assert score._scored(given(f"{days}/Tuesday.csv"))
    assert [*paths.SCORED.glob("*.parquet")] == [table]
    assert explain.explained(Namespace(path=f"{days}/Tuesday.csv", alias="champion", record=[], most=1, features=2))


def test_a_bucket_is_scored_by_the_flow_and_a_bad_object_is_quarantined_once(days, task, bucket):
    bucket.put_object(Key="in/bad.csv", Body=b"a,b\n1,2\n")
    state = scoring.scoring.fn(days)
    assert state.message == "completed, 1 quarantined, 2 files scored, 0 passed over, 0 left for the next run"
    (about,) = paths.QUARANTINE.glob("*.json")
    held = read_json(about)
    assert (held["source"], held["path"]) == ("bad.csv", "data/objects/s3/bucket/in/bad.csv")
    assert held["stays"]
    again = scoring.scoring.fn(days)
    assert again.message == "completed, 1 quarantined, 0 files scored, 2 passed over, 0 left for the next run"
    bucket.Object("in/bad.csv").delete()
    assert scoring.scoring.fn(days).message.startswith("completed, 0 quarantined, 0 files scored, 2 passed over")
    shutil.rmtree(paths.OBJECTS)  # the copies are fetched again, and known
    assert scoring.scoring.fn(days).message.startswith("completed, 0 quarantined, 0 files scored, 2 passed over")


def test_verdicts_are_uploaded_whole_and_the_summary_last(days, prepared, bucket, monkeypatch):
    prepared.set("scoring.output", "s3://bucket/out")
    order, real = [], Store.put

    def put(self, file, address):
        order.append(str(address))
        real(self, file, address)

    monkeypatch.setattr(Store, "put", put)
    score._scored(given(f"{days}/Tuesday.csv"))
    (key,) = scored.summaries()
    names = [f"out/csv/{key}.csv", f"out/{key}.parquet", f"out/alerts/{key}.parquet", f"out/rejected/{key}.parquet"]
    assert keys(bucket, "out") == sorted([*names, f"out/summaries/{key}.json"])
    assert order[-1] == f"s3://bucket/out/summaries/{key}.json"
    assert sha256_of(copies.local(f"s3://bucket/{names[1]}")) == sha256_of(scored.table_path(key))
    score._scored(given(f"{days}/Tuesday.csv"))
    assert len(order) == 5  # nothing is uploaded twice


def test_what_could_not_be_uploaded_fails_the_run_and_is_uploaded_by_the_next(days, prepared, bucket, task):
    prepared.set("scoring.output", "s3://buckets/out")
    with pytest.raises(
        ScoringError, match=r"^scored, but not every table was uploaded; the next run tries again: s3://b"
    ):
        score._scored(given(f"{days}/Tuesday.csv"))
    assert len(scored.summaries()) == 1
    (key,) = uploads.pending("s3://buckets/out")
    assert key in scored.summaries()
    state = scoring.scoring.fn(days)
    assert state.is_failed() and "not every table was uploaded" in state.message and "1 file scored" in state.message
    prepared.set("scoring.output", "s3://bucket/out")
    assert scoring.scoring.fn(days).is_completed()
    assert len(keys(bucket, "out/summaries")) == 2
    assert not [*uploads.pending("s3://bucket/out")]


def test_the_watch_says_what_to_do_with_a_bucket(prepared):
    with pytest.raises(ConfigError, match=r"s3://bucket/in: the watch reads files of this machine; schedule scoring"):
        watch.watch(Namespace(path="s3://bucket/in", alias="champion"))


def test_no_secret_is_written_anywhere(days, prepared):
    prepared.set("scoring.output", "s3://bucket/out")
    score._scored(given(f"{days}/Tuesday.csv"))
    assert KEY not in texts(Path("data")) and SECRET not in texts(Path("data"))


def test_pruning_spares_what_is_not_uploaded_and_forgets_old_copies(days, prepared, bucket):
    later = time.time() + 365 * DAY
    for section, least in (("retraining", 50), ("promotion.shadow", 100)):
        prepared.set(f"{section}.min_records", least)
        prepared.set(f"{section}.records", 101)
    for day in ("Tuesday", "Wednesday"):
        score._scored(given(f"{days}/{day}.csv"))

    def found(rule):
        return [*prune.rules(config.load(Retention), Path.cwd(), later)[rule]()]

    assert [each.name.partition("-")[0] for each in found(retention.SCORED)] == [
        "Tuesday.csv"
    ]  # the last one is needed
    prepared.set("scoring.output", "s3://bucket/out")
    assert not found(retention.SCORED)
    uploads.upload("s3://bucket/out")
    (tuesday,) = found(retention.SCORED)
    assert tuesday.remove()
    assert len(keys(bucket, "out/summaries")) == 2  # what is in the store stays there
    assert not [*uploads.pending("s3://bucket/out")]
    names = [each.name for each in found("copies of objects")]
    assert names == ["s3://bucket/in/Tuesday.csv", "s3://bucket/in/Wednesday.csv"]
    assert all(each.remove() for each in found("copies of objects"))
    assert not [*copies.fetched()]
