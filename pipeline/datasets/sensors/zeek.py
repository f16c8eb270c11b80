"""The connections that Zeek logs in ``conn.log``, in its own format or as JSON.

Source: ``Conn::Info``, "base/protocols/conn/main.zeek", Zeek manual (docs.zeek.org). Zeek leaves the duration and the
payload bytes unset where it saw too little of a connection. They count as 0 then, and ``state`` tells the rest.

Labelled logs have two fields more: Garcia, Parmisano, Erquiaga, "IoT-23: A labeled dataset with malicious and benign
IoT network traffic" (2020).
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import chain

from pipeline.base.errors import SchemaError
from pipeline.datasets.base import Chunk, Part
from pipeline.datasets.blocks import Block, numbered
from pipeline.datasets.sensors import history, zeek_tsv
from pipeline.datasets.sensors.assemble import chunk, nothing
from pipeline.datasets.sensors.base import Sensor
from pipeline.datasets.sensors.derived import of_counts, payload_share
from pipeline.datasets.sensors.fields import Field, amount, asked_port, count, port, protocol, text, time, word
from pipeline.datasets.sensors.schema import Coded, Schema
from pipeline.datasets.sensors.zeek_header import Header, parts
from pipeline.datasets.sources import Source
from pipeline.datasets.suffixes import ZEEK


def _in_order(services: str) -> str:
    """The services of one connection in alphabetical order: Zeek lists them as they came."""
    return ",".join(sorted(services.split(",")))


SCHEMA = Schema(
    "conn.log of Zeek",
    (
        time("ts"),
        text("uid", "flow_id"),
        text("id.orig_h", "src_ip"),
        port("id.orig_p", "src_port"),
        text("id.resp_h", "dst_ip"),
        asked_port("id.resp_p"),
        protocol("proto"),
        word("service", "service", spelling=_in_order),
        amount("duration", "duration", "s"),
        count("orig_bytes", "fwd_payload_bytes", "B"),
        count("resp_bytes", "bwd_payload_bytes", "B"),
        word("conn_state", "state"),
        word("local_orig", "local_orig", required=False),
        word("local_resp", "local_resp", required=False),
        count("missed_bytes", "missed_bytes", "B", required=False),
        text("history", "history"),
        count("orig_pkts", "fwd_packets", "packets"),
        count("orig_ip_bytes", "fwd_ip_bytes", "B"),
        count("resp_pkts", "bwd_packets", "packets"),
        count("resp_ip_bytes", "bwd_ip_bytes", "B"),
    ),
    ("ts", "proto", "conn_state"),
    (*of_counts("ip_bytes"), payload_share("fwd"), payload_share("bwd")),
    (Coded("history", history.COLUMNS, history.numbers),),
)


class Zeek(Sensor):
    """Reads ``conn.log`` and its rotated and packed forms; see ``Sensor``."""

    schema = SCHEMA
    suffixes = ZEEK
    prefix = "conn"
    behind = (".", "_")  # conn-summary.log of ZeekControl is a text for people

    def more_labels(self) -> tuple[Field, ...]:
        """The detailed label of labelled logs."""
        return (text("detailed-label", "detail"),)

    def parts(self, source: Source, stream: Iterator[bytes]) -> Iterator[Part]:
        """What reads each block of a log.

        Raises:
            SchemaError: it is no log of connections, or lacks a field that is needed.
        """
        blocks = numbered(source.name, stream)
        first = next(blocks)
        blocks = chain([first], blocks)
        if first.lines.lstrip().startswith((b"{", b"[")):
            yield from self.of_objects(blocks)
            return
        for block, header in parts(blocks):
            if header:
                self._require(source, header)
                yield partial(self._of_lines, block, header)
            else:
                yield partial(nothing, block, self.schema)

    def _require(self, source: Source, header: Header) -> None:
        if header.path not in ("", "conn"):
            raise SchemaError(f"{source.name}: is Zeek's {header.path}.log; conn.log holds the connections")
        self.schema.require(source.name, header.names)

    def _of_lines(self, block: Block, header: Header) -> Chunk:
        rows, comments = zeek_tsv.read(block, header, self.fields)
        made = chunk(block, self.fields, rows, self.label, self.zone)
        return replace(made, passed_over={"comment": comments}) if comments else made
