"""What counts as a file that came in."""

from pipeline.artifacts import paths
from pipeline.serving import arrivals


def test_what_this_project_writes_is_no_file_that_came_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in (paths.SCORED, paths.QUARANTINE, paths.WATCH / "conn.log-0f" / "conn-v1-0123456789abcdef"):
        folder.mkdir(parents=True)
        (folder / "part.csv").write_text("a\n1\n")
    paths.INCOMING.mkdir()
    (paths.INCOMING / "own.csv").write_text("a\n1\n")
    assert arrivals.listed(paths.DATA) == [paths.INCOMING / "own.csv"]
