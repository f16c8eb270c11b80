"""Files that are named are scored and explained in this process: as the flow does, and without a server."""

import os
import subprocess
import sys
from argparse import Namespace

import pyarrow.parquet as pq
import pytest

from benchmarks.champions import signed
from flows import arguments, explain, score, scoring
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.base.errors import ArtifactError, ConfigError
from pipeline.base.parallel import THREADS, cores
from pipeline.serving import registry
from pipeline.serving.bundle import Bundle
from pipeline.serving.counts import counted
from pipeline.serving.manifest import HashedFolder
from pipeline.serving.scored import TABLES
from pipeline.serving.version import Version


@pytest.fixture(autouse=True)
def inbox(tmp_path, monkeypatch):
    """Whatever a test makes has come in."""
    monkeypatch.setattr(paths, "INCOMING", tmp_path)


def tables():
    """Every table under data/scored, and its bytes."""
    return {path.relative_to(paths.SCORED): path.read_bytes() for path in paths.SCORED.rglob("*.parquet")}


def strongest():
    """The record of the highest score of the file that was scored."""
    (path,) = paths.SCORED.glob("*.parquet")
    table = pq.read_table(path)
    return path, table.take([table["score"].to_numpy().argmax()]).to_pylist()[0]


def test_files_that_are_named_leave_what_the_flow_leaves(task, store, folder):
    files = sorted(folder.iterdir())[:2]
    assert score.main([*map(str, files), "--false-discovery", "0.2"]) == 0
    here = tables()
    for path in paths.SCORED.rglob("*.*"):
        path.unlink()
    for file in files:
        scoring.scoring.fn(str(file), "champion", 0.2)
    assert here == tables()
    assert len(here) == 2 * len(TABLES)


def test_it_ends_with_what_was_found_and_where(store, folder, capsys):
    file = next(path for path in folder.iterdir() if "DDos" in path.name)
    assert score.main([str(file)]) == 0
    said = capsys.readouterr().out
    path, record = strongest()
    summary = read_json(paths.SCORED / "summaries" / f"{path.stem}.json")
    assert f"{file}: {summary['records']:,} records scored by version 3 (champion)" in said
    assert f"{counted(summary['alarms']['p99']['alarms'], 'alert')} at p99" in said
    assert said.index(f"{record['record_id']:016x}") < said.index(f"table    {path}")
    assert f"flowsculpt explain {file}" in said
    alerts = pq.read_table(paths.SCORED / "alerts" / path.name).to_pylist()
    reasons = next(each["reasons"] for each in alerts if each["record_id"] == record["record_id"])
    assert f"{record['record_id']:016x}  {reasons[0]['text']}" in said
    attacks = summary["labels"]["attacks"]
    assert f"at p99: attacks {attacks['alarms']['p99']:,} of {attacks['records']:,} (" in said
    before = tables()
    assert score.main([str(file)]) == 0
    assert "records scored before by version 3" in capsys.readouterr().out
    assert tables() == before


def test_a_file_that_cannot_be_scored_fails_the_command_and_keeps_no_other_waiting(store, folder, capsys):
    (folder / "bad.csv").write_text("a,b\n1,2\n")
    assert score.main([str(folder / "bad.csv")]) == 1
    said = capsys.readouterr().err
    assert "nothing was scored" in said and "bad.csv" in said and "is missing" in said
    (folder / "bad.csv").write_text("a,b\n1,3\n")
    good = sorted(folder.iterdir())[0]
    assert score.main([str(folder / "bad.csv"), str(good)]) == 1
    assert len(list(paths.SCORED.glob("*.parquet"))) == 1
    assert "not every file was scored" in capsys.readouterr().err
    assert len(list(paths.QUARANTINE.glob("*.json"))) == 2


def test_a_folder_goes_through_the_flow(store, folder, monkeypatch):
    asked = []
    monkeypatch.setattr(score, "_by_flow", lambda *given: asked.append(given) or "done")
    assert score.main([str(folder), "--alias", "previous"]) == 0
    assert asked == [(str(folder), "previous", 0.0, False, "auto")]
    with pytest.raises(ConfigError, match="give one folder alone, or files"):
        score._scored(Namespace(path=[str(folder), "a.csv"], alias="champion", false_discovery=0.0, rescore=False))


def test_without_a_champion_the_next_step_is_told(store, folder, monkeypatch):
    file, candidate = sorted(folder.iterdir())[0], Version(1, "run", "", {}, ("candidate",))
    monkeypatch.setattr(registry, "find_version", {"candidate": candidate}.get)
    with pytest.raises(ArtifactError, match="version 1 is the candidate: promote it with `flowsculpt promote`"):
        score.here([file])
    monkeypatch.setattr(registry, "find_version", lambda _: None)
    with pytest.raises(ArtifactError, match="flowsculpt train --promote"):
        score.here([file])
    with pytest.raises(ArtifactError, match="did you mean 'previous'"):
        score.here([file], "previuos")


