"""Why a frame is no packet of a flow."""

OK, NO_IP, LATER_FRAGMENT, CUT, WRONG_IP, WRONG_TRANSPORT, WRONG_TIME = range(7)

SENTENCES = {
    NO_IP: "carries no IP",
    LATER_FRAGMENT: "is a later fragment, which has no ports",
    CUT: "is cut before its headers end",
    WRONG_IP: "has an IP header that contradicts itself",
    WRONG_TIME: "has a time before 1970 or after 2200",
    WRONG_TRANSPORT: "has a transport header that contradicts its IP header",
}
PASSED = (NO_IP, LATER_FRAGMENT)  # nothing is wrong with these frames

NO_TYPE, NO_VERSION = -1, -2  # in the place of an Ethernet number: it is not captured; it is not told and not IP
FIRST_NUMBER = 1536  # smaller ones are lengths, in frames of IEEE 802.3
MOST_KINDS = 20  # Ethernet numbers without a name of their own that are told apart in a file
OTHERS = "other Ethernet types"
ETHER = {
    0x0806: "ARP",
    0x8035: "RARP",
    0x8808: "Ethernet flow control",
    0x8809: "LACP",
    0x8847: "MPLS",
    0x8863: "PPPoE discovery",
    0x8864: "PPPoE",
    0x888E: "EAPOL",
    0x88CC: "LLDP",
    0x88E5: "MACsec",
    0x88F7: "PTP",
}


def carried(ether: int) -> str:
    """What a frame carries, by its Ethernet number."""
    usual = f"Ethernet type {ether:#06x}" if ether >= FIRST_NUMBER else "IEEE 802.3"
    return "no IP version" if ether == NO_VERSION else ETHER.get(ether, usual)
