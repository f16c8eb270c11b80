"""Channels: which addresses they take, and what people read there."""

import asyncio
import email
from email import policy
from pathlib import Path
from types import SimpleNamespace

import pytest
from apprise.plugins.slack import NotifySlack
from prefect.server.events.jinja_filters import all_filters
from prefect.server.utilities.user_templates import register_user_template_filters, render_user_template

from flows.runtime import channels
from flows.runtime.notices import NOTICES
from pipeline.base.errors import ConfigError
from pipeline.settings.notify import RUN_BOOK
from tests.flows.sinks import PATIENCE, listening, taking_mail

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")  # by Apprise, when it is imported
SLACK = "https://hooks.slack.com/services/T00000000/B00000000/abcdefghijklmnopqrstuvwx"


@pytest.mark.parametrize(
    ("channel", "secret", "said"),
    [
        ("webhook", "http://sink.example/x", "https://... is expected"),
        ("webhook", "https://sink.example/x\nBearer abc", "are headers"),
        ("slack", "https://sink.example/services/a/b/c", "is no address of a Slack webhook"),
        ("email", "https://sink.example/x", "is no address for e-mail"),
        ("email", "mailtos://", "is no address for e-mail"),
    ],
)
def test_an_address_that_its_channel_does_not_take_is_refused_and_not_shown(channel, secret, said, monkeypatch):
    monkeypatch.setenv(channels.variable(channel), secret)
    with pytest.raises(ConfigError, match=said) as found:
        channels.block(channel)
    assert "sink.example" not in str(found.value)


@pytest.mark.parametrize(
    ("channel", "secret"),
    [
        ("slack", f"{SLACK}?format=markdown"),
        ("email", "mailto://127.0.0.1?to=a@example.com&Format=html"),
        ("email", "mailto://127.0.0.1?to=a@example.com&format=text&format=markdown"),
    ],
)
def test_an_address_that_asks_for_markup_is_refused(channel, secret, monkeypatch):
    monkeypatch.setenv(channels.variable(channel), secret)
    with pytest.raises(ConfigError, match="asks for another format than text; leave format= out of it"):
        channels.block(channel)


def test_two_addresses_for_mail_are_refused(monkeypatch):
    monkeypatch.setenv(channels.variable("email"), ", ".join(["mailto://127.0.0.1?from=a@b.com&to=c@d.com"] * 2))
    with pytest.raises(ConfigError, match="holds 2 addresses, where one is expected"):
        channels.block("email")


# Names of files and hosts, and the messages of errors, come from strangers.

STRANGE = "<a href=\"https://x.example\">free</a> <https://x.example|pay.csv> <!channel> a&b 'c' [d](https://x.example)"
ESCAPED = STRANGE.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def said(channel, reason, kind):
    """What Prefect's server hands to a channel about an event with this reason, or a run that ended with it."""
    register_user_template_filters(all_filters)
    notice = next(each for each in NOTICES if each.is_of_runs is (kind == "run") and not each.followed)
    payload = {"reason": reason, "model": "flowsculpt", "host": "box"}
    event = SimpleNamespace(payload=payload, resource={"prefect.state-message": reason})
    template = notice.body("https://docs.example/?a=1&b=2", channel)
    return asyncio.run(render_user_template(template, {"event": event}))


def test_words_that_are_no_markup_are_not_escaped_elsewhere():
    assert STRANGE in said("email", STRANGE, "event") and STRANGE in said("webhook", STRANGE, "run")


@pytest.mark.parametrize("kind", ["run", "event"])
@pytest.mark.parametrize("suffix", ["", "?format=text"])
def test_slack_shows_the_words_of_strangers_and_makes_no_link_of_them(suffix, kind, monkeypatch):
    """Slack takes <...> for links and calls, whatever the message says of its format."""
    with listening() as (address, got):
        monkeypatch.setattr(NotifySlack, "webhook_url", address)
        monkeypatch.setenv(channels.variable("slack"), SLACK + suffix)
        channels.block("slack").notify(said("slack", STRANGE, kind), "flowsculpt: a run failed")
    message = got.get(timeout=PATIENCE)[1]
    (shown,) = message["attachments"]
    assert message["mrkdwn"] is False and shown["title"] == "flowsculpt: a run failed"
    assert shown["text"].startswith(f"{ESCAPED}\n")
    assert "What to do: https://docs.example/?a=1&amp;b=2#" in shown["text"]
    assert "<" not in shown["text"]


def test_slack_for_governments_makes_no_link_of_them_either(monkeypatch):
    sent = []
    monkeypatch.setattr(NotifySlack, "_send", lambda _, url, payload, **__: sent.append((url, payload)) or {})
    monkeypatch.setenv(channels.variable("slack"), SLACK.replace(".slack.", ".slack-gov."))
    channels.block("slack").notify(said("slack", STRANGE, "event"), "flowsculpt: a run failed")
    ((address, message),) = sent
    assert address.startswith("https://hooks.slack-gov.com/services/T00000000/")
    assert "<" not in message["attachments"][0]["text"]


@pytest.mark.parametrize("suffix", ["", "&format=text"])
def test_mail_is_text_and_has_the_words_of_strangers_as_they_are(suffix, monkeypatch):
    with taking_mail() as (port, got):
        address = f"mailto://127.0.0.1:{port}?from=flowsculpt@example.com&to=oncall@example.com{suffix}"
        monkeypatch.setenv(channels.variable("email"), address)
        channels.block("email").notify(said("email", STRANGE, "event"), "flowsculpt: a run failed")
    mail = email.message_from_string(got.get(timeout=PATIENCE), policy=policy.default)
    assert "oncall@example.com" in mail["To"] and mail["Subject"] == "flowsculpt: a run failed"
    assert [part.get_content_type() for part in mail.walk()] == ["text/plain"]
    assert mail.get_content().startswith(f"{STRANGE}\r\n")


@pytest.mark.parametrize("notice", NOTICES, ids=lambda each: each.name)
def test_each_notification_links_to_an_entry_of_the_run_book(notice):
    page = ROOT / RUN_BOOK
    assert f"\n## {notice.name}\n" in page.read_text()
    assert notice.body(RUN_BOOK).endswith(f"{page.relative_to(ROOT)}#{notice.name}")
