"""Notifications: what a Prefect server tells people of, by way of real blocks, to a sink on this machine."""

import json
from dataclasses import replace
from pathlib import Path
from queue import Empty

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from prefect.states import Completed, Crashed, Failed, Late, Pending, Running

from flows import automations, scoring
from flows.reports import decisions
from flows.reports.decisions import Outcome
from flows.runtime import access, channels, events, refusals, servers
from flows.runtime.devices import host
from flows.runtime.notices import NOTICES
from pipeline.base.errors import SilentModelError, TrustError
from pipeline.serving.quarantine import Held
from tests.flows.sinks import PATIENCE, listening

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # by Apprise, when it is imported
LOGIN = "who:knows"
SLACK = "https://hooks.slack.com/services/T00000000/B00000000/abcdefghijklmnopqrstuvwx"


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """A Prefect server with its services: they evaluate triggers and send notifications."""
    home = tmp_path_factory.mktemp("prefect")
    with pytest.MonkeyPatch.context() as patch, temporary_settings({PREFECT_HOME: home}):
        patch.setenv("PREFECT_HOME", str(home))
        server = servers.prefect(servers.free_port(), login=LOGIN, options=("--no-ui", "--log-level", "ERROR"))
        with server as api, temporary_settings({PREFECT_API_URL: api, PREFECT_LOGGING_TO_API_ENABLED: False}):
            patch.setenv("PREFECT_API_URL", api)
            patch.setenv(access.PREFECT_CLIENT, LOGIN)
            yield api


@pytest.fixture
def sink():
    with listening() as made:
        yield made


@pytest.fixture
def project(api, tmp_path, monkeypatch, sink):
    """A project that tells its sink; ``project(again=900)`` changes a setting."""
    monkeypatch.setenv(channels.variable("webhook"), f"{sink[0]}\nAuthorization: Bearer abc")

    def write(model="flowsculpt", **changed):
        notify = {"channels": ["webhook"], "run_book": "https://docs.example/run-book", "late": 10, "again": 0}
        text = f"tracking: {{experiment: {model}, model: {model}}}\nnotify: {json.dumps(notify | changed)}\n"
        folder = tmp_path / model
        folder.mkdir(exist_ok=True)
        (folder / "params.yaml").write_text(text)
        (folder / "prefect.yaml").write_text((ROOT / "prefect.yaml").read_text())
        monkeypatch.chdir(folder)

    write()
    yield write
    automations.main(["remove"])


@flow(name="training", persist_result=False)
def failing():
    raise ValueError("the disk is full")


def run(deployment):
    """Run a flow of that name as a worker does."""
    with get_client(sync_client=True) as client:
        made = client.create_deployment(client.create_flow(failing), deployment)
        run = client.create_flow_run_from_deployment(made)
    return run_flow(failing, flow_run=run, return_type="state")


def next_of(sink):
    try:
        return sink[1].get(timeout=PATIENCE)
    except Empty:
        pytest.fail("nothing came")


def told(sink):
    return next_of(sink)[1]


def apply(capsys):
    """What became of each thing: name -> made, changed, unchanged or removed."""
    assert automations.main(["apply"]) == 0
    return dict(line.split(": ") for line in capsys.readouterr().out.splitlines())


def on_the_server():
    with get_client(sync_client=True) as client:
        kept = {each.name: (each.id, each.updated) for each in client.read_block_documents() if "flowsc" in each.name}
        return kept | {each.name: each for each in client.read_automations()}


# What comes.


def test_a_run_that_fails_is_told_with_its_entry_in_the_run_book(api, project, sink, capsys):
    assert apply(capsys)["flowsculpt-run-failed"] == "made"
    assert run("training").is_failed()
    headers, got = next_of(sink)
    assert headers["Authorization"] == "Bearer abc"
    assert got["title"] == "flowsculpt: a run failed"
    assert "the disk is full" in got["text"] and "of the deployment training" in got["text"]
    assert f"{api.removesuffix('/api')}/runs/flow-run/" in got["text"]
    assert got["text"].endswith("What to do: https://docs.example/run-book#run-failed")


def test_a_failure_by_another_name_and_a_crash_are_told_and_runs_of_others_are_not(project, sink, capsys):
    apply(capsys)
    end("training-zeek", Failed(name="Unreadable", message="of another project"))
    end("promotion", Failed(name="Unreadable", message="no trusted key"))
    assert told(sink)["text"].startswith("no trusted key\n")
    end("scoring", Crashed(message="killed"))
    assert told(sink)["title"] == "flowsculpt: the process of a run died"
    assert sink[1].empty()


