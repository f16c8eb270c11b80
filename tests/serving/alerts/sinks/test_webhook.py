"""A webhook is signed as Standard Webhooks says, carries its key, and tells what may pass from what never will."""

import base64
import hashlib
import hmac
import json
import time

import pytest

from pipeline.serving.alerts.sinks import webhook
from pipeline.serving.alerts.sinks.base import RefusedError, UnavailableError
from pipeline.serving.alerts.sinks.webhook import Webhook, headers
from tests.serving.alerts.sinks import made, receivers
from tests.serving.alerts.sinks.test_syslog import closed_port

SECRET = b"a key that nobody knows"
TEXT = f"whsec_{base64.b64encode(SECRET).decode()}"


@pytest.fixture(autouse=True)
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_text(f"{TEXT}\n")
    return {"secret_variable": "", "secret_file": str(path)}


def sent(hook):
    (request,) = hook.requests
    return request


def test_the_signature_holds(secret):
    with receivers.webhook() as (port, hook):
        sink = Webhook(f"http://127.0.0.1:{port}/a?b=c", **secret)
        sink.send(made.messages(made.ALERT), "")
        sink.close()
    said, body, _ = sent(hook)
    key, stamp = said["webhook-id"], said["webhook-timestamp"]
    signed = hmac.new(SECRET, f"{key}.{stamp}.".encode() + body, hashlib.sha256).digest()
    assert said["webhook-signature"] == f"v1,{base64.b64encode(signed).decode()}"
    assert key == made.ALERT.alert and said["Idempotency-Key"] == f'"{key}"'
    assert abs(int(stamp) - time.time()) < 600


def test_the_published_example_of_standard_webhooks():
    """Source: the test vector in the libraries of Standard Webhooks, https://www.standardwebhooks.com."""
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    said = headers("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', secret, 1614265330)
    assert said["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_body_says_what_an_alert_says(secret):
    with receivers.webhook() as (port, hook):
        sink = Webhook(f"http://127.0.0.1:{port}/", **secret)
        sink.send(made.messages(made.ALERT), "")
        sink.send(made.messages(made.evil(2)), "")
        sink.close()
    (_, body, _), (_, evil, _) = hook.requests
    value = json.loads(body)
    assert value["type"] == "flowsculpt.alert" and value["timestamp"] == "2026-03-01T23:59:00+00:00"
    assert value["data"]["record_id"] == "fedcba9876543210"
    assert value["data"]["severity"] == "high" and value["data"]["reasons"][0]["feature"] == "syn_flag_count"
    assert json.loads(evil)["data"]["score"] is None


MAY_PASS = dict.fromkeys((301, 401, 403, 404, 409, 429, 500, 503), UnavailableError)
NEVER_PASSES = dict.fromkeys((400, 410, 413, 422), RefusedError)


@pytest.mark.parametrize(("answer", "error"), (MAY_PASS | NEVER_PASSES).items())
def test_a_fault_that_may_pass_makes_a_message_wait_and_one_of_the_message_refuses_it(secret, answer, error):
    with receivers.webhook() as (port, hook):
        hook.answers = [answer]
        sink = Webhook(f"http://127.0.0.1:{port}/", **secret)
        with pytest.raises(error, match=str(answer)):
            sink.send(made.of(1), "")
        sink.close()
        assert len(hook.requests) == 1


def test_what_was_sent_before_a_fault_counts(secret):
    with receivers.webhook() as (port, hook):
        hook.answers = [200, 200, 503]
        sink = Webhook(f"http://127.0.0.1:{port}/", **secret)
        assert sink.send(made.of(*range(5)), "").number == 2
        assert sink.send(made.of(*range(2, 5)), "").number == 3
        sink.close()
    assert hook.taken() == [each.key for each in made.of(*range(5))]


def test_a_slow_receiver_does_not_keep_what_was_sent_from_being_noted(secret, monkeypatch):
    monkeypatch.setattr(webhook, "TURN", -1.0)
    with receivers.webhook() as (port, hook):
        sink = Webhook(f"http://127.0.0.1:{port}/", **secret)
        assert sink.send(made.of(1, 2), "").number == 1
        sink.close()
    assert len(hook.taken()) == 1


def test_a_connection_that_was_closed_meanwhile_is_opened_again(secret):
    with receivers.webhook() as (port, hook):
        sink = Webhook(f"http://127.0.0.1:{port}/", **secret)
        hook.answers = [200, "hang up", 200]
        sink.send(made.of(1), "")
        sink.send(made.of(2), "")
        sink.close()
    assert hook.taken() == [each.key for each in made.of(1, 2)]


def test_https_is_checked_by_its_certificate(tmp_path, secret):
    path = receivers.certificate(tmp_path)
    with receivers.webhook(receivers.with_certificate(path)) as (port, hook):
        with pytest.raises(UnavailableError, match="certificate"):
            Webhook(f"https://127.0.0.1:{port}/", **secret).send(made.of(1), "")
        sink = Webhook(f"https://127.0.0.1:{port}/", ca_file=str(path), **secret)
        sink.send(made.of(1), "")
        sink.close()
    assert len(hook.taken()) == 1


def test_an_absent_receiver_makes_messages_wait(secret):
    with pytest.raises(UnavailableError, match="refused"):
        Webhook(f"http://127.0.0.1:{closed_port()}/", **secret).send(made.of(1), "")


def test_a_key_comes_from_the_environment_first(monkeypatch, secret):
    monkeypatch.setenv("FLOWSCULPT_TEST_SECRET", "plain")
    with receivers.webhook() as (port, hook):
        sink = Webhook(f"http://127.0.0.1:{port}/", secret_variable="FLOWSCULPT_TEST_SECRET")
        sink.send(made.of(1), "")
        sink.close()
    said, body, _ = sent(hook)
    assert (
        said["webhook-signature"]
        == headers(said["webhook-id"], body, b"plain", int(said["webhook-timestamp"]))["webhook-signature"]
    )


def test_without_a_key_nothing_is_sent(tmp_path):
    with receivers.webhook() as (port, hook):
        url = f"http://127.0.0.1:{port}/"
        with pytest.raises(UnavailableError, match=r"no key .* in \$FLOWSCULPT_NO_SUCH"):
            Webhook(url, secret_variable="FLOWSCULPT_NO_SUCH").send(made.of(1), "")
        with pytest.raises(UnavailableError, match="cannot be read"):
            Webhook(url, secret_variable="", secret_file=str(tmp_path / "none")).send(made.of(1), "")
        assert hook.requests == []


@pytest.mark.parametrize("url", ["", "http://siem.example/hook", "ftp://127.0.0.1/", "https://"])
def test_a_url_that_others_could_listen_to_is_refused(url):
    with pytest.raises(ValueError, match="https"):
        Webhook(url)


def test_a_password_in_the_url_is_refused_and_not_repeated():
    with pytest.raises(ValueError, match="a user or password in it") as refused:
        Webhook("https://ada:s3cret@siem.example/hook")
    assert "s3cret" not in str(refused.value)
