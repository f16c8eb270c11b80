"""Which tool wrote a file of flows: its names and its arithmetic tell.

Two tools may use one name for two quantities. CICFlowMeter, as it was used for the published files, counts the first
packet of a flow twice in the lengths of packets. The corrected release (Engelen, Rimmer, Joosen, "Troubleshooting an
Intrusion Detection Dataset: the CICIDS2017 Case Study", 2021; Liu, Engelen, Lynar, Essam, Joosen, "Error Prevalence in
NIDS datasets: A Case Study on CIC-IDS-2017 and CSE-CIC-IDS-2018", 2022) and the tool in Python count each packet once,
and divide subflows, windows, flags, active and idle times in their own way. ``schema.Column.differs`` marks these
columns. A model must not judge records of a tool that it does not know as if they were those that it has learnt.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.datasets.labels import plain

ONCE, TWICE = "once", "twice"
CLOSE: Final = 0.01  # relative, of a sum of lengths
FEWEST: Final = 10  # records that decide
MOSTLY, RARELY = 0.95, 0.7  # shares of records in which each packet counts once


@dataclass(frozen=True)
class Tool:
    """A tool that writes flows.

    Attributes:
        title: for people.
        has: columns that its files have, one of each group; case and signs do not count.
        lacks: columns that they lack.
        first_packet: how often it counts the first packet of a flow: once or twice.
    """

    title: str
    has: tuple[tuple[str, ...], ...]
    lacks: tuple[str, ...] = ()
    first_packet: str = TWICE


# The first one that fits wrote the file.
TOOLS: Final[Mapping[str, Tool]] = {
    "cicflowmeter_corrected": Tool(
        "the corrected release of CICFlowMeter",
        (("Total Fwd Packet",), ("Fwd RST Flags", "ICMP Code", "Total TCP Flow Time", "Attempted Category")),
        first_packet=ONCE,
    ),
    "captures": Tool(  # no file has its names: records of captures come from packets
        "the corrected release of CICFlowMeter, as this project measures packets", ((),), first_packet=ONCE
    ),
    "cicflowmeter_v4": Tool("CICFlowMeter v4", (("Total Fwd Packet", "Tot Fwd Pkts"),), ("tot_fwd_pkts",)),
    "cicflowmeter_python": Tool("cicflowmeter in Python", (("tot_fwd_pkts",),), first_packet=ONCE),
    "cicflowmeter_v3": Tool(
        "CICFlowMeter v3, of CIC-DDoS2019",
        (("Total Fwd Packets",), ("SimillarHTTP", "Inbound")),
        ("total_fwd_packets",),
    ),
    "cicflowmeter_2017": Tool(
        "CICFlowMeter of CIC-IDS-2017", (("Total Fwd Packets",), ("Total Backward Packets",)), ("total_fwd_packets",)
    ),
}
UNKNOWN: Final = ""


@dataclass(frozen=True)
class Extractor:
    """What wrote a file.

    Attributes:
        tool: key of ``TOOLS``; "" where the names do not tell.
        first_packet: how often it counts the first packet of a flow, ``once`` or ``twice``; "" where it is not known.
    """

    tool: str = UNKNOWN
    first_packet: str = ""

    @property
    def title(self) -> str:
        """For people."""
        return TOOLS[self.tool].title if self.tool else "a tool that its names do not tell"

    @property
    def odd(self) -> bool:
        """Whether the arithmetic is not that of the tool whose names it has."""
        return bool(self.tool and self.first_packet and self.first_packet != TOOLS[self.tool].first_packet)

    def sentence(self) -> str:
        """For a person."""
        counts = f", which counts the first packet of a flow {self.first_packet}" if self.first_packet else ""
        odd = f"; but {TOOLS[self.tool].title} counts it {TOOLS[self.tool].first_packet}" if self.odd else ""
        if not self.tool:
            return f"The names do not tell which tool wrote it{counts.replace(', which', '; it')}."
        return f"It has the names of {self.title}{counts.replace(', which', '; it') if self.odd else counts}{odd}."

    def agrees(self, other: "Extractor") -> bool:
        """Whether nothing tells this tool from another one; what is not known does not."""
        same_tool = not self.tool or not other.tool or self.tool == other.tool
        known = self.first_packet and other.first_packet
        return same_tool and (not known or self.first_packet == other.first_packet)


def extractor_of(header: Sequence[str], sample: pa.Table) -> Extractor:
    """The tool that wrote a file.

    Args:
        header: its columns as it spells them.
        sample: some of its records, under canonical names.
    """
    return Extractor(_tool(tuple(header)), _first_packet(sample))


@lru_cache(maxsize=64)  # a model that serves is asked with the same header again and again
def _tool(header: tuple[str, ...]) -> str:
    spelt, known = {name.strip() for name in header}, {plain(name) for name in header}

    def fits(tool: Tool) -> bool:
        return all(any(_holds(name, spelt, known) for name in names) for names in tool.has) and not spelt & {
            *tool.lacks
        }

    return next((key for key, tool in TOOLS.items() if fits(tool)), UNKNOWN)


def _holds(name: str, spelt: set[str], known: set[str]) -> bool:
    """Whether a column is there. A name in snake case must be spelt so: it is what tells the tool in Python apart."""
    return name in spelt if "_" in name else plain(name) in known


TELLING: Final = (  # the columns that show how often the first packet counts
    *("total_fwd_packets", "total_bwd_packets", "total_length_fwd_packets", "total_length_bwd_packets"),
    *("packet_length_mean", "packet_length_min", "packet_length_max"),
)


def _first_packet(sample: pa.Table) -> str:
    """How often the first packet counts, by the mean length of packets, their number and the sum of their lengths."""
    if not {*TELLING} <= {*sample.column_names}:
        return ""
    forth, back, sent, received, mean, low, high = (sample.column(name).to_numpy() for name in TELLING)
    packets, size = forth + back, sent + received
    tells = (packets > 1) & (size > 0) & np.isfinite(mean)
    if tells.sum() < FEWEST:
        return ""
    packets, size, mean, low, high = (values[tells] for values in (packets, size, mean, low, high))
    slack = CLOSE * (size + packets)
    once = np.abs(mean * packets - size) <= slack
    first = mean * (packets + 1) - size
    twice = (first >= low - slack) & (first <= high + slack)
    if once.mean() >= MOSTLY:
        return ONCE
    return TWICE if once.mean() <= RARELY and (once | twice).mean() >= MOSTLY else ""
