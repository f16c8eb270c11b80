"""Where notifications go: blocks of Prefect, made of secrets that come from a variable or a file.

::

    channel    variable                           file                         what it holds
    email      FLOWSCULPT_NOTIFY_EMAIL_SECRET     .flowsculpt/notify-email     mailtos://user:password@host?from=...&to=...
    slack      FLOWSCULPT_NOTIFY_SLACK_SECRET     .flowsculpt/notify-slack     https://hooks.slack.com/services/...
    webhook    FLOWSCULPT_NOTIFY_WEBHOOK_SECRET   .flowsculpt/notify-webhook   https://..., and headers in further lines

Prefect keeps the secrets of a block encrypted. Its server sends the notifications, so it is the server that must reach
the addresses. No package is needed beside Prefect: it has no block for e-mail by SMTP, but its block for Slack hands
any address to Apprise, which sends mail. Apprise would take what it sends for HTML, or for the markup of Slack, but
strangers choose the names of files and hosts. So its address says ``format=text``.
"""

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from prefect.blocks.abstract import NotificationBlock
from prefect.blocks.notifications import CustomWebhookNotificationBlock, SlackWebhook
from prefect.types import SecretDict
from pydantic import SecretStr

from pipeline.base.errors import ConfigError

FOLDER: Final = Path(".flowsculpt")
_LOCAL: Final = ("127.0.0.1", "localhost", "::1")
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
SLACK: Final = ("hooks.slack.com", "hooks.slack-gov.com")


def variable(channel: str) -> str:
    """The variable that holds the secret of a channel."""
    return f"FLOWSCULPT_NOTIFY_{channel.upper()}_SECRET"


def file(channel: str) -> Path:
    """The file that holds it where the variable does not."""
    return FOLDER / f"notify-{channel}"


def block(channel: str) -> NotificationBlock:
    """The block of a channel; it is not stored yet.

    Raises:
        ConfigError: its secret is absent, open to other users, or not what the channel needs.
    """
    return BLOCKS[channel](_secret(channel))


def _secret(channel: str) -> str:
    path = file(channel)
    text = os.environ.get(variable(channel), "").strip()
    if not text and path.is_file():
        if path.stat().st_mode & _OTHERS:
            raise ConfigError(f"{path}: other users can read it; run `chmod 600 {path}`")
        text = path.read_text(encoding="utf-8").strip()
    if not text:
        raise ConfigError(f"notify.channels: {channel}: set {variable(channel)}, or write the file {path} (chmod 600)")
    return text


def _email(secret: str) -> NotificationBlock:
    from apprise import Apprise

    address, found = _as_text("email", secret), Apprise()
    if urlsplit(address).scheme not in ("mailto", "mailtos") or not found.add(address):
        form = "mailtos://user:password@smtp.example:587?from=flowsculpt@example.com&to=oncall@example.com"
        raise ConfigError(f"{variable('email')}: is no address for e-mail; its form is {form}")
    if len(found) != 1:
        raise ConfigError(
            f"{variable('email')}: holds {len(found)} addresses, where one is expected; to= takes several"
        )
    return SlackWebhook(url=SecretStr(address))


def _slack(secret: str) -> NotificationBlock:
    parts = urlsplit(secret)
    if parts.scheme != "https" or parts.hostname not in SLACK:
        raise ConfigError(f"{variable('slack')}: is no address of a Slack webhook; its form is https://{SLACK[0]}/...")
    # Prefect knows the address of Slack for governments as it is alone. It gets markup, in which our words are escaped
    # twice: "<" stands there as "&lt;".
    return SlackWebhook(url=SecretStr(_as_text("slack", secret) if parts.hostname == SLACK[0] else secret))


def _as_text(channel: str, address: str) -> str:
    """An address of Apprise with ``format=text``.

    Raises:
        ConfigError: it asks for another format.
    """
    asked = [value for name, value in parse_qsl(urlsplit(address).query, True) if name.strip().lower() == "format"]
    if any(value.strip().lower() != "text" for value in asked):
        raise ConfigError(f"{variable(channel)}: asks for another format than text; leave format= out of it")
    return address if asked else f"{address}{'&' if '?' in address else '?'}format=text"


def _webhook(secret: str) -> NotificationBlock:
    address, *lines = secret.splitlines()
    parts = urlsplit(address)
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL)):
        raise ConfigError(f"{variable('webhook')}: https://... is expected, or http://... of the server's own machine")
    secrets = {"address": address} | {f"header{number}": line for number, line in enumerate(_headers(lines).values())}
    return CustomWebhookNotificationBlock(
        name="flowsculpt",
        url="{{ address }}",
        json_data={"title": "{{ subject }}", "text": "{{ body }}", "from": "{{ name }}"},
        headers={name: f"{{{{ header{number} }}}}" for number, name in enumerate(_headers(lines))} or None,
        cookies=None,
        secrets=SecretDict(secrets),
    )


def _headers(lines: list[str]) -> dict[str, str]:
    pairs = [line.partition(":") for line in lines if line.strip()]
    if any(not (colon and name.strip() and value.strip()) for name, colon, value in pairs):
        raise ConfigError(
            f"{variable('webhook')}: the lines behind the address are headers, such as Authorization: ..."
        )
    return {name.strip(): value.strip() for name, _, value in pairs}


BLOCKS: Final[Mapping[str, Callable[[str], NotificationBlock]]] = {
    "email": _email,
    "slack": _slack,
    "webhook": _webhook,
}
