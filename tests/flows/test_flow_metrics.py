"""What a worker says to Prometheus of flows and model, and the alert rules that use it."""

import re
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import yaml
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.states import Completed, Crashed, Failed, Late

from flows.runtime import flow_metrics, servers
from flows.runtime.notices import NOTICES
from pipeline.artifacts import paths
from pipeline.artifacts.files import write_json
from pipeline.base.errors import ConfigError
from pipeline.serving import exposition
from pipeline.serving.watching import gauges
from pipeline.settings.prometheus import Prometheus
from pipeline.tracking import direct

ROOT = Path(__file__).parents[2]
NOW = datetime.now(UTC)
RULES = [
    each for group in yaml.safe_load((ROOT / "deploy/alerts.yml").read_text())["groups"] for each in group["rules"]
]


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    home = tmp_path_factory.mktemp("prefect")
    with pytest.MonkeyPatch.context() as patch, temporary_settings({PREFECT_HOME: home}):
        patch.setenv("PREFECT_HOME", str(home))
        server = servers.prefect(servers.free_port(), login="who:knows", options=("--no-services", "--no-ui"))
        with server as api, temporary_settings({PREFECT_API_URL: api, PREFECT_LOGGING_TO_API_ENABLED: False}):
            yield api


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("{}")
    (tmp_path / "prefect.yaml").write_text("deployments: [{name: training}, {name: scoring}, {name: prune}]")


@flow(name="any", persist_result=False)
def nothing():
    pass


def end(deployment, *states):
    with get_client(sync_client=True) as client:
        made = client.create_deployment(client.create_flow(nothing), deployment)
        for state in states:
            run = client.create_flow_run_from_deployment(made)
            client.set_flow_run_state(run.id, state, force=True)


def read(port, path="/metrics"):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        return answer.read().decode()


def numbers(text):
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")}


def test_a_worker_says_how_flows_and_model_go(api, project, monkeypatch):
    when = datetime(2026, 3, 1, tzinfo=UTC)
    end("training", Completed(), Failed(name="Unreadable"))
    end("scoring", Failed(), Crashed(), Completed(), Late())
    end("another", Failed())
    tags = {"flowsculpt.gate.time": when.isoformat()}
    monkeypatch.setattr(direct, "ask", lambda *_: direct.Registered(7, "run", tags, ("champion",)))
    write_scored("a", datetime.now(UTC), 300, 6, 3.0)
    write_scored("b", datetime.now(UTC) - timedelta(hours=1), 100, 2, 1.0)
    write_scored("c", datetime.now(UTC) - timedelta(hours=25), 900, 900, 9.0)
    write_json(paths.QUARANTINE / "0-x.json", {})
    write_json(paths.DRIFT / "drift.json", {"model": "flowsculpt", "outcome": "train"})
    with flow_metrics.answering(Prometheus("127.0.0.1", servers.free_port()), pytest.fail) as port:
        found = numbers(read(port))
        assert read(port, "/healthz") == "ok\n"
    expected = {
        'flow_last_failed{deployment="scoring"}': 0,
        'flow_last_failed{deployment="training"}': 1,
        'flow_late_runs{deployment="scoring"}': 1,
        'flow_runs{deployment="prune",end="failed"}': 0,
        'flow_runs{deployment="scoring",end="completed"}': 1,
        'flow_runs{deployment="scoring",end="failed"}': 2,
        'flow_runs{deployment="training",end="failed"}': 1,
        'day_alarms_share{level="p99"}': 0.02,
        'day_promised_share{level="p99"}': 0.01,
        'drift_outcome{outcome="train"}': 1,
        "champion_since_timestamp_seconds": when.timestamp(),
        "champion_version": 7,
        "day_records": 400,
        "prefect_up": 1,
        "quarantined_files": 1,
        "registry_up": 1,
    }
    assert {name: found[f"flowsculpt_{name}"] for name in expected} == expected
    assert not any("another" in name for name in found)
    assert found['flowsculpt_flow_last_end_timestamp_seconds{deployment="training",end="completed"}'] > when.timestamp()


WHOLE = {"prefect_up", "champion_version", "day_records", "quarantined_files", "drift_outcome"}


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


