"""Addresses of hosts as they leave the project: whole, as the network that they lie in, or not at all.

Tables below ``data/`` hold whole addresses, because incidents and the recent past of hosts need them. What goes to a
sink, and what the page of a promotion lists, may say less. See ``alerts.sinks.addresses``.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any, Final

from pipeline.serving.alerts.sinks.base import Message
from pipeline.settings.alerts import Addresses

HOST_BITS: Final = {4: 24, 6: 48}  # of an address: how much of it says the network
ENDS: Final = ("src_ip", "dst_ip")
_NUMBER: Final = re.compile(r"[0-9A-Za-z]+")  # the flow_id of Suricata, and the uid of Zeek
_LISTS: Final = ("sources", "destinations")


def shown(address: str | None, how: Addresses) -> str | None:
    """An address as it may leave; None where it may not, or where it is a name and only networks may.

    Example:
        >>> shown("192.0.2.7", "network")
        '192.0.2.0/24'
    """
    if address is None or how == "whole":
        return address
    if how == "hidden":
        return None
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return str(ip_network((found, HOST_BITS[found.version]), strict=False))


def leaving(message: Message, how: Addresses) -> Message:
    """A message as it may leave; its key and all counts stay."""
    if how == "whole":
        return message
    content: dict[str, Any] = dict(message.content)
    content |= {name: shown(content[name], how) for name in ENDS if name in content}
    if not _NUMBER.fullmatch(str(content.get("flow_id") or "0")):  # that of CICFlowMeter is made of both addresses
        content["flow_id"] = None
    content |= {name: _together(content[name], how) for name in _LISTS if name in content}
    return replace(message, content=content)


def _together(counts: Iterable[tuple[str, int]], how: Addresses) -> list[tuple[str, int]]:
    """Names and their counts, the most frequent first; hosts of one network are one."""
    found: Counter[str] = Counter()
    for name, count in counts:
        if (said := shown(name, how)) is not None:
            found[said] += count
    return sorted(found.items(), key=lambda each: (-each[1], each[0]))


def texts(values: Iterable[str], how: Addresses) -> list[str]:
    """Addresses as they can be listed; "" for one that may not leave, and for none."""
    return [shown(value or None, how) or "" for value in values]
