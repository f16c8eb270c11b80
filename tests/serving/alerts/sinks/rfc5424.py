"""A strict reader of syslog messages: the ABNF of RFC 5424, section 6, rule by rule.

Source: R. Gerhards, The Syslog Protocol, RFC 5424 (March 2009), https://www.rfc-editor.org/rfc/rfc5424.
"""

import re
from typing import NamedTuple

BOM = b"\xef\xbb\xbf"
PRINTUSASCII = rb"[\x21-\x7e]"
SD_NAME = rb"[\x21\x23-\x3c\x3e-\x5c\x5e-\x7e]{1,32}"  # but for = SP ] "
PARAM_VALUE = rb'(?:[^"\\\]]|\\["\\\]])*'  # the three have a backslash before them
SD_PARAM = SD_NAME + rb'="' + PARAM_VALUE + rb'"'
SD_ELEMENT = rb"\[" + SD_NAME + rb"(?: " + SD_PARAM + rb")*\]"
TIME = rb"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,6})?"
OFFSET = rb"(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)"
HEADER = (
    rb"<(?P<pri>\d{1,3})>(?P<version>[1-9]\d{0,2})"
    rb" (?P<time>-|" + TIME + OFFSET + rb")"
    rb" (?P<host>-|" + PRINTUSASCII + rb"{1,255})"
    rb" (?P<app>-|" + PRINTUSASCII + rb"{1,48})"
    rb" (?P<proc>-|" + PRINTUSASCII + rb"{1,128})"
    rb" (?P<msgid>-|" + PRINTUSASCII + rb"{1,32})"
)
MESSAGE = re.compile(HEADER + rb" (?P<data>-|(?:" + SD_ELEMENT + rb")+)(?: (?P<msg>.*))?", re.DOTALL)


class Parsed(NamedTuple):
    """A message: numbers, header, parameters of its structured data by element, and its text."""

    facility: int
    severity: int
    time: str
    host: str
    app: str
    msgid: str
    data: dict[str, dict[str, str]]
    text: str


def parse(message: bytes) -> Parsed:
    """Read one message; an assertion says what breaks the rules."""
    found = MESSAGE.fullmatch(message)
    assert found, message
    priority = int(found["pri"])
    assert priority <= 191 and str(priority).encode() == found["pri"]
    body = found["msg"] or b""
    if body.startswith(BOM):
        text = body.removeprefix(BOM).decode("utf-8")
    else:
        text = body.decode("ascii")  # MSG-ANY may be anything; without a mark we promise ASCII
    assert not re.search(r"[\x00-\x1f\x7f]", text), "control characters (section 6.4 advises against them)"
    found["data"].decode("utf-8")
    return Parsed(
        priority // 8,
        priority % 8,
        found["time"].decode(),
        found["host"].decode(),
        found["app"].decode(),
        found["msgid"].decode(),
        _data(found["data"]),
        text,
    )


def _data(data: bytes) -> dict[str, dict[str, str]]:
    elements = {}
    for element in re.findall(SD_ELEMENT, data):
        name = re.match(rb"\[(" + SD_NAME + rb")", element)[1].decode()
        assert name not in elements, "an SD-ID occurs once (section 6.3.2)"
        parameters = re.findall(rb" (" + SD_NAME + rb')="(' + PARAM_VALUE + rb')"', element)
        elements[name] = {key.decode(): re.sub(rb'\\(["\\\]])', rb"\1", value).decode() for key, value in parameters}
    return elements


def octet_counted(stream: bytes) -> list[bytes]:
    """The messages of a TCP stream, each with its length before it (RFC 6587, section 3.4.1)."""
    found = []
    while stream:
        length = re.match(rb"([1-9]\d*) ", stream)
        assert length, stream[:80]
        start, size = length.end(), int(length[1])
        assert len(stream) >= start + size, "the stream ends in the middle of a message"
        found.append(stream[start : start + size])
        stream = stream[start + size :]
    return found
