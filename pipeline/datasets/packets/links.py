"""Link types: where a frame says what it carries, and where that begins (tcpdump.org, "Link-layer header types")."""

from typing import NamedTuple


class Link(NamedTuple):
    """How frames of one link type begin.

    Attributes:
        type_at: position of the two bytes that name the protocol; -1 where only the IP version tells.
        header: bytes before what is carried.
    """

    type_at: int
    header: int


LINKS: dict[int, Link] = {
    0: Link(-1, 4),  # BSD loopback
    1: Link(12, 14),  # Ethernet
    12: Link(-1, 0),  # raw IP
    14: Link(-1, 0),  # raw IP, on OpenBSD
    101: Link(-1, 0),  # raw IP
    108: Link(-1, 4),  # OpenBSD loopback
    113: Link(14, 16),  # Linux cooked
    228: Link(-1, 0),  # raw IPv4
    229: Link(-1, 0),  # raw IPv6
    276: Link(0, 20),  # Linux cooked, version 2
}
READ = "Ethernet, raw IP, Linux cooked (SLL and SLL2) and loopback"

NAMES: dict[int, str] = {
    9: "PPP",
    51: "PPPoE",
    105: "IEEE 802.11",
    119: "IEEE 802.11 with Prism headers",
    127: "IEEE 802.11 with radiotap headers",
    147: "private use 0",
    163: "IEEE 802.11 with AVS headers",
    189: "USB",
    192: "PPI",
    195: "IEEE 802.15.4",
    201: "Bluetooth",
    220: "USB",
    227: "SocketCAN",
    239: "NFLOG",
    249: "USBPcap",
    251: "Bluetooth LE",
}


def name(link: int) -> str:
    """What a link type is called, with its number."""
    return f"{link} ({NAMES[link]})" if link in NAMES else str(link)
