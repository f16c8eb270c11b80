"""Which tool wrote a file, by its first lines: a model reads the records of the tool that it was trained on."""

import re
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import orjson

from pipeline.base.errors import DataError, SchemaError, SourceError
from pipeline.datasets import parts, sources
from pipeline.datasets.families import known
from pipeline.datasets.registry import WRITTEN_AS
from pipeline.datasets.schema import FEATURE_NAMES
from pipeline.datasets.sources import Source
from pipeline.datasets.suffixes import TYPED
from pipeline.datasets.unpacking import BROKEN

FIRST_BYTES = 1 << 16
CAPTURES = tuple(bytes.fromhex(text) for text in ("a1b2c3d4", "d4c3b2a1", "a1b23c4d", "4d3cb2a1", "0a0d0d0a"))
TITLES = {
    "zeek": "a conn.log of Zeek",
    "suricata": "an eve.json of Suricata",
    "nfstream": "a CSV of nfstream",
    "cicids2017": "a CSV of CICFlowMeter",
    "pcap": "a capture of packets",
    "nslkdd": "connections of NSL-KDD",
}
FEW = 20  # of the features of CICFlowMeter: a header with as many is one of its tables
KDD = re.compile(rb"\d+,(tcp|udp|icmp),[\w.]+,\w+(,[^,]+){37,39}")
MOST_FILES = 1_000  # of a folder that are looked at


def require_kind(path: Path, dataset: str) -> None:
    """Refuse a file that another tool wrote.

    Args:
        path: of the file.
        dataset: the name of the data set that a model was trained on; any table may come from anywhere.

    Raises:
        SchemaError: it says what the file is, and what the model was trained on.
    """
    found, wanted = kind_of(path), WRITTEN_AS.get(dataset, dataset)
    if found and wanted in TITLES and found != wanted:
        trained = f"the model was trained on {dataset!r} and reads {TITLES[wanted]}"
        raise SchemaError(f"{path.name}: is {TITLES[found]}; {trained}; score it with a model trained on {found!r}")


def kind_of(path: Path) -> str:
    """The data set that reads a file; "" where its first lines do not tell."""
    try:
        return next(iter(_kinds(sources.sources(path, ("",)))), "")
    except SourceError:
        return ""  # whoever reads it all says why


def dataset_of(path: Path) -> str:
    """The data set that reads a file, a zip, or all the files of a folder; "" where their first lines do not tell.

    Raises:
        SourceError: there is nothing, or files of several tools lie there.
    """
    kinds = _kinds(sources.sources(path, ("",)))
    if len(kinds) > 1:
        several = ", ".join(f"{TITLES[kind]} ({name})" for kind, name in sorted(kinds.items()))
        raise SourceError(f"{path}: holds files of several tools: {several}; name one kind with --dataset, or one file")
    return next(iter(kinds), "")


def _kinds(found: Iterable[Source]) -> dict[str, str]:
    """Each kind -> the place of the first source that is of it."""
    kinds: dict[str, str] = {}
    for source in islice(found, MOST_FILES):
        if kind := _kind(source):
            kinds.setdefault(kind, source.place)
    return kinds


def _kind(source: Source) -> str:
    start = _start(source)
    line = start.lstrip(b"\xef\xbb\xbf \r\n").partition(b"\n")[0]
    if start.startswith(CAPTURES):
        return "pcap"
    if line.startswith((b"#separator", b"#fields")):
        return _kind_of_log(start)
    if line.startswith(b"{") and (kind := _kind_of_event(line)):
        return kind
    return "nslkdd" if KDD.match(line) else _kind_of_columns(source)


def _start(source: Source) -> bytes:
    try:
        with source.open() as file:
            return file.read(FIRST_BYTES)
    except BROKEN:
        return b""


def _kind_of_log(start: bytes) -> str:
    """Zeek names what a log is about; others than connections are no records."""
    about = re.search(rb"^#path\s+(\S+)", start, re.MULTILINE)
    return "zeek" if about is None or about[1].startswith(b"conn") else ""


def _kind_of_event(line: bytes) -> str:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return ""
    if "event_type" in event:
        return "suricata"
    return "zeek" if "conn_state" in event and "uid" in event else ""


def _kind_of_columns(source: Source) -> str:
    try:
        names = set(parts.head_of(source).names)
    except DataError:
        return ""
    if "src2dst_packets" in names:
        return "nfstream"
    if source.place.lower().endswith(TYPED) and "record_id" in names:
        return ""  # as ingest stores them: of any data set
    canonical = {known.meanings().get(known.key(name)) for name in names}
    return "cicids2017" if len(canonical & {*FEATURE_NAMES}) >= FEW else ""
