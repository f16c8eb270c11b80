"""The flows that nfstream writes as CSV.

Source: ``NFlow`` of nfstream (Aouini, Pekar, "NFStream: A flexible network data analysis framework", Computer Networks
204, 2022). What its bytes count is its setting ``accounting_mode``. A file may lack the statistics of packets and the
application, which are options of nfstream too: the features are those that the first file has.
"""

from collections.abc import Iterator, Mapping
from functools import cached_property, partial

from pipeline.base.errors import SchemaError
from pipeline.datasets import nulls, sources
from pipeline.datasets.base import Chunk, Part
from pipeline.datasets.blocks import Block, headed
from pipeline.datasets.dialect import Head
from pipeline.datasets.schema import Column
from pipeline.datasets.sensors import delimited
from pipeline.datasets.sensors.assemble import chunk
from pipeline.datasets.sensors.base import Sensor
from pipeline.datasets.sensors.derived import of_counts
from pipeline.datasets.sensors.fields import Field, amount, asked_port, count, port, protocol, text, time, word
from pipeline.datasets.sensors.schema import Schema
from pipeline.datasets.sources import Source
from pipeline.datasets.suffixes import TEXTS

MILLISECOND = 1e-3  # in seconds
SIDES: Mapping[str, str] = {"bidirectional": "", "src2dst": "fwd_", "dst2src": "bwd_"}
FLAGS = ("syn", "cwr", "ece", "urg", "ack", "psh", "rst", "fin")
UNSET = (*nulls.WORDS, "None")


def _application(name: str) -> str:
    """The protocol of an application such as ``TLS.YouTube``: there are too many names behind the dot."""
    return name.partition(".")[0]


def _statistics(source: str, side: str) -> Iterator[Field]:
    """Sizes of packets, pauses between them, and their flags; only where nfstream was asked for them."""
    for kind in ("min", "mean", "stddev", "max"):
        yield amount(f"{source}_{kind}_ps", f"{side}packet_size_{kind}", "B", required=False)
        yield amount(f"{source}_{kind}_piat_ms", f"{side}pause_{kind}", "s", MILLISECOND, required=False)
    for flag in FLAGS:
        yield count(f"{source}_{flag}_packets", f"{side}{flag}_packets", "packets", required=False)


SCHEMA = Schema(
    "CSV of nfstream",
    (
        time("bidirectional_first_seen_ms", scale=MILLISECOND),
        text("id", "flow_id"),
        text("src_ip", "src_ip"),
        port("src_port", "src_port"),
        text("dst_ip", "dst_ip"),
        asked_port("dst_port"),
        protocol("protocol"),
        word("application_name", "service", required=False, spelling=_application),
        word("application_category_name", "service_kind", required=False),
        amount("bidirectional_duration_ms", "duration", "s", MILLISECOND),
        amount("src2dst_duration_ms", "fwd_duration", "s", MILLISECOND),
        amount("dst2src_duration_ms", "bwd_duration", "s", MILLISECOND),
        count("src2dst_packets", "fwd_packets", "packets"),
        count("src2dst_bytes", "fwd_bytes", "B"),
        count("dst2src_packets", "bwd_packets", "packets"),
        count("dst2src_bytes", "bwd_bytes", "B"),
        *(field for source, side in SIDES.items() for field in _statistics(source, side)),
    ),
    ("protocol", "src2dst_packets"),
    of_counts("bytes"),
)


class NFStream(Sensor):
    """Reads the CSV files that ``NFStreamer(...).to_csv()`` writes; see ``Sensor``."""

    schema = SCHEMA
    suffixes = TEXTS

    @property
    def columns(self) -> tuple[Column, ...]:
        """The features that the first file has.

        Raises:
            SourceError: the file is absent, empty or cannot be read.
            SchemaError: it is none of nfstream.
        """
        return self._found.columns

    def parts(self, source: Source, stream: Iterator[bytes]) -> Iterator[Part]:
        """What reads each block of a file.

        Raises:
            SourceError: the file is empty.
            SchemaError: it lacks a field that is needed, or that the first file has.
        """
        head, blocks = headed(source.name, stream)
        names = _names(source, head)
        self._found.require(source.name, names)
        wanted = {field.source: field for field in self._found.fields if field.source in names}
        lines = delimited.Lines(names, head.dialect.separator, True, UNSET)
        yield from (partial(self._chunk, block, lines, wanted) for block in blocks)

    @cached_property
    def _found(self) -> Schema:
        """The schema of the first file."""
        first = self.sources()[0]
        names = _names(first, headed(first.name, sources.blocks(first))[0])
        self.schema.require(first.name, names)
        return self.fields.within(names)

    def _chunk(self, block: Block, lines: delimited.Lines, wanted: dict[str, Field]) -> Chunk:
        return chunk(block, self._found, delimited.read(block, lines, wanted), self.label, self.zone)


def _names(source: Source, head: Head) -> tuple[str, ...]:
    names = head.names
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise SchemaError(f"{source.name}: two columns are called {twice[0]!r}; rename one of them in the header")
    return tuple(name or f"column {place}" for place, name in enumerate(names, start=1))
