"""Each format keeps to the schema that its readers publish, whatever stands in an alert."""

import json
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path

import jsonschema
import pytest

from pipeline.serving.alerts.schema import alerts_of
from pipeline.serving.alerts.sinks.base import Message
from pipeline.serving.alerts.sinks.community_id import community_id
from pipeline.serving.alerts.sinks.ecs import Ecs
from pipeline.serving.alerts.sinks.eve import Eve
from pipeline.serving.alerts.sinks.notice import LONGEST, clean, notice_of, severity_of
from pipeline.serving.alerts.sinks.syslog import LONGEST as LONGEST_OF_SYSLOG
from pipeline.serving.alerts.sinks.syslog import Syslog
from tests.serving.alerts.sinks import made, rfc5424

HERE = Path(__file__).parent
EVE = json.loads((HERE / "eve_alert.schema.json").read_text())
ECS = json.loads((HERE / "ecs_fields.json").read_text())
KINDS = pytest.mark.parametrize("kind", [made.alert, made.bare, made.evil], ids=["whole", "bare", "evil"])


def line(sink, folder, *alerts):
    """What a log holds of alerts."""
    return lines(sink, folder, made.messages(*alerts))


def lines(sink, folder, alerts):
    """What a log holds of messages."""
    path = folder / "log.json"
    sink(file=str(path)).send(alerts, "")
    text = path.read_bytes().decode("utf-8")
    assert text.endswith("\n")
    lines = text[:-1].split("\n")
    assert len(lines) == len(alerts) == len(text.splitlines())
    return [json.loads(each, parse_constant=pytest.fail) for each in lines]


@KINDS
def test_eve_keeps_to_the_schema_of_suricata(tmp_path, kind):
    for event in line(Eve, tmp_path, kind(1), kind(2)):
        jsonschema.Draft202012Validator(EVE).validate(event)
        assert event["event_type"] == "alert"


def test_the_schema_of_suricata_refuses_what_it_does_not_know():
    """Else the test above would show nothing."""
    for wrong in (
        {"p_value": 1},
        {"timestamp": "2026-03-01T10:00:00Z"},
        {"alert": {"reason": "x"}},
        {"src_port": "80"},
    ):
        event = {"timestamp": "2026-03-01T10:00:00.0+0000", "event_type": "alert"} | wrong
        assert not jsonschema.Draft202012Validator(EVE).is_valid(event)


def test_eve_says_what_an_alert_says(tmp_path):
    (event,) = line(Eve, tmp_path, made.ALERT)
    assert event["timestamp"] == "2026-03-01T23:59:00.000000+0000"
    ends = {name: event[name] for name in ("src_ip", "src_port", "dest_ip", "dest_port", "proto")}
    assert [*ends.values()] == ["10.0.0.5", 50_000, "2001:db8::7", 23, "TCP"]
    assert event["alert"]["signature"] == "flowsculpt port scan"
    assert event["alert"]["severity"] == 1
    tags = event["alert"]["metadata"]["tag"]
    assert {f"key={made.ALERT.alert}", "p_value=0.0004", "level=p99.9", "sensor=edge"} <= {*tags}
    assert tags[-1].startswith("reason=43 SYN in 2 s")


def test_eve_keeps_the_flow_id_of_suricata_and_makes_one_for_others(tmp_path):
    same, other = line(
        Eve, tmp_path, made.alert(1, flow_id="1826357813427364"), made.alert(2, record_id=2**63, flow_id="a-b")
    )
    assert same["flow_id"] == 1826357813427364
    assert other["flow_id"] < 2**53


INCIDENTS = pytest.mark.parametrize(
    "incident", [made.Incident(), made.bare_incident(), made.evil_incident()], ids=["whole", "bare", "evil"]
)


