"""The Community ID of a flow: the same text in the logs of Zeek, Suricata, Arkime and here, to go from one to another.

Source: Corelight, Community ID Flow Hashing, version 1, https://github.com/corelight/community-id-spec.
"""

import base64
import hashlib
import struct
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final

VERSION: Final = "1"
ENDS: Final = ("src", "dst")
_WITH_PORTS: Final = (6, 17, 132)  # TCP, UDP, SCTP; that of ICMP needs its type and code, which records lack


def community_id(content: Mapping[str, Any], seed: int = 0) -> str | None:
    """``1:`` and the SHA-1 of addresses, protocol and ports in base64; None where one of them is not known.

    Args:
        content: of an alert.
        seed: the same in all tools of a site.
    """
    try:
        ends = [(ip_address(content[f"{end}_ip"]).packed, struct.pack("!H", content[f"{end}_port"])) for end in ENDS]
    except (KeyError, ValueError, struct.error):  # an end is absent, or is called by a name
        return None
    if content.get("protocol") not in _WITH_PORTS or len(ends[0][0]) != len(ends[1][0]):
        return None
    (first, its_port), (second, other_port) = sorted(ends)  # both directions have one id
    protocol = struct.pack("!BB", content["protocol"], 0)
    whole = struct.pack("!H", seed) + first + second + protocol + its_port + other_port
    return f"{VERSION}:{base64.b64encode(hashlib.sha1(whole, usedforsecurity=False).digest()).decode()}"
