"""A webhook: an HTTP POST for each alert, signed, with the key of the alert.

::

    POST /alerts
    Content-Type: application/json
    Idempotency-Key: "KEY"                          the same in each try: a receiver takes it once
    webhook-id: KEY
    webhook-timestamp: 1767225600
    webhook-signature: v1,BASE64(HMAC-SHA256(secret, "KEY.1767225600.BODY"))

    {"type": "flowsculpt.alert", "timestamp": "2026-03-01T10:00:00+00:00", "data": {...}}

Sources: the Standard Webhooks specification (2023), for headers and signature; J. Jena, S. Dalal, The Idempotency-Key
HTTP Header Field, draft-ietf-httpapi-idempotency-key-header. The key that signs stands in an environment variable or in
a file, never in params.yaml. A redirection is not followed.
"""

import base64
import hashlib
import hmac
import http.client
import os
import ssl
import time
from binascii import Error as NoBase64Error
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import orjson

from pipeline.serving.alerts.sinks.base import Message, RefusedError, Sent, Sink, UnavailableError
from pipeline.serving.alerts.sinks.notice import PRODUCT, notice_of

PREFIX: Final = "whsec_"  # of a key in base64, by Standard Webhooks
_REFUSALS: Final = (400, 410, 413, 422)  # what is wrong with this one message; all other faults may pass
TURN: Final = 1.0  # seconds after which what was sent is noted down
_LOCAL: Final = ("127.0.0.1", "localhost", "::1")


class Webhook(Sink):
    """Posts each alert.

    Args:
        url: of the receiver: https, or http on this machine.
        secret_variable: environment variable with the key of the signature; "" for none.
        secret_file: file with the key, if it is not in the variable; "" for none.
        ca_file: certificates that the receiver is checked with; "": those of this machine.
        timeout: seconds in which the receiver must answer.

    Raises:
        ValueError: the URL is not allowed, or nothing is said of a key.
    """

    most: ClassVar[int] = 20

    def __init__(
        self,
        url: str = "",
        secret_variable: str = "FLOWSCULPT_WEBHOOK_SECRET",  # noqa: S107 (a name)
        secret_file: str = "",
        ca_file: str = "",
        timeout: float = 10.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.username is not None or parts.password is not None:
            raise ValueError("url: a user or password in it would stand in logs; receivers check the signature instead")
        is_local = parts.scheme == "http" and parts.hostname in _LOCAL
        if not parts.hostname or not (parts.scheme == "https" or is_local):
            raise ValueError(f"url: https://... is expected, or http://... of this machine, given {url!r}")
        if not secret_variable and not secret_file:
            raise ValueError("secret_variable, secret_file: one of them must say where the key of the signature is")
        self.url, self.host, self.port, self.timeout = url, parts.hostname, parts.port, timeout
        self.target = f"{parts.path or '/'}{'?' * bool(parts.query)}{parts.query}"
        self.secret_variable, self.secret_file = secret_variable, secret_file
        self.is_local, self.ca_file = is_local, ca_file
        self._connection: http.client.HTTPConnection | None = None

    def send(self, messages: Sequence[Message], mark: str) -> Sent:
        """See ``Sink.send``; what was sent before a fault, or in ``TURN`` seconds, counts."""
        secret, end = self._secret(), time.monotonic() + TURN
        for number, message in enumerate(messages):
            try:
                self._post(message, secret)
            except (UnavailableError, RefusedError):
                if not number:
                    raise
                return Sent(number)
            if time.monotonic() > end:
                return Sent(number + 1)
        return Sent(len(messages))

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _post(self, message: Message, secret: bytes) -> None:
        body = body_of(message)
        try:
            answer = self._asked(body, headers(message.key, body, secret, int(time.time())))
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise UnavailableError(f"{self.url}: cannot be reached ({error or type(error).__name__})") from error
        said = f"{self.url}: answers {answer}"
        if answer in _REFUSALS:
            raise RefusedError(said)
        if not 200 <= answer < 300:
            raise UnavailableError(said)

    def _asked(self, body: bytes, said: dict[str, str]) -> int:
        connection = self._connected()
        try:
            connection.request("POST", self.target, body, said)
            answer = connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionError):  # it was idle for too long: a new one, once
            self.close()
            connection = self._connected()
            connection.request("POST", self.target, body, said)
            answer = connection.getresponse()
        answer.read()
        return answer.status

    def _connected(self) -> http.client.HTTPConnection:
        if self._connection is None and self.is_local:
            self._connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        elif self._connection is None:
            checks = ssl.create_default_context(cafile=self.ca_file or None)
            self._connection = http.client.HTTPSConnection(self.host, self.port, timeout=self.timeout, context=checks)
        return self._connection

    def _secret(self) -> bytes:
        text = os.environ.get(self.secret_variable, "") if self.secret_variable else ""
        if not text and self.secret_file:
            try:
                text = Path(self.secret_file).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise UnavailableError(f"{self.secret_file}: the key of the signature cannot be read") from error
        if not text:
            places = " or ".join(filter(None, (self.secret_variable and f"${self.secret_variable}", self.secret_file)))
            raise UnavailableError(f"{self.url}: there is no key for the signature in {places}")
        return _decoded(text)


def body_of(message: Message) -> bytes:
    """The body of the request: the message, with texts that are safe."""
    notice = notice_of(message)
    told = {"severity": notice.severity, "title": notice.title, "text": notice.text}
    ids = {name: f"{number:016x}" for name, number in notice.content.items() if _is_id(name, number)}
    value: dict[str, Any] = {
        "type": f"{PRODUCT}.{notice.about}",
        "timestamp": notice.time.isoformat(),
        "data": {"key": notice.key, **told, **notice.content, **ids},
    }
    return orjson.dumps(value)


def headers(key: str, body: bytes, secret: bytes, now: int) -> dict[str, str]:
    """Those of the request; ``now`` is in seconds since 1970."""
    signed = hmac.new(secret, f"{key}.{now}.".encode() + body, hashlib.sha256).digest()
    return {
        "Content-Type": "application/json",
        "User-Agent": PRODUCT,
        "Idempotency-Key": f'"{key}"',
        "webhook-id": key,
        "webhook-timestamp": str(now),
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }


def _is_id(name: str, value: Any) -> bool:
    """Ids of records have 64 bits, which JSON numbers do not hold everywhere."""
    return name in ("record_id", "similar_benign", "similar_attack") and isinstance(value, int)


def _decoded(secret: str) -> bytes:
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except NoBase64Error as error:
        raise UnavailableError(f"the key of the signature begins with {PREFIX}, but the rest is no base64") from error