@pytest.mark.parametrize(
    ("broken", "lacks"),
    [
        (lambda patch: Path("prefect.yaml").unlink(), set()),
        (lambda patch: Path("prefect.yaml").write_text("deployments: [unclosed"), set()),
        (lambda patch: Path("prefect.yaml").write_text("- 1"), set()),
        (lambda patch: patch.setattr(direct, "ask", failing(ConfigError("no store"))), {"champion_version"}),
        (lambda patch: patch.setattr(direct, "ask", failing(OSError("disk"))), {"champion_version"}),
        (lambda patch: write_json(paths.SCORED / "summaries" / "b.json", {"time": NOW.isoformat()}), {"day_records"}),
        (lambda patch: write_json(paths.DRIFT / "drift.json", {"model": "flowsculpt"}), {"drift_outcome"}),
        (lambda patch: write_json(paths.DRIFT / "drift.json", []), {"drift_outcome"}),
        (lambda patch: (paths.DRIFT / "drift.json").write_text("{"), {"drift_outcome"}),
        (lambda patch: patch.setattr(SyncPrefectClient, "count_flow_runs", failing(httpx.ReadTimeout("late"))), set()),
        (lambda patch: patch.setattr(SyncPrefectClient, "read_flow_runs", failing(ObjectNotFound(KeyError()))), set()),
    ],
)
def test_a_part_that_is_broken_takes_no_other_with_it(api, project, monkeypatch, caplog, broken, lacks):
    monkeypatch.setattr(direct, "ask", lambda *_: direct.Registered(7, "run", {}, ("champion",)))
    write_scored("a", NOW, 300, 6, 3.0)
    write_json(paths.QUARANTINE / "0-x.json", {})
    write_json(paths.DRIFT / "drift.json", {"model": "flowsculpt", "outcome": "train"})
    broken(monkeypatch)
    numbers_of = flow_metrics.FlowMetrics()
    found = {re.match(r"flowsculpt_(\w+)", name)[1] for name in numbers(numbers_of.text())}
    assert found & WHOLE == WHOLE - lacks
    assert all("/metrics lacks numbers of" in each for each in caplog.messages) and (caplog.messages or not lacks)


def test_a_broken_part_is_said_once_while_it_lasts(api, project, monkeypatch, caplog):
    monkeypatch.setattr(flow_metrics, "SECONDS", 0.0)
    monkeypatch.setattr(direct, "ask", lambda *_: None)
    (paths.DRIFT).mkdir(parents=True)
    (paths.DRIFT / "drift.json").write_text("{")
    numbers_of = flow_metrics.FlowMetrics()
    numbers_of.text()
    numbers_of.text()
    assert len(caplog.messages) == 1 and "lacks numbers of drift: ArtifactError" in caplog.messages[0]


def write_scored(key, when, records, alarms, expected):
    counts = {"p99": {"alarms": alarms, "expected": expected}}
    write_json(
        paths.SCORED / "summaries" / f"{key}.json", {"time": when.isoformat(), "records": records, "alarms": counts}
    )


def test_servers_that_do_not_answer_are_said(project, monkeypatch):
    monkeypatch.setattr(direct, "ask", lambda *_: "away")
    nobody = temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{servers.free_port()}/api"})
    with nobody, flow_metrics.answering(Prometheus("127.0.0.1", servers.free_port()), pytest.fail) as port:
        found = numbers(read(port))
        with pytest.raises(urllib.error.HTTPError, match="503"):
            read(port, "/healthz")
    assert (found["flowsculpt_prefect_up"], found["flowsculpt_registry_up"]) == (0, 0)


def test_a_port_that_is_taken_is_said_and_the_worker_goes_on(project, monkeypatch):
    monkeypatch.setattr(direct, "ask", lambda *_: "away")
    said = []
    first = flow_metrics.answering(Prometheus("127.0.0.1", servers.free_port()), pytest.fail)
    with first as port, flow_metrics.answering(Prometheus("127.0.0.1", port), said.append) as other:
        assert other == 0
    assert "prometheus.port" in said[0] and "nobody answers Prometheus here" in said[0]
    with flow_metrics.answering(Prometheus("127.0.0.1", 0), pytest.fail) as port:
        assert port == 0


def test_numbers_are_written_as_prometheus_reads_them():
    about = {"a": ("gauge", "What."), "b": ("counter", "Nothing.")}
    text = exposition.text("x_", about, {"a": {(("name", 'q"\\\n'),): 0.1, (): 3}})
    assert text == '# HELP x_a What.\n# TYPE x_a gauge\nx_a 3\nx_a{name="q\\"\\\\\\\\n"} 0.10000000000000001\n'


# The alert rules.


@pytest.mark.parametrize("rule", RULES, ids=lambda each: each["alert"])
def test_a_rule_names_numbers_that_there_are_and_an_entry_of_the_run_book(rule):
    known = {f"{gauges.PREFIX}{name}" for name in gauges.ABOUT} | {
        f"{flow_metrics.PREFIX}{name}" for name in flow_metrics.ABOUT
    }
    assert set(re.findall(r"flowsculpt_\w+", rule["expr"])) <= known
    page, _, anchor = rule["annotations"]["run_book"].partition("#")
    assert f"\n## {anchor}\n" in (ROOT / page).read_text()


def test_what_a_notification_is_about_has_a_rule_where_a_number_shows_it():
    entries = {rule["annotations"]["run_book"].partition("#")[2] for rule in RULES}
    assert {each.name for each in NOTICES} - entries == {"run-crashed", "run-lost", "promotion-refused", "test"}
