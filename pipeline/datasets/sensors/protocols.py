"""Transport protocols by name and number. Source: "Assigned Internet Protocol Numbers", IANA."""

PROTOCOLS = {
    "icmp": 1, "igmp": 2, "ipv4": 4, "tcp": 6, "udp": 17, "ipv6": 41, "gre": 47, "esp": 50, "ah": 51, "icmp6": 58,
    "ipv6-icmp": 58, "ospf": 89, "sctp": 132,
}  # fmt: skip
NAMES = {str(number): name for name, number in reversed(PROTOCOLS.items())}


def protocol_name(word: str) -> str:
    """The name of a protocol in lower case, whether a sensor writes its name or its number."""
    low = word.strip().lower().removesuffix(".0")
    return NAMES.get(str(PROTOCOLS.get(low, low)), low)


def protocol_number(name: str) -> int | None:
    """The number of a protocol; None for a name that is not known."""
    return PROTOCOLS.get(name) or (int(name) if name.isdecimal() and len(name) <= 3 and int(name) < 256 else None)
