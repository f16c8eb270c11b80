"""The flows that Suricata logs in ``eve.json``, among its other events.

Source: "Eve JSON Format", Suricata user guide (docs.suricata.io). Bytes are those of whole packets. ``flow.alerted`` is
no feature: it is what rules say, and a model that read it would learn the rules.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.base import Part
from pipeline.datasets.blocks import numbered
from pipeline.datasets.schema import Column
from pipeline.datasets.sensors.base import Sensor
from pipeline.datasets.sensors.derived import between, of_counts
from pipeline.datasets.sensors.fields import Field, asked_port, count, port, protocol, text, time, word
from pipeline.datasets.sensors.schema import Coded, Schema
from pipeline.datasets.sources import Source
from pipeline.datasets.suffixes import SURICATA

FLAGS = {"fin": 1, "syn": 2, "reset": 4, "push": 8, "ack": 16, "urgent": 32}


def _flags(text: str) -> NDArray[np.float64]:
    """(6,) 0 or 1 for each flag of a TCP connection; the text has them as a hexadecimal number."""
    try:
        seen = int(text, 16)
    except ValueError:
        seen = 0
    return np.array([float(seen & bit > 0) for bit in FLAGS.values()])


def _coded(side: str) -> Coded:
    return Coded(f"{side}_flags", tuple(Column(f"{side}_{name}", "1", high=1.0) for name in FLAGS), _flags)


SCHEMA = Schema(
    "eve.json of Suricata",
    (
        time("flow.start"),
        time("flow.end", "end"),
        Field("flow.age", "age", "number"),
        text("flow_id", "flow_id"),
        text("src_ip", "src_ip"),
        port("src_port", "src_port"),
        text("dest_ip", "dst_ip"),
        asked_port("dest_port"),
        protocol("proto"),
        word("app_proto", "service"),
        word("flow.state", "state"),
        word("tcp.state", "tcp_state"),
        text("tcp.tcp_flags_ts", "fwd_flags"),
        text("tcp.tcp_flags_tc", "bwd_flags"),
        count("flow.pkts_toserver", "fwd_packets", "packets"),
        count("flow.bytes_toserver", "fwd_frame_bytes", "B"),
        count("flow.pkts_toclient", "bwd_packets", "packets"),
        count("flow.bytes_toclient", "bwd_frame_bytes", "B"),
    ),
    ("proto", "flow.pkts_toserver"),
    (between("timestamp", "end", "age"), *of_counts("frame_bytes")),
    (_coded("fwd"), _coded("bwd")),
)


class Suricata(Sensor):
    """Reads the events of ``event_type`` flow in ``eve.json`` and its rotated and packed forms; see ``Sensor``.

    Any other event is passed over, and counted by its type.
    """

    schema = SCHEMA
    suffixes = SURICATA
    prefix = "eve"
    kind = "event_type"

    def parts(self, source: Source, stream: Iterator[bytes]) -> Iterator[Part]:
        """What reads each block of a log.

        Raises:
            SchemaError: its objects are no events of Suricata.
        """
        return self.of_objects(numbered(source.name, stream))
