"""What happened in a connection, by the letters that Zeek writes in the field ``history``.

A letter in upper case is an event of the side that began, one in lower case of the other. Source: ``Conn::Info``,
"base/protocols/conn/main.zeek", Zeek manual (docs.zeek.org).
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.schema import Column

# feature -> the letters that it counts
SEEN: Mapping[str, str] = {
    "fwd_syn": "S",
    "bwd_syn_ack": "h",
    "fwd_ack": "A",
    "bwd_ack": "a",
    "fwd_data": "D",
    "bwd_data": "d",
    "fwd_fin": "F",
    "bwd_fin": "f",
    "fwd_reset": "R",
    "bwd_reset": "r",
}
COUNTED: Mapping[str, str] = {
    "bad_checksums": "Cc",
    "content_gaps": "Gg",
    "retransmissions": "Tt",
    "zero_windows": "Ww",
    "contradictions": "IiQq",
    "turned_round": "^",
}
COLUMNS: tuple[Column, ...] = (
    *(Column(name, "1", high=1.0) for name in SEEN),
    *(Column(name, "events") for name in COUNTED),
    Column("history_length", "events"),
)


def numbers(history: str) -> NDArray[np.float64]:
    """(17,) 0 or 1 for each event of ``SEEN``, how often each of ``COUNTED`` is written, and all letters."""
    seen = [float(letter in history) for letter in SEEN.values()]
    counted = [float(sum(map(history.count, letters))) for letters in COUNTED.values()]
    return np.array([*seen, *counted, float(len(history))])
