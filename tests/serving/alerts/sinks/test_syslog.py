"""Syslog arrives whole by each transport, and an absent receiver is noticed where it can be."""

import socket
from dataclasses import replace

import pytest

from pipeline.serving.alerts.sinks.base import UnavailableError
from pipeline.serving.alerts.sinks.notice import notice_of
from pipeline.serving.alerts.sinks.syslog import LONGEST, Syslog
from tests.serving.alerts.sinks import made, receivers, rfc5424

KEYS = [each.key for each in made.of(*range(40))]


def keys(encoded):
    return [rfc5424.parse(each).data["flowsculpt@32473"]["key"] for each in encoded]


def closed_port():
    """A port of this machine that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def test_one_message_is_one_datagram():
    with receivers.datagrams() as ((_, port), got):
        Syslog("udp", f"127.0.0.1:{port}").send(made.of(*range(40)), "")
        assert keys(got(40)) == KEYS


def test_a_socket_of_this_machine_gets_datagrams(tmp_path):
    place = str(tmp_path / "log")
    with receivers.datagrams(socket.AF_UNIX, place) as (_, got):
        Syslog("unix", place).send(made.of(1, 2), "")
        assert keys(got(2)) == KEYS[1:3]
    with pytest.raises(UnavailableError, match="refused"):
        Syslog("unix", place).send(made.of(1), "")


def test_a_stream_counts_octets():
    with receivers.stream() as (port, got):
        sink = Syslog("tcp", f"127.0.0.1:{port}")
        sink.send(made.of(*range(39)), "")
        sink.send(made.messages(made.evil(39)), "")
        assert keys([each for part in got for each in rfc5424.octet_counted(part)]) == KEYS


def test_a_stream_inside_tls_is_checked_by_its_certificate(tmp_path):
    path = receivers.certificate(tmp_path)
    with receivers.stream(receivers.with_certificate(path)) as (port, got):
        with pytest.raises(UnavailableError, match="certificate"):
            Syslog("tls", f"127.0.0.1:{port}").send(made.of(1), "")
        Syslog("tls", f"127.0.0.1:{port}", ca_file=str(path)).send(made.of(1, 2), "")
        (part,) = [each for each in got if isinstance(each, bytes)]
        assert keys(rfc5424.octet_counted(part)) == KEYS[1:3]


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_a_receiver_that_keeps_its_side_open_is_believed_when_it_has_every_byte(tmp_path, transport):
    path = receivers.certificate(tmp_path)
    checks = receivers.with_certificate(path) if transport == "tls" else None
    with receivers.stream(checks, keeps_open=True) as (port, got):
        Syslog(transport, f"127.0.0.1:{port}", ca_file=str(path), timeout=2.0).send(made.of(1), "")
        assert isinstance(got[0], bytes)


def test_a_receiver_that_reads_nothing_is_not_believed():
    """Its buffers take some of the messages, and then no more."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sink = Syslog("tcp", f"127.0.0.1:{server.getsockname()[1]}", timeout=0.5)
        with pytest.raises(UnavailableError, match=r"timed out|not acknowledged"):
            sink.send(made.of(*range(3_000)), "")


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_a_closed_port_makes_messages_wait(transport):
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:\d+: cannot be reached \(Connection refused"):
        Syslog(transport, f"127.0.0.1:{closed_port()}").send(made.of(1, 2, 3), "")


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"address": "127.0.0.1"}, "host:port"),
        ({"address": "127.0.0.1:99999"}, "host:port"),
        ({"transport": "unix", "address": "127.0.0.1:514"}, "path of a socket"),
        ({"facility": 24}, r"\[0, 23\], given 24"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, wrong):
    with pytest.raises(ValueError, match=wrong):
        Syslog(**settings)


def test_a_message_is_never_longer_than_receivers_take():
    (message,) = made.of(1)
    wide = dict.fromkeys(("src_ip", "dst_ip", "model", "verdict", "kind", "level"), "\U0001f600]" * 200)
    long = replace(message, content={**message.content, **wide, "sensor": "x" * 300})
    encoded = Syslog().encoded(notice_of(long))
    assert len(encoded) <= LONGEST
    assert rfc5424.parse(encoded).data["flowsculpt@32473"]["key"] == message.key
