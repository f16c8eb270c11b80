"""Which tool wrote a file, by its first lines: a model reads the records of the tool that it was trained on."""

import gzip
import zlib
from pathlib import Path

import orjson

from pipeline.base.errors import SchemaError

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
SAME = {"synthetic": "cicids2017"}  # data set -> the one in whose format its records are


def require_kind(path: Path, dataset: str) -> None:
    """Refuse a file that another tool wrote.

    Args:
        path: of the file.
        dataset: the name of the data set that a model was trained on; any table may come from anywhere.

    Raises:
        SchemaError: it says what the file is, and what the model was trained on.
    """
    found, wanted = kind_of(path), SAME.get(dataset, dataset)
    if found and wanted in TITLES and found != wanted:
        trained = f"the model was trained on {dataset!r} and reads {TITLES[wanted]}"
        raise SchemaError(f"{path.name}: is {TITLES[found]}; {trained}; score it with a model trained on {found!r}")


def kind_of(path: Path) -> str:
    """The data set that reads a file; "" where its first lines do not tell."""
    start = _start(path)
    line = start.lstrip(b"\xef\xbb\xbf \r\n").partition(b"\n")[0]
    if start.startswith(CAPTURES):
        return "pcap"
    if line.startswith((b"#separator", b"#fields")):
        return "zeek"
    return _kind_of_object(line) if line.startswith(b"{") else _kind_of_header(line.decode("utf-8", "replace").lower())


def _start(path: Path) -> bytes:
    """The first bytes of a file, unpacked; none where they cannot be read: whoever reads it all says why."""
    try:
        with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as file:
            return file.read(FIRST_BYTES)
    except (OSError, EOFError, zlib.error):
        return b""


def _kind_of_object(line: bytes) -> str:
    try:
        event = orjson.loads(line)
    except orjson.JSONDecodeError:
        return ""
    if "event_type" in event:
        return "suricata"
    return "zeek" if "conn_state" in event and "uid" in event else ""


def _kind_of_header(line: str) -> str:
    if "src2dst_packets" in line:
        return "nfstream"
    return "cicids2017" if "flow duration" in line and "fwd" in line else ""
