"""Who talked to whom in a flow, and when."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.datasets.clock import in_zone
from pipeline.datasets.packets.assembly import Flows
from pipeline.datasets.packets.bricks import Ints
from pipeline.datasets.packets.conversations import grouped
from pipeline.datasets.packets.traffic import address, is_six, ports, protocol


@dataclass(frozen=True)
class Endpoints:
    """Of r flows, all (r,) but ``addresses``.

    Attributes:
        addresses: the text of each address that occurs.
        source, target: which of the addresses began the flow, and which is the other one.
        source_port, target_port: their ports, 0 for protocols without.
        protocol: number of the protocol.
        begin: microseconds since 1970, UTC.
    """

    addresses: tuple[str, ...]
    source: Ints
    target: Ints
    source_port: Ints
    target_port: Ints
    protocol: Ints
    begin: Ints

    def columns(self, zone: ZoneInfo) -> dict[str, pa.Array]:
        """The columns of ``schema.ENDPOINTS``, times in ``zone``."""
        source, target = (self._words(codes) for codes in (self.source, self.target))
        parts = [source, target, *map(pa.array, (self.source_port, self.target_port, self.protocol))]
        return {
            "timestamp": pa.array(in_zone(self.begin.astype("M8[us]"), zone), pa.timestamp("us")),
            "protocol": pa.array(self.protocol, pa.int16()),
            "src_ip": source,
            "src_port": pa.array(self.source_port, pa.int32()),
            "dst_ip": target,
            "dst_port": pa.array(self.target_port, pa.int32()),
            "flow_id": pc.binary_join_element_wise(*(part.cast(pa.string()) for part in parts), "-"),
        }

    def _words(self, codes: Ints) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(self.addresses, pa.string()))


def endpoints(flows: Flows) -> Endpoints:
    """The endpoints of ``flows``."""
    word, backward = flows.key[:, 4], flows.records.origin == 1
    addresses, first, second = _addresses(flows)
    low, high = ports(word)
    return Endpoints(
        addresses,
        np.where(backward, second, first),
        np.where(backward, first, second),
        np.where(backward, high, low),
        np.where(backward, low, high),
        protocol(word),
        flows.records.begins,
    )


def _addresses(flows: Flows) -> tuple[tuple[str, ...], Ints, Ints]:
    """The text of each address, and which of them the first and the second host of each flow has, (r,) both.

    The order of the texts depends on the addresses alone.
    """
    six = is_six(flows.key[:, 4])
    words = np.concatenate([np.column_stack([flows.key[:, part : part + 2], six]) for part in (0, 2)])
    order, number = grouped(words)
    one_of_each = words[order[np.flatnonzero(np.diff(number, prepend=-1))]]
    ranked = np.lexsort(one_of_each.T)  # groups come in any order, addresses shall not
    rank = np.empty(len(ranked), np.int64)
    rank[ranked] = np.arange(len(ranked))
    codes = np.empty(len(words), np.int64)
    codes[order] = rank[number]
    texts = tuple(address(*row) for row in one_of_each[ranked].tolist())
    return texts, codes[: len(six)], codes[len(six) :]
