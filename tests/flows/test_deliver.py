"""``flowsculpt deliver`` delivers what waits, and its exit code says whether each sink has everything."""

import json
from pathlib import Path

import pytest
import yaml

from flows import deliver
from pipeline import config
from pipeline.serving.alerts import delivery
from pipeline.serving.alerts.spool import SpoolFullError
from pipeline.settings.alerts import Alerts
from tests.serving.alerts.sinks import made, receivers
from tests.serving.alerts.sinks.test_syslog import closed_port
from tests.serving.alerts.test_delivery import table

SHIPPED = Path(__file__).parents[2] / "params.yaml"
ALERTS = [made.alert(number) for number in range(6)]


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLOWSCULPT_TEST_SECRET", "secret")
    (tmp_path / "data" / "scored" / "alerts").mkdir(parents=True)
    active(port=1)


def active(*names, port, incidents=()):
    """Say in params.yaml which sinks there are."""
    params = yaml.safe_load(SHIPPED.read_text())
    params["alerts"]["sinks"] |= {"active": [*names], "incidents": [*incidents]}
    params["alerts"]["sinks"]["webhook"] = {
        "url": f"http://127.0.0.1:{port}/",
        "secret_variable": "FLOWSCULPT_TEST_SECRET",
    }
    Path("params.yaml").write_text(yaml.safe_dump(params))


def rules():
    return config.load(Alerts).sinks


def test_without_a_sink_it_says_how_to_have_one(capsys):
    assert deliver.main([]) == 0
    assert "alerts.sinks.active" in capsys.readouterr().out


def test_what_waits_is_delivered(capsys):
    active("webhook", "eve", port=closed_port())
    delivery.deliver(ALERTS, rules())
    assert deliver.main(["--status"]) == 1
    said = capsys.readouterr().err
    assert "webhook: 0 delivered, 6 wait (http://127.0.0.1" in said and "next try at" in said
    assert "eve: 0 delivered; 6 in all" in said
    with receivers.webhook() as (port, hook):
        active("webhook", "eve", port=port)
        assert deliver.main([]) == 0
        assert hook.taken() == [each.alert for each in ALERTS]
    assert "webhook: 6 delivered; 6 in all" in capsys.readouterr().out
    assert deliver.main(["--status"]) == 0


def test_a_new_sink_gets_what_is_stored_when_it_is_asked_for():
    table("a.parquet", ALERTS[:4])
    table("b.parquet", ALERTS[2:])
    active("eve", port=1)
    assert deliver.main([]) == 0
    assert not Path("data/sinks/eve.json").exists()
    assert deliver.main(["--stored"]) == 0
    assert deliver.main(["--stored"]) == 0
    lines = Path("data/sinks/eve.json").read_text().splitlines()
    assert [json.loads(line)["alert"]["metadata"]["tag"][0][4:] for line in lines] == [each.alert for each in ALERTS]


def test_incidents_are_delivered_once_and_those_that_a_rule_hides_are_not():
    alone = [made.alert(90 + number, src_ip=f"10.9.9.{number}", dst_ip=f"10.8.8.{number}") for number in range(3)]
    table("a.parquet", [*ALERTS, *alone])
    active(port=1, incidents=["ecs"])
    assert deliver.main([]) == 0
    assert deliver.main([]) == 0
    (line,) = Path("data/sinks/ecs.json").read_text().splitlines()
    document = json.loads(line)
    assert document["event"]["dataset"] == "flowsculpt.incident"
    assert document["flowsculpt"]["alerts"] == len(ALERTS) and document["source"]["ip"] == made.ALERT.src_ip


def test_a_full_spool_takes_incidents_later(monkeypatch):
    table("a.parquet", ALERTS)
    active("eve", port=1, incidents=["eve"])
    with monkeypatch.context() as patch:
        patch.setattr(delivery, "hand_over_incidents", lambda *_: (_ for _ in ()).throw(SpoolFullError("full")))
        assert deliver.main([]) == 0
    assert not Path("data/sinks/eve.json").exists()
    assert deliver.main([]) == 0
    assert len(Path("data/sinks/eve.json").read_text().splitlines()) == 1


def test_what_was_refused_is_offered_again(capsys):
    with receivers.webhook() as (port, hook):
        active("webhook", port=port)
        hook.answers = [422]
        delivery.deliver(ALERTS[:1], rules())
        assert deliver.main([]) == 1
        assert "1 refused" in capsys.readouterr().err
        assert deliver.main(["--refused"]) == 0
        assert hook.taken() == [ALERTS[0].alert]


def test_what_was_refused_or_is_lost_is_forgotten_when_somebody_says_so(capsys):
    with receivers.webhook() as (port, hook):
        active("webhook", port=port)
        hook.answers = [422]
        delivery.deliver(ALERTS[:1], rules())
        assert deliver.main(["--status"]) == 1
        assert deliver.main(["--give-up"]) == 0
        assert delivery.deliver(ALERTS, rules())[0].sent == len(ALERTS) - 1
        assert ALERTS[0].alert not in hook.taken()


def test_a_wrong_setting_is_named(capsys):
    active("evee", port=1)
    assert deliver.main([]) == 1
    assert "did you mean 'eve'" in capsys.readouterr().err
