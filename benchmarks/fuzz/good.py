"""Input as it should be, of each kind."""

import json
import tarfile
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

from benchmarks import mutations
from pipeline.datasets.synthetic.captures import write_captures
from pipeline.datasets.synthetic.zeek_logs import write_logs

ROOT: Final = Path(__file__).parents[2]
REGISTERED: Final = ROOT / "tests" / "serving" / "before" / "registered.tar.gz"


@cache
def _made() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-"))


def params() -> bytes:
    """The shipped settings."""
    return (ROOT / "params.yaml").read_bytes()


def label() -> bytes:
    """A log of two marks."""
    said = {"record_id": "0f3c" * 4, "label": "confirmed", "attack": "bot", "by": "ada", "note": "", "row": 17}
    more = {
        "time": "2026-01-31T09:00:00+00:00",
        "source_file": "monday.csv",
        "columns": {"flow_duration": 4.0, "proto": "tcp"},
    }
    return b"".join(json.dumps({**said, **more, "row": row}).encode() + b"\n" for row in (17, 18))


def key_list() -> bytes:
    """Two public keys, one of them retired."""
    from pipeline.serving.trust.keys import now
    from pipeline.serving.trust.trusted import Retired, Served, TrustedKey, _written

    kept = Retired(now(), (Served("flowsculpt", 3, "ab" * 32, 7),))
    return json.dumps(
        {"keys": [_written(TrustedKey("ada", bytes(32), now())), _written(TrustedKey("old", b"1" * 32, now(), kept))]}
    ).encode()


@cache
def signer() -> Any:
    """A private key."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from pipeline.serving.trust.keys import Signer

    return Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))), "benchmark")


def trusted() -> Any:
    """The list that trusts it."""
    from pipeline.serving.trust.trusted import TrustedKey

    return [TrustedKey("ada", signer().public, "2026-01-01T00:00:00+00:00")]


def tag() -> bytes:
    """A signed decision."""
    from pipeline.serving.trust import statements

    return statements.sign_promotion("flowsculpt", 3, "ab" * 32, (1, "0" * 64), signer()).encode()


def log() -> bytes:
    """A line of the log of promotions."""
    from pipeline.serving.trust import chain

    about = {"model": "flowsculpt", "decision": "promoted", "serving": 3, "champion": None, "reasons": []}
    line = {**about, "digests": {"candidate": "ab" * 32, "champion": None}, "sequence": 1, "previous": chain.NOTHING}
    return json.dumps(chain.signed(line, signer())).encode() + b"\n"


@cache
def bundle() -> Any:
    """The files of a small model."""
    from pipeline.serving import manifest

    folder = _made() / "registered"
    with tarfile.open(REGISTERED) as archive:
        archive.extractall(folder, filter="data")
    (found,) = folder.rglob("bundle.json")
    return manifest.load(found.parent)


def parts() -> bytes:
    """All parts of a bundle that are JSON, in one object."""
    return json.dumps(
        {name: json.loads(each) for name, each in bundle().files.items() if name.endswith(".json")}
    ).encode()


@cache
def sensor(kind: str) -> bytes:
    """A log of Zeek, or a capture."""
    folder = _made() / kind
    folder.mkdir()
    if kind == "pcap":
        write_captures(folder, 60, 1, 0)
        return next(folder.glob("*.pcap")).read_bytes()
    write_logs(folder, 60, 1, 0)
    return next(folder.glob("*.log")).read_bytes()


def events() -> bytes:
    """Events of Suricata."""
    flow = {"pkts_toserver": 3, "pkts_toclient": 2, "bytes_toserver": 300, "bytes_toclient": 200, "state": "closed"}
    times = {"start": "2026-01-31T09:00:00.000000+0000", "end": "2026-01-31T09:00:01.500000+0000", "age": 1}
    ends = {"src_ip": "10.0.0.1", "src_port": 4000, "dest_ip": "10.0.0.2", "dest_port": 80, "proto": "TCP"}
    event = {"timestamp": "2026-01-31T09:00:02.0+0000", "flow_id": 1, "event_type": "flow", **ends, "app_proto": "http"}
    lines = [{**event, "flow_id": number, "flow": flow | times, "tcp": {"tcp_flags": "1b"}} for number in range(4)]
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)


def rows() -> bytes:
    """Lines of JSON with labels."""
    rows = [{"a": number, "b": 0.5, "word": "tcp", "label": "x" if number % 3 else "benign"} for number in range(6)]
    return b"".join(json.dumps(each).encode() + b"\n" for each in rows)


@cache
def table() -> bytes:
    """Records of CICFlowMeter."""
    folder = _made() / "csv"
    folder.mkdir()
    return mutations.text_of(folder)
