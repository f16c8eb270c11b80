"""The command ``incidents`` shows what stored alerts come to."""

import json
import shutil
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows import incidents
from pipeline.base.errors import ConfigError
from tests.serving.alerts import made

ROOT = Path(__file__).parents[2]
SCAN = [(n / 10, "10.9.9.9", "10.0.0.80", n + 1, 0.002) for n in range(1000)]
LONE = [(50 * n, f"10.0.1.{n}", "10.0.0.53", 53, 0.009 if n % 9 == 0 else 0.4) for n in range(40)]


def _store(name, table):
    for room, rows in ((".", table), ("alerts", made.alerts(table))):
        folder = Path("data/scored") / room
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows, folder / f"{name}.parquet")


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    _store("a", made.scored([*SCAN, *LONE]))


def test_a_scan_is_one_line_and_lone_alerts_are_counted(project, capsys):
    assert incidents.main([]) == 0
    head, scan, rest = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["severity", "first"]
    assert scan.startswith("critical  2026-01-05 09:00:00")
    assert "10.9.9.9 -> 10.0.0.80 1,000 ports" in scan
    assert " <0.001 " in scan
    assert rest == "too little evidence to be incidents: 5 alerts in 5 groups; --all shows them"


def test_no_bound_is_told_in_powers_of_ten(project, capsys):
    incidents.main(["--all"])
    assert "e+0" not in capsys.readouterr().out


def test_json_has_all_that_an_incident_has(project, capsys):
    assert incidents.main(["--json", "--all"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["severity"] for each in found] == ["critical", *["low"] * 5]
    assert found[0]["alerts"] == 1000
    assert found[0]["false_per_million"] < 1e-6


def test_what_a_rule_hides_is_counted_and_shown_on_demand(project, capsys):
    Path("data/suppressions.toml").write_text(
        '[[rule]]\nname = "scanner"\nsource = "10.9.9.9"\nuntil = 2026-02-01\nby = "ada"\nwhy = "ticket 4711"\n'
    )
    assert incidents.main([]) == 0
    said = capsys.readouterr().out
    assert "no incidents" in said
    assert "rule 'scanner' of ada hides 1,000 alerts (1 group): ticket 4711" in said
    assert "rule 'scanner' of ada expired on 2026-02-01" in said
    incidents.main(["--all"])
    (scan,) = (line for line in capsys.readouterr().out.splitlines() if "10.9.9.9 -> 10.0.0.80" in line)
    assert scan.startswith("critical (hidden) ")


def test_alerts_that_a_watch_has_just_raised_make_no_incident_alone_and_weaken_none(project, capsys):
    pairs = [(h / 10 + k, f"10.1.0.{h}", "10.0.0.53", 53, 0.009) for h in range(8) for k in range(2)]
    late = made.scored([(105, "10.9.9.9", "10.0.0.80", 555, 0.002), *pairs])
    ids = pa.array(range(9000, 9000 + late.num_rows), pa.uint64())
    late = late.set_column(late.schema.get_field_index("record_id"), "record_id", ids)
    part = Path("data/scored/alerts/conn.log-0-9-v1.000001.parquet")
    pq.write_table(made.alerts(late), part)
    incidents.main(["--json"])
    (scan,) = json.loads(capsys.readouterr().out)
    assert (scan["severity"], scan["alerts"]) == ("critical", 1001) and scan["evidence"] > 5
    incidents.main(["--json", "--all"])
    assert sum(each["alerts"] for each in json.loads(capsys.readouterr().out)) == 1001 + 5 + len(pairs)
    part.rename("data/scored/alerts/gone.parquet")  # nobody will ever count the records around these
    incidents.main(["--json"])
    assert {each["severity"] for each in json.loads(capsys.readouterr().out)} == {"critical", "medium"}


def test_a_mistake_in_a_rule_ends_the_command(project, capsys):
    Path("data/suppressions.toml").write_text("[[rule]]\nnam = 1\n")
    assert incidents.main([]) == 1
    assert "unknown key 'nam' (did you mean 'name'?)" in "".join(capsys.readouterr())


def test_nothing_stored_means_no_incidents(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    assert incidents.main([]) == 0
    assert capsys.readouterr().out == "no incidents\n"


def test_two_files_whose_times_overlap_and_a_file_that_came_twice_are_one_incident(project, capsys):
    table = made.scored(SCAN)
    _store("a", table.slice(0, 400))
    _store("b", table)
    assert incidents.main(["--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["alerts"] == 1000


def test_since_takes_spans_and_times():
    now = datetime(2026, 1, 8)
    assert incidents.moment("24h", now) == datetime(2026, 1, 7)
    assert incidents.moment("2w", now) == datetime(2025, 12, 25)
    assert incidents.moment("2026-01-05", now) == datetime(2026, 1, 5)
    assert incidents.moment("2026-01-05T10:00+02:00", now) == datetime(2026, 1, 5, 8)
    for far in ("999999w", "99999999999w"):
        with pytest.raises(ConfigError, match="--since: must be a span"):
            incidents.moment(far, datetime(2026, 1, 5, 12))
    with pytest.raises(ConfigError, match="--since: must be a span"):
        incidents.moment("soon", now)


def test_since_leaves_out_what_had_ended(project, capsys):
    incidents.main(["--since", "2026-01-06"])
    assert capsys.readouterr().out == "no incidents\n"