def end(deployment, *states):
    """A flow run that comes to these states."""
    with get_client(sync_client=True) as client:
        made = client.create_deployment(client.create_flow(failing), deployment)
        run = client.create_flow_run_from_deployment(made)
        for state in states:
            client.set_flow_run_state(run.id, state, force=True)
    return run


def test_a_run_that_does_not_start_or_gives_no_sign_of_life_is_told_and_others_are_not(project, sink, capsys):
    end("prune")  # it is deployed
    apply(capsys)
    end("scoring", Late(), Pending(), Running())
    end("training", Late())
    beats(end("prune", Running()))
    ended = end("prune", Running())
    beats(ended)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(ended.id, Completed(name="Pruned"), force=True)
    late, lost = sorted([told(sink), told(sink)], key=lambda each: each["title"])
    assert late["title"] == "flowsculpt: a run does not start" and "of the deployment training" in late["text"]
    assert lost["title"] == "flowsculpt: a run gives no sign of life" and "of the deployment prune" in lost["text"]
    assert lost["text"].startswith("It has not ended, and is silent.\n") and lost["text"].endswith("#run-lost")
    assert sink[1].empty()


def beats(run):
    """A sign of life, as Prefect's engine gives it."""
    related = [
        {"prefect.resource.id": f"prefect.deployment.{run.deployment_id}", "prefect.resource.role": "deployment"}
    ]
    emit_event("prefect.flow-run.heartbeat", {"prefect.resource.id": f"prefect.flow-run.{run.id}"}, related=related)


def test_each_event_of_this_project_is_told_and_none_of_another(project, sink, capsys):
    apply(capsys)
    project("zeek")
    events.announce(events.REFUSED, "of another project", cause=events.UNTRUSTED)
    project()
    refusals.fell_silent("it goes on")
    refusals.announce(SilentModelError("it is refused"))
    refusals.announce(TrustError("is not signed"))
    for outcome, event in events.DRIFT.items():
        events.announce(event, outcome, 3)
    scoring._announce([held("a.csv")])
    decisions.announce(Outcome("refused", None, None, ("worse",)), dry_run=False)
    got = [told(sink) for _ in range(8)]
    assert sorted((each["text"].partition("\n")[0], each["text"].partition("#")[2]) for each in got) == [
        ("1 file cannot be scored; a.csv: REASON", "file-quarantined"),
        ("attacks", "alarms-surge"),
        ("is not signed", "model-refused"),
        ("it goes on", "model-silent"),
        ("it is refused", "model-silent"),
        ("train", "training-asked-for"),
        ("unknown", "network-unknown"),
        ("worse", "promotion-refused"),
    ]
    titles = {each.name: f"flowsculpt: {each.title}" for each in NOTICES}
    assert all(each["title"] == titles[each["text"].partition("#")[2]] for each in got)
    assert all(f"Where: model flowsculpt, on the machine {host()}" in each["text"] for each in got)
    assert sink[1].empty()


def held(name, time=""):
    return Held(name, "0" * 64, 3, "REASON", time, f"data/quarantine/{name}")


def test_what_is_no_news_raises_no_event(monkeypatch):
    monkeypatch.setattr(events, "announce", lambda *_, **__: pytest.fail("an event"))
    decisions.announce(Outcome("refused", None, None, ("REASON",)), dry_run=True)
    decisions.announce(Outcome("promoted", None, None, ("REASON",)), dry_run=False)
    scoring._announce([held("a.csv", "2026-01-01T00:00:00+00:00")], began="2026-01-01T00:00:01+00:00")


def test_many_files_in_quarantine_are_one_event(monkeypatch):
    got = []
    monkeypatch.setattr(events, "emit_event", lambda _, **given: got.append(given["payload"]["reason"]))
    scoring._announce([held(f"{number}.csv") for number in range(5)])
    assert got == ["5 files cannot be scored; 0.csv: REASON; 1.csv: REASON; 2.csv: REASON; and 2 more"]


def test_a_reason_that_begins_with_the_name_of_its_file_names_it_once(monkeypatch):
    got = []
    monkeypatch.setattr(events, "emit_event", lambda _, **given: got.append(given["payload"]["reason"]))
    scoring._announce([replace(held("a.csv"), reason="a.csv: column 'x' is missing")])
    assert got == ["1 file cannot be scored; a.csv: column 'x' is missing"]


# What stands on the server.


def test_to_apply_twice_changes_nothing(project, capsys):
    assert set(apply(capsys).values()) == {"made"}
    before = on_the_server()
    assert set(apply(capsys).values()) == {"unchanged"}
    assert on_the_server() == before


