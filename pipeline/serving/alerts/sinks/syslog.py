"""Syslog: a message of RFC 5424 for each alert, by UDP, TCP, TLS, or a socket of this machine.

::

    <133>1 2026-03-01T10:00:00.000000Z sensor flowsculpt - alert [flowsculpt@32473 key="..." ...] one sentence

Sources: R. Gerhards, The Syslog Protocol, RFC 5424 (2009); UDP: A. Okmianski, RFC 5426 (2009), one message a datagram;
TCP: R. Gerhards, C. Lonvick, RFC 6587 (2012), octet counting; TLS: F. Miao et al., RFC 5425 (2009).

No transport of syslog has an acknowledgement. By TCP and TLS a batch counts as delivered when the receiver has closed
its side after the last byte, or when its kernel has all bytes. What a receiver loses after that is lost. By UDP nobody
knows what arrives. So a message may come twice, and carries its key. Over UDP it may not come at all.
"""

import socket
from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Final, Literal

from pipeline.serving.alerts.sinks.base import Message, Sent, Sink
from pipeline.serving.alerts.sinks.notice import PRODUCT, Notice, notice_of
from pipeline.serving.alerts.sinks.transports import TRANSPORTS, Transport

LONGEST: Final = 2_048  # bytes of a message that a receiver should take (RFC 5424, section 6.1)
NIL: Final = "-"
_SEVERITY: Final = {"critical": 2, "high": 3, "medium": 4, "low": 5}  # critical, error, warning, notice (table 2)
_ENDS: Final = ("src_ip", "src_port", "dst_ip", "dst_port", "protocol")
_FIELDS: Final = (*_ENDS, "p_value", "level", "verdict", "model", "model_version", "record_id")
_OF_INCIDENT: Final = (*_ENDS, "alerts", "evidence", "level", "last")
_VALUE: Final = 128  # characters of a value of structured data, so that a message has room for its sentence


class Syslog(Sink):
    """Sends messages of RFC 5424.

    Args:
        transport: how; see the module.
        address: ``host:port``, ``[host]:port`` for IPv6, or the path of a socket for unix.
        facility: from 0 to 23; 16 is local0.
        enterprise: the number that IANA gave to the owner of the names of the structured data; 32473 is for examples.
        ca_file: certificates that a receiver by TLS is checked with; "": those of this machine.
        timeout: seconds in which a receiver must answer.

    Raises:
        ValueError: the address or the facility is not allowed.
    """

    most: ClassVar[int] = 100  # of which some come twice when a process is killed behind them

    def __init__(
        self,
        transport: Literal["udp", "tcp", "tls", "unix"] = "udp",
        address: str = "127.0.0.1:514",
        facility: int = 16,
        enterprise: int = 32473,
        ca_file: str = "",
        timeout: float = 10.0,
    ) -> None:
        if not 0 <= facility <= 23:
            raise ValueError(f"facility: must lie in [0, 23], given {facility}")
        self.facility, self.sd_id = facility, f"{PRODUCT}@{enterprise}"
        self.transport: Transport = TRANSPORTS[transport](address, timeout, ca_file)
        self.host = socket.gethostname()

    def send(self, messages: Sequence[Message], mark: str) -> Sent:
        """See ``Sink.send``."""
        self.transport.send([self.encoded(notice_of(each)) for each in messages])
        return Sent(len(messages))

    def encoded(self, notice: Notice) -> bytes:
        """A SYSLOG-MSG (RFC 5424, section 6), of at most ``LONGEST`` bytes."""
        priority = 8 * self.facility + _SEVERITY[notice.severity]
        host = _ascii(str(notice.content.get("sensor") or self.host), 255)
        header = f"<{priority}>1 {_time(notice.time)} {host} {PRODUCT} {NIL} {_ascii(notice.about, 32)}"
        head = f"{header} {self._data(notice, LONGEST - len(header) - 2)} ".encode()
        text = notice.text.encode()
        return head + _cut(text if notice.text.isascii() else b"\xef\xbb\xbf" + text, LONGEST - len(head))

    def _data(self, notice: Notice, most: int) -> str:
        """Structured data of at most so many bytes; a parameter that finds no room is left out."""
        named = {"key": notice.key, "severity": notice.severity, "title": notice.title}
        names = _OF_INCIDENT if notice.is_incident else _FIELDS
        named |= {name: str(notice.content[name]) for name in names if notice.content.get(name) is not None}
        found, left = f"[{self.sd_id}", most - len(self.sd_id) - 2
        for each in named.items():
            parameter = f" {_parameter(*each)}"
            if (size := len(parameter.encode())) <= left:
                found, left = found + parameter, left - size
        return f"{found}]"


def _parameter(name: str, value: str) -> str:
    r"""An SD-PARAM (section 6.3.3): in its value ``"``, ``\`` and ``]`` have a backslash before them."""
    short = value if len(value) <= _VALUE else f"{value[: _VALUE - 1]}…"
    escaped = short.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
    return f'{name}="{escaped}"'


def _ascii(text: str, most: int) -> str:
    """PRINTUSASCII: characters from 33 to 126; others become a question mark."""
    return "".join(char if "!" <= char <= "~" else "?" for char in text[:most]) or NIL


def _time(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _cut(text: bytes, most: int) -> bytes:
    """At most so many bytes, which do not end in the middle of a character."""
    return text if len(text) <= most else text[:most].decode(errors="ignore").encode()
