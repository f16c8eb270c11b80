"""Odd input of every kind, made by Hypothesis: each must be taken, or refused in words.

::

    python -m benchmarks.fuzz [--minutes 10] [--kind params ...] [--seed 0] [--keep FOLDER]

A good file of each kind is changed: bytes at random, or one to three of its values. New values are of other types, of
odd sizes, or stand at odd places. The code that reads such a file from a user then reads this one. It **holds** where
it is taken, or refused with an error of this project. It **gives way** where anything else is raised, or where reading
takes more than 20 seconds. What gave way is made as small as Hypothesis can, and written to the folder of ``--keep``.
Put it into ``tests/contracts/odd`` once it is mended. The program ends with 1 where one gave way.
"""

import argparse
import contextlib
import copy
import json
import os
import random
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from benchmarks import mutations
from pipeline.artifacts import labels, paths
from pipeline.base.errors import FlowsculptError, MachineError, SourceError
from pipeline.datasets.apart.reader import Asked
from pipeline.datasets.reading import Reading
from pipeline.datasets.schema import FEATURES
from pipeline.datasets.synthetic.captures import write_captures
from pipeline.datasets.synthetic.zeek_logs import write_logs
from pipeline.datasets.unpacking import BROKEN

ROOT: Final = Path(__file__).parents[1]
REGISTERED: Final = ROOT / "tests" / "serving" / "before" / "registered.tar.gz"
LONGEST: Final = 20.0  # seconds
BATCH: Final = 200
DEEP: Final = b"[" * 20_000
TOKENS: Final = (
    DEEP,
    b'{"a":' * 20_000,
    b"9" * 5_000,
    b"NaN",
    b"-Infinity",
    b"1e999",
    b'"\\ud800"',
    b"!!python/x {}",
    b"&a [*a]",
)
LEAVES: Final = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12)),
    st.sampled_from(["", "\x00", "\n", "=1+1", "../x", "x" * 300, "1e400", "nan", 1 << 63, -1, 10**40, 1e308]),
)
VALUES: Final = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=5,
)


class Kind(NamedTuple):
    """A kind of input.

    Attributes:
        good: an input as it should be.
        take: reads an input that lies in a file, as a user's is read.
        form: how values stand in it: json, lines (of JSON), yaml; "" where only bytes are changed.
        suffix: of the file.
    """

    good: Callable[[], bytes]
    take: Callable[[Path], object]
    form: str = ""
    suffix: str = ""


# Good input.


@cache
def _folder() -> Path:
    return Path(tempfile.mkdtemp(prefix="fuzz-"))


def _params() -> bytes:
    return (ROOT / "params.yaml").read_bytes()


def _label() -> bytes:
    said = {"record_id": "0f3c" * 4, "label": "confirmed", "attack": "bot", "by": "ada", "note": "", "row": 17}
    more = {
        "time": "2026-01-31T09:00:00+00:00",
        "source_file": "monday.csv",
        "columns": {"flow_duration": 4.0, "proto": "tcp"},
    }
    return b"".join(json.dumps({**said, **more, "row": row}).encode() + b"\n" for row in (17, 18))


def _keys() -> bytes:
    from pipeline.serving.trust.keys import now
    from pipeline.serving.trust.trusted import Retired, Served, TrustedKey, _written

    kept = Retired(now(), (Served("flowsculpt", 3, "ab" * 32, 7),))
    return json.dumps(
        {"keys": [_written(TrustedKey("ada", bytes(32), now())), _written(TrustedKey("old", b"1" * 32, now(), kept))]}
    ).encode()


@cache
def _signer() -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from pipeline.serving.trust.keys import Signer

    return Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))), "benchmark")


def _trusted() -> Any:
    from pipeline.serving.trust.trusted import TrustedKey

    return [TrustedKey("ada", _signer().public, "2026-01-01T00:00:00+00:00")]


def _tag() -> bytes:
    from pipeline.serving.trust import statements

    return statements.sign_promotion("flowsculpt", 3, "ab" * 32, (1, "0" * 64), _signer()).encode()


def _log() -> bytes:
    from pipeline.serving.trust import chain

    about = {"model": "flowsculpt", "decision": "promoted", "serving": 3, "champion": None, "reasons": []}
    line = {**about, "digests": {"candidate": "ab" * 32, "champion": None}, "sequence": 1, "previous": chain.NOTHING}
    return json.dumps(chain.signed(line, _signer())).encode() + b"\n"


@cache
def _bundle() -> Any:
    from pipeline.serving import manifest

    folder = _folder() / "registered"
    with tarfile.open(REGISTERED) as archive:
        archive.extractall(folder, filter="data")
    (found,) = folder.rglob("bundle.json")
    return manifest.load(found.parent)


def _part() -> bytes:
    """All parts of a bundle that are JSON, in one object."""
    return json.dumps(
        {name: json.loads(each) for name, each in _bundle().files.items() if name.endswith(".json")}
    ).encode()


