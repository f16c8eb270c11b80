"""Who may listen where, and what a serving program refuses."""

import socket
import time
from contextlib import contextmanager

import pytest
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.events.filters import EventFilter, EventNameFilter
from prefect.events.worker import EventsWorker
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, Settings, temporary_settings

from flows import serve
from flows.runtime import servers, working_copy
from pipeline.base.errors import ConfigError
from tests.flows.sinks import PATIENCE


def test_other_machines_are_refused_until_the_names_of_the_server_are_given():
    for host in servers.LOOPBACK:
        servers.refuse_nameless(host, [])
    with pytest.raises(ConfigError, match=r"host '0.0.0.0': .*give them as --allowed-hosts box.example"):
        servers.refuse_nameless("0.0.0.0", [])
    servers.refuse_nameless("0.0.0.0", ["box.example", "192.0.2.7", "[2001:db8::1]", "box.example:8443"])


@pytest.mark.parametrize("name", ["*", "*.example", "box.exampl?", "[a-z]*", "box.example:x", "http://box.example"])
def test_a_pattern_is_no_name_of_a_server(name):
    with pytest.raises(ConfigError, match=r"--allowed-hosts: .* is no name of a host"):
        servers.refuse_nameless(servers.LOCAL, [name])


def test_serving_to_other_machines_starts_nothing_without_names(monkeypatch, capsys):
    monkeypatch.setattr(servers, "_kept", lambda *_: pytest.fail("a server was started"))
    monkeypatch.setattr(serve.signal, "signal", lambda *_: None)
    assert serve.main(["--host", "0.0.0.0"]) == 1
    assert "--allowed-hosts" in capsys.readouterr().err


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"Prefect server: port {port} is taken"), servers.prefect(port):
            pytest.fail("it started")


@pytest.mark.parametrize(
    ("host", "names", "own", "expected"),
    [
        ("127.0.0.1", [], "", "http://127.0.0.1:4200"),
        ("0.0.0.0", ["box.example", "192.0.2.7"], "", "http://box.example:4200"),
        ("0.0.0.0", ["box.example:8443"], "", "https://box.example:8443"),
        ("0.0.0.0", ["[2001:db8::1]"], "", "http://[2001:db8::1]:4200"),
        ("127.0.0.1", ["prefect.example", "mlflow.example"], "", "https://prefect.example"),
        ("0.0.0.0", ["box.example"], "https://flows.example", "https://flows.example"),
    ],
)
def test_notifications_link_to_the_address_that_other_machines_use(monkeypatch, host, names, own, expected):
    got = []

    @contextmanager
    def started(_, command, env, *rest):
        got.append(env["PREFECT_UI_URL"])
        yield "http://127.0.0.1:4200"

    monkeypatch.setattr(servers, "_kept", started)
    monkeypatch.setenv("PREFECT_UI_URL", own)
    with servers.prefect(4200, host, names, "who:knows"):
        assert got == [expected]


def test_a_second_run_in_a_clone_waits_or_is_refused_with_the_name_of_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(working_copy, "SECONDS_BETWEEN_TRIES", 0.01)
    (tmp_path / ".dvc").mkdir()
    with working_copy.alone(tmp_path, "flow run first", "refuse", print):
        named = r"another run works in this clone: flow run first, process \d+ on .*, since .* UTC; .*when_busy"
        with (
            pytest.raises(working_copy.BusyError, match=named),
            working_copy.alone(tmp_path, "second", "refuse", print),
        ):
            pytest.fail("two at once")
        said = []

        def log(line):
            said.append(line)
            raise KeyboardInterrupt  # a run that waits can be cancelled

        with pytest.raises(KeyboardInterrupt), working_copy.alone(tmp_path, "second", "wait", log):
            pytest.fail("two at once")
        assert said[0].startswith("another run works in this clone: flow run first")
    with working_copy.alone(tmp_path, "second", "refuse", print):
        assert (tmp_path / ".dvc" / "tmp" / working_copy.LOCK).read_text().startswith("second, process")


@pytest.mark.parametrize(("days", "kinds", "kept"), [(30, {"events", "flow_runs"}, 30), (0, {"events"}, 90)])
def test_a_prefect_server_forgets_old_flow_runs_where_it_is_told_to(monkeypatch, days, kinds, kept):
    for name, value in servers._forgetting(days).items():
        monkeypatch.setenv(name, value)
    found = Settings().server.services.db_vacuum
    assert (found.enabled, found.retention_period.days) == (kinds, kept)


def test_events_go_to_the_server_that_is_there_now_and_to_none_that_has_ended(tmp_path, monkeypatch):
    """One thread of Prefect sends the events of a process, and it keeps its connection."""
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    for options in (["--no-ui", "--no-services"], ["--no-ui"]):
        with (
            temporary_settings({PREFECT_HOME: tmp_path}),
            servers.prefect(servers.free_port(), options=options) as api,
            temporary_settings({PREFECT_API_URL: api}),
        ):
            sent = emit_event("flowsculpt.notification-test", {"prefect.resource.id": "flowsculpt.model"})
            EventsWorker.instance().wait_until_empty()
            found = [] if "--no-services" in options else kept(sent)
    assert [each.id for each in found] == [sent.id]


def kept(sent):
    """The events with the name of this one that the server has kept."""
    deadline = time.monotonic() + PATIENCE
    wanted = EventFilter(event=EventNameFilter(name=[sent.event]))
    with get_client(sync_client=True) as client:
        while not (found := client.read_events(wanted, limit=50).events) and time.monotonic() < deadline:
            time.sleep(0.2)
    return found
