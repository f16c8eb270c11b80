"""Turns packets into records with 78 features, as the extractor behind CIC-IDS-2017 computes them.

Source: Lashkari, Draper-Gil, Mamun, Ghorbani, "Characterization of Tor Traffic using Time based Features"
(CICFlowMeter, 2017), in the version that wrote the published files. Its surprises are kept on purpose:

- a record ends with its first FIN, so the rest of the farewell is a record of its own, in the direction of whoever
  sends first; it also ends after 120 s, so a long conversation becomes several records;
- the first packet is counted twice among the packet lengths;
- only the flags of the first packet count, and they are written in the order of a Java hash map, so nearly every flag
  appears under the name of another;
- a FIN that ends a record does not count in its active and idle times, nor does activity after the last idle time;
- subflows are the totals, bulks are 0, the down/up ratio is cut to a whole number;
- the backward window is that of the last backward packet.
"""

import numpy as np

from pipeline.datasets.packets.bricks import FIN, Columns, Packets, Records
from pipeline.datasets.packets.definitions import ORIGINAL
from pipeline.datasets.packets.features import measure
from pipeline.datasets.synthetic.conversations import Link

TIMEOUT = 120_000_000  # microseconds


def split(packets: Packets) -> Records:
    """Cut conversations into records, and drop those of a single packet.

    A FIN ends its record unless it is the first packet. A packet more than 120 s after the first begins a new record.
    """
    fins = np.flatnonzero(packets.flags & FIN)
    moments = (packets.conversation << 40) + packets.time  # ascending
    closes = np.append(np.flatnonzero(np.diff(packets.conversation)) + 1, len(packets))  # the end of each conversation
    first = np.zeros(len(packets), bool)
    begins = np.append(0, closes[:-1])
    while len(begins):
        first[begins] = True
        after_fin = np.append(fins + 1, len(packets))[np.searchsorted(fins, begins, side="right")]
        late = np.searchsorted(moments, moments[begins] + TIMEOUT, side="right")
        following = np.minimum(after_fin, late)
        goes_on = following < closes
        begins, closes = following[goes_on], closes[goes_on]
    owner = np.cumsum(first) - 1
    kept = (np.bincount(owner) > 1)[owner]
    packets, first = packets.select(kept), first[kept]
    return Records(packets, np.cumsum(first) - 1, np.flatnonzero(first), packets.side[first])


def extract(records: Records, link: Link) -> Columns:
    """The 78 features of each record under their canonical names, in the order of the published header.

    Args:
        records: r records, each of at least two packets.
        link: the links of the conversations that they are cut from.

    Returns:
        Arrays (r,): int64 where the extractor writes whole numbers, else float64.
    """
    # A record that the server begins has the reverse direction: it goes to the client's port.
    return measure(records, link.port[1 - records.origin, records.conversation], ORIGINAL)