@cache
def _logs(kind: str) -> bytes:
    folder = _folder() / kind
    folder.mkdir()
    if kind == "pcap":
        write_captures(folder, 60, 1, 0)
        return next(folder.glob("*.pcap")).read_bytes()
    write_logs(folder, 60, 1, 0)
    return next(folder.glob("*.log")).read_bytes()


def _eve() -> bytes:
    flow = {"pkts_toserver": 3, "pkts_toclient": 2, "bytes_toserver": 300, "bytes_toclient": 200, "state": "closed"}
    times = {"start": "2026-01-31T09:00:00.000000+0000", "end": "2026-01-31T09:00:01.500000+0000", "age": 1}
    ends = {"src_ip": "10.0.0.1", "src_port": 4000, "dest_ip": "10.0.0.2", "dest_port": 80, "proto": "TCP"}
    event = {"timestamp": "2026-01-31T09:00:02.0+0000", "flow_id": 1, "event_type": "flow", **ends, "app_proto": "http"}
    lines = [{**event, "flow_id": number, "flow": flow | times, "tcp": {"tcp_flags": "1b"}} for number in range(4)]
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)


def _json() -> bytes:
    rows = [{"a": number, "b": 0.5, "word": "tcp", "label": "x" if number % 3 else "benign"} for number in range(6)]
    return b"".join(json.dumps(each).encode() + b"\n" for each in rows)


@cache
def _csv() -> bytes:
    folder = _folder() / "csv"
    folder.mkdir()
    return mutations.text_of(folder)


# How each is read.


def _settings(path: Path) -> None:
    from pipeline import config
    from pipeline.settings.sections import FLOW_SECTIONS, SECTIONS

    params, faults = config.read(path), []
    for shape in (*SECTIONS.values(), *FLOW_SECTIONS.values()):
        try:
            config.build(shape, params, str(path))
        except FlowsculptError as error:
            faults.append(error)
    if faults:
        raise faults[0]


