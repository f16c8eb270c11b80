"""Rules hide what they fit, until their last day, and a mistake in them is refused."""

import json
from datetime import date

import pytest

from pipeline.base.errors import ConfigError
from pipeline.preprocessing.context.past import columns
from pipeline.serving.alerts import incident_store, kinds, suppression
from pipeline.serving.alerts.incidents import incidents_of
from pipeline.serving.alerts.stretches import Item
from pipeline.serving.context_facts import Fact, theme
from tests.serving.alerts import made
from tests.serving.alerts.made import GROUPED

RULE = '[[rule]]\nname = "scanner"\nuntil = 2026-12-31\nby = "ada"\nwhy = "ticket 4711"\n'


def _read(folder, text):
    (folder / "s.toml").write_text(text)
    return suppression.read(folder / "s.toml")


def _fits(rule, source="10.0.9.7", destination="10.0.0.80", port=443, kind="timing", day=date(2026, 1, 5)):
    return rule.fits(source, destination, port, kind, day)


def test_no_file_means_no_rules(tmp_path):
    assert suppression.read(tmp_path / "absent.toml") == ()


@pytest.mark.parametrize(
    ("keys", "hidden", "seen"),
    [
        ('host = "10.0.9.7"', {}, {"source": "10.0.9.8"}),
        ('host = "10.0.0.0/24"', {}, {"destination": "10.0.1.80"}),
        ('source = "10.0.9.0/24"', {}, {"source": "10.0.0.80", "destination": "10.0.9.7"}),
        ('destination = "10.0.0.80"', {}, {"destination": None}),
        ("port = 443", {}, {"port": 80}),
        ('kind = "timing"', {}, {"kind": None}),
        ('source = "2001:db8::/32"\nport = 443', {"source": "2001:db8::1"}, {"source": "2001:db8::1", "port": 80}),
        ('host = "10.0.9.7"', {"day": date(2026, 12, 31)}, {"day": date(2027, 1, 1)}),
        ('host = "10.0.9.7"', {}, {"source": "a-name"}),
    ],
)
def test_a_rule_fits_what_all_its_keys_fit(tmp_path, keys, hidden, seen):
    (rule,) = _read(tmp_path, RULE + keys)
    assert _fits(rule, **hidden)
    assert not _fits(rule, **seen)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[rule", "is no TOML"),
        ("[[rules]]\n", "unknown table 'rules'.*rule"),
        ("[rule]\nname = 'x'\n", "once for each rule"),
        (RULE + 'hots = "10.0.9.7"', "unknown key 'hots'.*host"),
        (RULE, "would hide everything"),
        (RULE.replace('by = "ada"\n', "") + "port = 1", "lacks by"),
        (RULE.replace("2026-12-31", '"2026-12-31"') + "port = 1", "rule 1: until: must be a day"),
        (RULE.replace("2026-12-31", "2026-12-31T00:00:00") + "port = 1", "must be a day"),
        (RULE.replace('"ticket 4711"', '" "') + "port = 1", "why: must be a text"),
        (RULE + "port = 65536", "port: must be an integer from 0 to 65535, given 65536"),
        (RULE + "port = true", "port: must be an integer"),
        (RULE + 'host = "10.0.9.7/24"', "host: must be an address or a network.*host bits"),
        (RULE + 'kind = "head"', "rule 1: kind: no alert is of kind 'head'.*known: port, flags, .*source ports"),
        (RULE + 'kind = "timings"', "did you mean 'timing'"),
        (RULE + "kind = 7", "kind: must be a text"),
        (RULE + "port = 1\n" + RULE + "port = 2", "two rules have the name 'scanner'"),
    ],
)
def test_a_mistake_is_refused_and_says_where(tmp_path, text, said):
    with pytest.raises(ConfigError, match=f"(?s)s.toml.*{said}"):
        _read(tmp_path, text)


@pytest.mark.parametrize("place", ["models/features.json", "registered/3-0f/features.json"])
def test_a_column_that_is_about_nothing_else_is_a_kind_of_its_own(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    rule = RULE + 'kind = "humidity"'
    with pytest.raises(ConfigError, match="no alert is of kind 'humidity'"):
        _read(tmp_path, rule)
    features = tmp_path / "data" / place
    features.parent.mkdir(parents=True)
    features.write_text(json.dumps({"raw": ["wind"], "words": {"service": {}}, "rarities": {"humidity": 9}}))
    (read,) = _read(tmp_path, rule)
    assert _fits(read, kind="humidity")
    features.write_text("{")  # a file that is not whole names no column
    with pytest.raises(ConfigError, match="no alert is of kind 'humidity'"):
        _read(tmp_path, rule)


def test_hidden_alerts_are_counted_and_add_nothing_to_others(tmp_path):
    rules = _read(tmp_path, RULE + 'source = "10.0.9.7"')
    rows = [(n, f"10.0.9.{7 + n % 2}", "10.0.0.80", 443, 0.004) for n in range(40)]
    alerts, traces = made.known(rows)
    items = incident_store.suppressed([Item.of(alert) for alert in alerts], rules, date(2026, 1, 5))
    found = incidents_of(items, GROUPED, traces)
    assert {(each.suppressed_by, each.sources[0][0], each.alerts) for each in found} == {
        ("scanner", "10.0.9.7", 20),
        (None, "10.0.9.8", 20),
    }


def test_a_rule_that_has_expired_hides_what_was_before_and_is_named(tmp_path):
    rules = _read(tmp_path, RULE.replace("2026-12-31", "2026-01-05") + 'source = "10.0.9.7"')
    rows = [(n * 86_400, "10.0.9.7", "10.0.0.80", 443, 0.004) for n in range(3)]
    items = incident_store.suppressed([Item.of(each) for each in made.known(rows)[0]], rules, date(2026, 1, 7))
    assert [item.rule for item in items] == ["scanner", None, None]
    assert [rule.name for rule in suppression.expired(rules, date(2026, 1, 6))] == ["scanner"]
    assert not suppression.expired(rules, date(2026, 1, 5))


def test_a_rule_may_name_each_kind_that_the_recent_past_gives():
    assert {*kinds.all_of_past()} == {theme(Fact.of(name)) for name in columns([5.0, 60.0])}