def test_what_changed_is_brought_to_the_server_and_what_people_paused_stays_paused(project, capsys, monkeypatch):
    apply(capsys)
    with get_client(sync_client=True) as client:
        (paused,) = client.read_automations_by_name("flowsculpt-run-late")
        client.pause_automation(paused.id)
    project(late=20, again=60, run_book="elsewhere")
    monkeypatch.setenv(channels.variable("webhook"), "http://127.0.0.1:9/other")
    assert set(apply(capsys).values()) == {"changed"}
    late = on_the_server()["flowsculpt-run-late"]
    assert (late.trigger.within.total_seconds(), late.enabled) == (20, False)
    assert set(apply(capsys).values()) == {"unchanged"}


def test_two_networks_keep_theirs_apart(project, capsys):
    apply(capsys)
    before = on_the_server()
    project("zeek")
    assert apply(capsys)["flowsculpt-run-failed-zeek"] == "made"
    zeek = on_the_server()["flowsculpt-run-failed-zeek"]
    assert "training-zeek" in zeek.trigger.match_related["prefect.resource.name"] and "zeek" in zeek.tags
    assert automations.main(["remove"]) == 0
    assert on_the_server() == before
    project()


def test_a_channel_that_is_named_no_more_is_removed(project, capsys, monkeypatch):
    monkeypatch.setenv(channels.variable("slack"), SLACK)
    project(channels=["webhook", "slack"])
    apply(capsys)
    project()
    assert apply(capsys)["flowsculpt-slack"] == "removed"
    assert automations.main(["remove"]) == 0
    assert not [name for name in on_the_server() if name.startswith("flowsculpt")]
    capsys.readouterr()
    automations.main(["remove"])
    assert capsys.readouterr().out == "there is nothing of this project\n"


def test_no_secret_can_be_read_from_the_server_without_asking_for_it(project, sink, capsys):
    apply(capsys)
    with get_client(sync_client=True) as client:
        shown = str(client.read_block_documents(include_secrets=False)) + str(client.read_automations())
    assert sink[0] not in shown and "Bearer" not in shown


# The test.


def test_a_test_goes_through_each_channel_by_way_of_the_server(project, sink, capsys):
    assert automations.main(["test"]) == 1
    assert "run `flowsculpt automations apply` first" in capsys.readouterr().err
    apply(capsys)
    assert automations.main(["test", "--seconds", str(PATIENCE)]) == 0
    assert capsys.readouterr().out == "flowsculpt-webhook: delivered\n"
    assert told(sink)["title"] == "flowsculpt: a test of notifications"


def test_a_test_says_which_channel_did_not_take_it_and_the_log_of_the_server_why(project, capsys, monkeypatch):
    with listening(*[500] * 99) as (address, _):
        monkeypatch.setenv(channels.variable("webhook"), f"{address}/its-secret")
        apply(capsys)
        assert automations.main(["test", "--seconds", "5"]) == 1
    assert "flowsculpt-webhook: not taken in 5 s; the log of the Prefect server says why" in capsys.readouterr().err
    (log,) = (path.read_text() for path in access.home().glob("prefect-server-*.log"))
    assert "HTTPStatusError: Server error '500 Internal Server Error' for url" in log
    assert "its-secret" not in log


def test_a_sink_that_fails_once_gets_it_again(project, capsys, monkeypatch):
    with listening(500) as sink:
        monkeypatch.setenv(channels.variable("webhook"), sink[0])
        apply(capsys)
        assert automations.main(["test", "--seconds", str(PATIENCE)]) == 0
        assert next_of(sink)[1] == next_of(sink)[1]


# Secrets.


def test_nobody_to_tell_is_said_and_nothing_is_changed(project, capsys):
    project(channels=[])
    assert automations.main(["apply"]) == 1
    assert "notify.channels: names nobody to tell" in capsys.readouterr().err


def test_a_secret_comes_from_a_file_that_nobody_else_may_read(project, sink, capsys, monkeypatch):
    monkeypatch.delenv(channels.variable("webhook"))
    assert automations.main(["apply"]) == 1
    said = capsys.readouterr().err
    assert "set FLOWSCULPT_NOTIFY_WEBHOOK_SECRET, or write the file .flowsculpt/notify-webhook" in said
    path = channels.file("webhook")
    path.parent.mkdir()
    path.write_text(f"{sink[0]}\n")
    path.chmod(0o644)
    assert automations.main(["apply"]) == 1
    assert "chmod 600" in capsys.readouterr().err
    path.chmod(0o600)
    assert apply(capsys)["flowsculpt-webhook"] == "made"