def _put(path: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(path.read_bytes())


def _labels(path: Path) -> None:
    _put(path, paths.LABELS)
    labels.read()


def _key_list(path: Path) -> None:
    from pipeline.serving.trust import trusted

    _put(path, paths.TRUSTED_KEYS)
    trusted.load()


def _statement(path: Path) -> None:
    from pipeline.serving.trust import statements

    statements.read_promotion(path.read_bytes().decode(errors="replace"), _trusted())


def _promotions(path: Path) -> None:
    from pipeline.serving.trust import chain

    chain.parsed.cache_clear()
    log = chain.parsed(path.read_bytes(), tuple(_trusted()), thorough=True)
    log.served("flowsculpt"), log.before("flowsculpt", 3)


def _model(path: Path) -> None:
    from pipeline.serving.bundle import Bundle
    from pipeline.serving.manifest import HashedFolder

    changed = json.loads(path.read_bytes())
    files = dict(_bundle().files)
    if isinstance(changed, dict):
        files |= {name: json.dumps(each).encode() for name, each in changed.items() if name in files}
    with tempfile.TemporaryDirectory() as folder:
        HashedFolder(_bundle().about, files).save(Path(folder) / "bundle")
        Bundle.load(Path(folder) / "bundle")


def _table(path: Path) -> None:
    from pipeline.datasets.table import Table

    for _ in Table(path, categorical=("word",)).read():
        pass


def _records(dataset: str) -> Callable[[Path], None]:
    def take(path: Path) -> None:
        try:
            for _ in Asked(path, dataset, FEATURES, {}, Reading(), {}, ()).read():
                pass
        except BROKEN as error:  # the process that reads files says it in words
            raise SourceError(f"{path}: is damaged: {error}") from error

    return take


KINDS: Final[Mapping[str, Kind]] = {
    "params": Kind(_params, _settings, "yaml", ".yaml"),
    "labels": Kind(_label, _labels, "lines", ".jsonl"),
    "keys": Kind(_keys, _key_list, "json", ".json"),
    "signature": Kind(_tag, _statement, "json"),
    "promotions": Kind(_log, _promotions, "lines", ".jsonl"),
    "bundle": Kind(_part, _model, "json", ".json"),
    "json": Kind(_json, _table, "lines", ".jsonl"),
    "suricata": Kind(_eve, _records("suricata"), "lines", ".json"),
    "zeek": Kind(lambda: _logs("zeek"), _records("zeek"), "", ".log"),
    "pcap": Kind(lambda: _logs("pcap"), _records("pcap"), "", ".pcap"),
    "csv": Kind(_csv, _records("cicids2017"), "", ".csv"),
    "parquet": Kind(lambda: mutations.KINDS["parquet"][1](_csv()), _records("cicids2017"), "", ".parquet"),
    "zip": Kind(lambda: mutations.KINDS["zip"][1](_csv()), _records("cicids2017"), "", ".zip"),
}


# Odd input.


@st.composite
def odd_values(draw: Callable[[Any], Any], whole: Any) -> Any:
    """The values ``whole`` with one to three changes."""
    made = {"": copy.deepcopy(whole)}
    for _ in range(draw(st.integers(1, 3))):
        holder: Any = made
        key: Any = ""
        while isinstance(holder[key], dict | list) and holder[key] and draw(st.integers(0, 4)):
            holder = holder[key]
            key = draw(st.sampled_from([*holder] if isinstance(holder, dict) else [*range(len(holder))]))
        match draw(st.sampled_from(("put", "put", "put", "drop", "add", "twice"))):
            case "drop" if isinstance(holder, dict) and holder is not made:
                del holder[key]
            case "add" if isinstance(holder[key], dict):
                holder[key][draw(st.text(max_size=8))] = draw(VALUES)
            case "twice" if isinstance(holder[key], list):
                holder[key] += copy.deepcopy(holder[key])
            case _:
                holder[key] = draw(VALUES)
    return made[""]


@st.composite
def odd_bytes(draw: Callable[[Any], Any], content: bytes) -> bytes:
    """The bytes with one to four changes."""
    seeded = random.Random(draw(st.integers(0, 1 << 32)))
    made = mutations.changed(content, content[::-1], seeded)
    if draw(st.integers(0, 5)) == 0:
        at = seeded.randrange(len(made) + 1)
        made = made[:at] + draw(st.sampled_from(TOKENS)) + made[at:]
    return made


def odd(kind: Kind) -> st.SearchStrategy[bytes]:
    """Inputs of a kind that are not as they should be."""
    content = kind.good()
    loose = odd_bytes(content)
    if not kind.form:
        return loose
    if kind.form == "lines":
        whole: Any = [json.loads(line) for line in content.splitlines()]
        strict = odd_values(whole).map(
            lambda lines: b"".join(
                json.dumps(line).encode() + b"\n" for line in (lines if isinstance(lines, list) else [lines])
            )
        )
    elif kind.form == "yaml":
        strict = odd_values(yaml.safe_load(content)).map(lambda made: yaml.safe_dump(made).encode())
    else:
        strict = odd_values(json.loads(content)).map(lambda made: json.dumps(made).encode())
    return strict if kind.take is _model else st.one_of(strict, loose)


def take(kind: Kind, content: bytes, folder: Path) -> str:
    """Read an input as a user's is read; returns ``taken`` or ``refused``.

    Raises:
        Exception: whatever is not a refusal in words.
    """
    path = folder / f"odd{kind.suffix}"
    path.write_bytes(content)
    began = time.monotonic()
    try:
        kind.take(path)
        return "taken"
    except MachineError:
        raise
    except FlowsculptError as error:
        assert str(error), "a refusal without a reason"
        return "refused"
    finally:
        assert time.monotonic() - began < LONGEST, f"took more than {LONGEST:g} s"


# The program.


def fuzz(name: str, seconds: float, first: int, folder: Path, keep: Path | None) -> tuple[dict[str, int], str]:
    """Try a kind for so long; returns how many were taken and refused, and what gave way."""
    kind, counts, end, number = KINDS[name], {"taken": 0, "refused": 0}, time.monotonic() + seconds, first
    last = b""

    def holds(content: bytes) -> None:
        nonlocal last
        last = content
        counts[take(kind, content, folder)] += 1

    calm = settings(
        max_examples=BATCH,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    while time.monotonic() < end:
        number += 1
        try:
            seed(number)(calm(given(odd(kind))(holds)))()
        except Exception as error:  # whatever it is, it is what this looks for
            if keep:
                (keep / f"{name}-{number}{kind.suffix}").write_bytes(last)
            return counts, f"{type(error).__name__}: {str(error)[:300]}"
    return counts, ""


@contextlib.contextmanager
def _elsewhere() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        before, folder = Path.cwd(), Path(name)
        (folder / "params.yaml").touch()
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(before)


def main() -> int:
    """Run the benchmark from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--kind", nargs="+", choices=KINDS, default=[*KINDS])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    chosen = parser.parse_args()
    keep = chosen.keep.resolve() if chosen.keep else None
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
    print("| kind | tried | taken | refused with a reason | gave way |\n|---|---:|---:|---:|---|")
    total, is_held = 0, True
    with _elsewhere() as folder:
        for name in chosen.kind:
            counts, why = fuzz(name, chosen.minutes * 60 / len(chosen.kind), chosen.seed * 10_000, folder, keep)
            tried = sum(counts.values()) + bool(why)
            total, is_held = total + tried, is_held and not why
            print(f"| {name} | {tried:,} | {counts['taken']:,} | {counts['refused']:,} | {why or 'none'} |", flush=True)
    print(f"\n{total:,} inputs.")
    return not is_held


if __name__ == "__main__":
    sys.exit(main())
