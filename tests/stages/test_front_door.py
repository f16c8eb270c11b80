"""Files of others are read in a process of their own: the tables are the same, and its end is one file's quarantine."""

import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from flows import scoring
from pipeline import config
from pipeline.artifacts import paths
from pipeline.base.errors import SourceError
from pipeline.datasets.apart.reader import Apart
from pipeline.serving import front_door
from pipeline.serving.watching.folder import Folder
from pipeline.serving.watching.stretch import Model
from pipeline.settings.alerts import Alerts
from pipeline.settings.scoring import Scoring

HOSTILE = Path(__file__).parents[2].parent / "shared" / "cases" / "hostile"
needs_cases = pytest.mark.skipif(not HOSTILE.is_dir(), reason=f"the hostile files are not in {HOSTILE}")
REASONS = {
    "broken_lzma.zip": "cannot be read",
    "header_20000.csv": r"bytes of the line of names are 128,890, allowed is 65,536; raise files\.header",
    "newlines_4MB.csv.gz": "not one of 0 rows can be read",
    "p_rec_dup.parquet": "two columns are called 'flow_duration'",
    "p_rec_id_null.parquet": "'record_id' is empty in 50 records",
    "p_rec_id_string.parquet": "'record_id' holds string",
    "silent_members.zip": r"\./ddos\.csv, ddos\.txt, ddos\.csv\.bz2, \.x/ddos\.csv, inner\.zip, ddos\.parquet",
    "two_columns_one_name.csv": r"two columns are called 'Subflow Fwd Packets' \(columns 62 and 63\)",
}

pytestmark = pytest.mark.usefixtures("task")


@pytest.fixture(autouse=True)
def inbox(tmp_path, monkeypatch):
    """Whatever a test makes has come in."""
    monkeypatch.setattr(paths, "INCOMING", tmp_path)


def run(folder):
    return scoring.scoring.fn(str(folder)).result()


def tables():
    return {path.relative_to(paths.SCORED): path.read_bytes() for path in paths.SCORED.rglob("*.parquet")}


def test_all_tables_are_the_bytes_that_reading_in_this_process_gives(store, prepared, folder, monkeypatch):
    asked, read = [], Apart.read
    monkeypatch.setattr(Apart, "read", lambda self, about: asked.append(about.path) or read(self, about))
    file = sorted(folder.iterdir())[0]
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines, lines[1].replace(",", ";"), lines[2].replace(",", ",x", 1), ""]))
    assert len(run(folder).scored) == 8
    apart = tables()
    assert {*asked} == {*folder.iterdir()}
    shutil.rmtree(paths.SCORED)
    prepared.set("files.apart", False)
    asked.clear()
    assert len(run(folder).scored) == 8
    assert not asked
    assert tables() == apart


def test_the_end_of_the_process_is_the_quarantine_of_one_file(store, folder, monkeypatch):
    first = sorted(folder.iterdir())[0]
    answer = Apart._answer

    def killed(self, process, path):
        if path.name == first.name:
            os.kill(process.pid, signal.SIGSEGV)
        return answer(self, process, path)

    monkeypatch.setattr(Apart, "_answer", killed)
    result = run(folder)
    assert len(result.scored) == 7
    (held,) = result.quarantined
    assert held.source == first.name and "its reader was ended by SIGSEGV" in held.reason


def test_a_limit_of_the_settings_is_the_quarantine_of_one_file(store, prepared, folder):
    wide = folder / "wide.csv"
    wide.write_text(",".join(f"c{place}" for place in range(200)) + "\n" + "1," * 199 + "1\n")
    prepared.set("files.columns", 150)
    result = run(folder)
    assert len(result.scored) == 8
    assert re.search(r"its columns are 200, allowed is 150; raise files\.columns", result.quarantined[0].reason)


def test_the_watch_of_a_folder_reads_in_the_other_process(store, prepared, folder, monkeypatch):
    asked, read = [], Apart.read
    monkeypatch.setattr(Apart, "read", lambda self, about: asked.append(about.path) or read(self, about))
    model = Model(3, store.bundle, config.load(Scoring).contract, config.load(Alerts))
    watched = Folder(folder, 0.0, ())
    with front_door.opened():
        done = watched.judge(sorted(folder.iterdir())[0], model)
    assert done["records"] > 0 and asked


def test_ingest_keeps_to_the_limits(project):
    project.set("files.columns", 70)
    assert re.search(r"its columns are 79, allowed is 70; raise files\.columns", project.refusal("ingest", SourceError))


@needs_cases
def test_each_hostile_case_that_is_refused_says_why_and_the_others_are_scored(store, tmp_path):
    folder = shutil.copytree(HOSTILE, tmp_path / "hostile", copy_function=shutil.copyfile)
    folder.chmod(0o755)
    result = run(folder)
    assert {held.source for held in result.quarantined} == REASONS.keys()
    for held in result.quarantined:
        assert re.search(REASONS[held.source], held.reason), held
    assert {summary["source"] for summary in result.scored} == {
        path.name for path in HOSTILE.iterdir()
    } - REASONS.keys()
    (shifted,) = (summary for summary in result.scored if summary["source"] == "bare_cr.csv")
    assert (shifted["records"], shifted["rejected"]) == (3, 1)