WITHOUT_SERVERS = """
import sys
from pathlib import Path
from pipeline.serving import loading
from pipeline.serving.bundle import Bundle
from pipeline.serving.version import Version
bundle = Bundle.load(Path("bundle"))
loading.load = lambda alias: (Version(3, "run", bundle.digest, {}, ()), bundle)
from flows import score
from pipeline.serving import intake
taken, used = intake.take_in, []
def take_in(*given):
    import pyarrow
    from threadpoolctl import threadpool_info
    used.append(max(pyarrow.cpu_count(), *(pool["num_threads"] for pool in threadpool_info())))
    return taken(*given)
intake.take_in = take_in
code = score.main(sys.argv[1:])
heavy = {"prefect", "dvc", "mlflow", "sqlalchemy", "torch", "lightning", "great_expectations", "sklearn"}
print(sorted((heavy | {"scipy.stats", "matplotlib", "jinja2", "nvidia", "fastapi"}) & {*sys.modules}))
print(*used)
sys.exit(code)
"""


def scored_alone(folder, threads):
    """What the program printed at last: what it imported that it does not need, and how many threads it used."""
    unset = {name: value for name, value in os.environ.items() if name not in THREADS}
    command = [sys.executable, "-c", WITHOUT_SERVERS, str(sorted(folder.iterdir())[0])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=unset | threads)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-2:]


def test_it_imports_what_it_needs_and_works_in_one_thread(store, folder):
    assert scored_alone(folder, {}) == ["[]", "1"]


@pytest.mark.skipif(cores() < 2, reason="needs two cores")
def test_it_works_in_as_many_threads_as_a_user_asks_for(store, folder):
    assert scored_alone(folder, {"OMP_NUM_THREADS": "2"}) == ["[]", "2"]


# Reasons.


def chosen(path, *given):
    return arguments.parse("explain", [str(path), *given])


def test_the_strongest_alerts_of_a_file_are_explained(store, folder):
    file = next(path for path in folder.iterdir() if "DDos" in path.name)
    score.here([file])
    path, record = strongest()
    summary = read_json(paths.SCORED / "summaries" / f"{path.stem}.json")
    said = explain.explained(chosen(file, "--most", "2", "--features", "3"))
    alerts = said.split("\n\n")
    assert len(alerts) == 2 * min(2, summary["alarms"]["p99"]["alarms"]) > 0  # what was decided, and the features
    assert said.startswith(f"{record['record_id']:016x}   {record['source_file']}, row {record['row']}\n")
    assert all(len(each.splitlines()) == 3 for each in alerts[1::2])
    assert "98 of 100 benign records: " in said


def test_a_record_that_is_named_is_explained_whatever_it_is(store, folder):
    file = next(path for path in folder.iterdir() if "Monday" in path.name)
    score.here([file])
    (path,) = paths.SCORED.glob("*.parquet")
    table = pq.read_table(path)
    quiet = table["record_id"][int(table["score"].to_numpy().argmin())].as_py()
    said = explain.explained(chosen(file, "--record", f"{quiet:016x}"))
    assert said.startswith(f"{quiet:016x}   ") and "\nbenign, score" in said
    with pytest.raises(ConfigError, match="has no record 00000000000000ff"):
        explain.explained(chosen(file, "--record", "ff"))
    with pytest.raises(ConfigError, match="'nine' is no id"):
        explain.explained(chosen(file, "--record", "nine"))


def test_a_model_that_keeps_no_benign_records_says_what_to_do(store, folder, tmp_path, monkeypatch):
    sealed = store.bundle.sealed
    files = {name: content for name, content in sealed.files.items() if not name.startswith("benign.")}
    HashedFolder(sealed.about, files).save(tmp_path / "bundle")
    store.bundle = Bundle.load(tmp_path / "bundle")
    version = signed(Version(3, "run", store.bundle.digest, {}, ("champion",)))
    monkeypatch.setattr(registry, "find_version", lambda _: version)
    file = next(path for path in folder.iterdir() if "DDos" in path.name)
    with pytest.raises(ArtifactError, match="train it again: flowsculpt train"):
        explain.explained(chosen(file))


@pytest.mark.parametrize("record", ["-1", "f" * 17, "no id"])
def test_what_is_no_record_id_is_refused(store, folder, record):
    with pytest.raises(ConfigError, match="16 hexadecimal digits"):
        explain.explained(chosen(next(folder.iterdir()), f"--record={record}"))


def test_a_folder_is_not_explained(store, folder):
    with pytest.raises(ConfigError, match="is a folder; name one file"):
        explain.explained(chosen(folder))