@INCIDENTS
def test_incidents_keep_to_each_schema_too(tmp_path, incident):
    (event,) = lines(Eve, tmp_path / "eve", made.incidents(incident))
    jsonschema.Draft202012Validator(EVE).validate(event)
    (document,) = lines(Ecs, tmp_path / "ecs", made.incidents(incident))
    keeps_to_ecs(document)
    (message,) = made.incidents(incident)
    assert rfc5424.parse(Syslog().encoded(notice_of(message))).msgid == "incident"
    assert Eve(file="-").key_of(event) == Ecs(file="-").key_of(document) == message.key == "0123456789abcdef-high"


def test_an_incident_says_who_how_much_and_why(tmp_path):
    (event,) = lines(Eve, tmp_path / "eve", made.incidents(made.Incident()))
    assert (event["src_ip"], event.get("dest_ip"), event["dest_port"]) == ("10.0.0.5", None, 23)
    assert event["alert"]["signature"] == "flowsculpt incident: port scan" and event["alert"]["severity"] == 1
    assert {"alerts=43", "evidence=6.5"} <= {*event["alert"]["metadata"]["tag"]}
    (document,) = lines(Ecs, tmp_path / "ecs", made.incidents(made.Incident()))
    assert document["message"] == f"43 alerts from 10.0.0.5 to 41 hosts: {made.SYN.text}"
    assert document["event"]["end"] == "2026-03-02T00:00:30.000000Z"
    assert document["related"]["ip"] == ["10.0.0.5", "10.0.0.7", "10.0.0.8"]
    assert document["flowsculpt"]["destinations"][0] == {"name": "10.0.0.7", "alerts": 40}


@pytest.mark.parametrize(
    ("ends", "found"),
    [  # of https://github.com/corelight/community-id-spec
        (("128.232.110.120", 34855, "66.35.250.204", 80, 6), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        (("66.35.250.204", 80, "128.232.110.120", 34855, 6), "1:LQU9qZlK+B5F3KDmev6m5PMibrg="),
        (("192.168.1.52", 54585, "8.8.8.8", 53, 17), "1:d/FP5EW3wiY1vCndhwleRRKHowQ="),
        (("192.168.1.52", 54585, "8.8.8.8", 53, 1), None),
        (("printer", 54585, "8.8.8.8", 53, 17), None),
        (("192.168.1.52", None, "8.8.8.8", 53, 17), None),
        (("192.168.1.52", -1, "8.8.8.8", 53, 17), None),
        (("192.168.1.52", 1, "::1", 53, 17), None),
    ],
)
def test_a_flow_has_the_community_id_of_other_tools(ends, found):
    assert community_id(dict(zip(("src_ip", "src_port", "dst_ip", "dst_port", "protocol"), ends, strict=True))) == found


def _flat(value, name=""):
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(each, f"{name}.{key}" if name else key)
    else:
        yield name, value


def _fits(kind, value):
    if kind in ("keyword", "match_only_text"):
        return isinstance(value, str) and (kind != "keyword" or len(value) <= 1_024)
    if kind == "date":
        return datetime.fromisoformat(value).utcoffset() is not None
    if kind == "ip":
        return bool(ip_address(value))
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and (kind == "float" or isinstance(value, int))


@KINDS
def test_ecs_has_only_fields_of_ecs_with_their_types_and_values(tmp_path, kind):
    for document in line(Ecs, tmp_path, kind(1), kind(2)):
        assert document["flowsculpt"]["record_id"].startswith("000")
        keeps_to_ecs(document)


def keeps_to_ecs(document):
    """An assertion says what breaks the schema."""
    for name, value in _flat({name: value for name, value in document.items() if name != "flowsculpt"}):
        assert name in ECS["fields"], f"{name} is no field of ECS"
        assert isinstance(value, list) == (name in ECS["lists"]), name
        for each in value if isinstance(value, list) else [value]:
            assert _fits(ECS["fields"][name], each), (name, each)
            assert each in ECS["allowed"].get(name, [each])
    types = {*document["event"]["type"]}
    assert all(types <= {*ECS["expected_types"][each]} for each in document["event"]["category"])
    assert document["@timestamp"] and document["ecs"]["version"] == "9.3.0"


def test_ecs_says_what_an_alert_says(tmp_path):
    (document,) = line(Ecs, tmp_path, made.ALERT)
    assert document["event"]["id"] == made.ALERT.alert
    assert document["event"]["risk_score_norm"] == pytest.approx(99.96)
    assert document["network"] == {"iana_number": "6", "transport": "tcp", "type": "ipv4"}
    assert document["related"]["ip"] == ["10.0.0.5", "2001:db8::7"]
    assert document["flowsculpt"]["record_id"] == "fedcba9876543210"
    assert document["flowsculpt"]["reasons"][0]["feature"] == "syn_flag_count"


def test_a_name_in_place_of_an_address_is_no_ip(tmp_path):
    (document,) = line(Ecs, tmp_path, made.alert(src_ip="printer-7", dst_ip="fe80::1%eth0"))
    assert document["source"] == {"address": "printer-7", "port": 50_000}
    assert document["destination"]["ip"] == "fe80::1"


@KINDS
def test_syslog_keeps_to_the_grammar_of_its_rfc(kind):
    for message in made.messages(kind(1), kind(2)):
        encoded = Syslog(facility=20).encoded(notice_of(message))
        assert len(encoded) <= LONGEST_OF_SYSLOG
        found = rfc5424.parse(encoded)
        assert (found.facility, found.app, found.msgid) == (20, "flowsculpt", "alert")
        assert found.data["flowsculpt@32473"]["key"] == message.key


def test_syslog_says_what_an_alert_says():
    found = rfc5424.parse(Syslog().encoded(notice_of(made.messages(made.ALERT)[0])))
    assert (found.severity, found.time, found.host) == (3, "2026-03-01T23:59:00.000000Z", "edge")
    said = found.data["flowsculpt@32473"]
    assert (said["src_ip"], said["dst_port"], said["p_value"], said["severity"]) == ("10.0.0.5", "23", "0.0004", "high")
    assert found.text.startswith("43 SYN in 2 s")


def test_what_syslog_escapes_is_read_back():
    text = 'x"]\\ é'
    found = rfc5424.parse(Syslog().encoded(notice_of(made.messages(made.alert(kind=text, sensor="säge 1"))[0])))
    assert found.data["flowsculpt@32473"]["title"] == f"flowsculpt {text}"
    assert found.host == "s?ge?1"


@pytest.mark.parametrize(
    "broken", [b"<192>1 - - - - - -", b"<1>1 - - - - -", b'<1>1 - - - - - [a b="]"]', b"<01>1 - - - - - -"]
)
def test_the_reader_of_syslog_is_strict(broken):
    with pytest.raises(AssertionError):
        rfc5424.parse(broken)


def test_texts_become_safe_and_short():
    safe = clean(made.EVIL)
    assert len(safe) == LONGEST and safe.endswith("…")
    assert safe.isprintable() and "\\n" in safe and "\\ud800" in safe and "é𝄞" in safe
    safe.encode("utf-8")
    assert clean({"a": [float("nan"), 1.5, "\t"]}) == {"a": [None, 1.5, "\\t"]}


def test_rarer_records_are_more_severe():
    assert [severity_of(p) for p in (0.00005, 0.0005, 0.005, 0.05, None)] == [
        "critical",
        "high",
        "medium",
        "low",
        "low",
    ]


def test_a_message_survives_the_text_that_a_spool_keeps():
    for alert in (made.ALERT, made.bare(), made.evil()):
        message = Message.of(alert)
        again = Message.from_json(message.key, message.to_json())
        assert (again.key, again.about, again.seen) == (message.key, "alert", message.seen)
        assert again.content["record_id"] == alert.record_id
        assert again.content["source_file"] == alert.source_file


def test_an_alert_of_a_table_is_one_of_a_message():
    """Times and reasons come back as they were."""
    import pyarrow as pa

    from pipeline.serving.alerts.schema import SCHEMA
    from pipeline.serving.alerts.sinks.parquet import row

    table = pa.Table.from_pylist([row(made.messages(made.ALERT)[0].content)], schema=SCHEMA)
    assert alerts_of(table) == [made.ALERT]
