"""Lines of sensors' logs per CPU-second as records, beside what plain readers of tables need for the text alone.

    python -m benchmarks.sensors [--lines N] [--rounds K]

The logs are of simulated traffic, whose lines are repeated until there are ``N``. Each side runs in its own process and
the sides take turns; of ``K`` rounds the fewest CPU-seconds and the largest peak count. The last side reads four
times as many lines: memory must not grow with the length of a log.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline.datasets.synthetic.zeek_logs import write_logs

CONVERSATIONS = 20_000
HEADER_LINES = 8
Reader = Callable[[Path], int]


def zeek(path: Path) -> int:
    """Records with all their features."""
    from pipeline.datasets.sensors.zeek import Zeek

    return sum(chunk.records.num_rows for chunk in Zeek(path).read())


def suricata(path: Path) -> int:
    """The same of Suricata."""
    from pipeline.datasets.sensors.suricata import Suricata

    return sum(chunk.records.num_rows for chunk in Suricata(path).read())


def nfstream(path: Path) -> int:
    """The same of nfstream."""
    from pipeline.datasets.sensors.nfstream import NFStream

    return sum(chunk.records.num_rows for chunk in NFStream(path).read())


def pandas(path: Path) -> int:
    """The cells of a table, all of it in memory."""
    import pandas as pd

    return len(pd.read_csv(path, sep="\t", skiprows=HEADER_LINES - 1, header=None, comment="#", na_values="-"))


def polars(path: Path) -> int:
    """The same by polars."""
    import polars as pl  # type: ignore[import-not-found]

    options: dict[str, Any] = {"separator": "\t", "has_header": False, "comment_prefix": "#", "null_values": "-"}
    return len(pl.read_csv(path, **options))


READERS: dict[str, Reader] = {
    "zeek": zeek, "suricata": suricata, "nfstream": nfstream, "pandas": pandas, "polars": polars,
}  # fmt: skip


def logs(folder: Path, lines: int) -> dict[str, tuple[str, Path]]:
    """Side -> (reader, log): each log has ``lines`` connections, the last one four times as many."""
    own, objects = (write_logs(folder, CONVERSATIONS, 1, 0, form=form)[0] for form in ("tsv", "json"))
    rows = [json.loads(line) for line in objects.read_text().splitlines()]
    events = "".join(json.dumps(_event(row)) + "\n" for row in rows)
    flows = [_flow(row) for row in rows]
    table = "".join(",".join(map(str, row.values())) + "\n" for row in flows)
    head = "".join(line + "\n" for line in own.read_text().splitlines() if line.startswith("#"))
    body = "".join(line + "\n" for line in own.read_text().splitlines() if not line.startswith("#"))
    tsv = _repeated(folder / "conn.many.log", head, body, lines)
    return {
        "zeek, TSV": ("zeek", tsv),
        "zeek, JSON": ("zeek", _repeated(folder / "conn.many.json", "", objects.read_text(), lines)),
        "suricata": ("suricata", _repeated(folder / "eve.json", "", events, lines)),
        "nfstream": ("nfstream", _repeated(folder / "flows.csv", ",".join(flows[0]) + "\n", table, lines)),
        "pandas.read_csv of the TSV": ("pandas", tsv),
        **({"polars.read_csv of the TSV": ("polars", tsv)} if find_spec("polars") else {}),
        "zeek, TSV, four times": ("zeek", _repeated(folder / "conn.four.log", head, body, 4 * lines)),
    }


def _repeated(path: Path, head: str, body: str, lines: int) -> Path:
    with path.open("w") as file:
        file.write(head)
        for _ in range(-(-lines // body.count("\n"))):
            file.write(body)
    return path


def _event(row: dict[str, Any]) -> dict[str, Any]:
    """The event that Suricata would write of the connection."""
    start, end = (f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at))}.{at % 1 * 1e6:06.0f}+0000" for at in (
        row["ts"], row["ts"] + row.get("duration", 0)
    ))  # fmt: skip
    return {
        "timestamp": end, "flow_id": abs(hash(row["uid"])), "event_type": "flow", "src_ip": row["id.orig_h"],
        "src_port": row["id.orig_p"], "dest_ip": row["id.resp_h"], "dest_port": row["id.resp_p"],
        "proto": row["proto"].upper(), "app_proto": row.get("service", "failed"),
        "flow": {"pkts_toserver": row["orig_pkts"], "pkts_toclient": row["resp_pkts"],
                 "bytes_toserver": row["orig_ip_bytes"], "bytes_toclient": row["resp_ip_bytes"],
                 "start": start, "end": end, "age": 1, "state": "closed", "reason": "timeout", "alerted": False},
        "tcp": {"tcp_flags": "1b", "tcp_flags_ts": "1b", "tcp_flags_tc": "1b", "state": "closed"},
    }  # fmt: skip


def _flow(row: dict[str, Any]) -> dict[str, Any]:
    """The row that nfstream would write of the connection, without statistics."""
    milliseconds = int(row.get("duration", 0) * 1e3)
    return {
        "id": row["uid"], "src_ip": row["id.orig_h"], "src_port": row["id.orig_p"], "dst_ip": row["id.resp_h"],
        "dst_port": row["id.resp_p"], "protocol": 6 if row["proto"] == "tcp" else 17,
        "bidirectional_first_seen_ms": int(row["ts"] * 1e3), "bidirectional_duration_ms": milliseconds,
        "src2dst_duration_ms": milliseconds, "dst2src_duration_ms": milliseconds, "src2dst_packets": row["orig_pkts"],
        "src2dst_bytes": row["orig_ip_bytes"], "dst2src_packets": row["resp_pkts"],
        "dst2src_bytes": row["resp_ip_bytes"], "application_name": row.get("service", "Unknown").split(",")[0],
    }  # fmt: skip


def measure(reader: str, path: Path) -> tuple[int, float, float]:
    """Lines, CPU-seconds, and peak memory in MiB, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.sensors", "--side", reader, "--path", str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    lines, seconds, peak = json.loads(done.stdout)
    return lines, seconds, peak


def side(reader: str, path: Path) -> None:
    """Print what ``measure`` returns; modules are imported before the clock starts."""
    with tempfile.TemporaryDirectory() as folder:
        READERS[reader](_start_of(path, Path(folder)))
    start = time.process_time()
    lines = READERS[reader](path)
    seconds = time.process_time() - start
    print(json.dumps([lines, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


def _start_of(path: Path, folder: Path) -> Path:
    """The first lines of a log, to read before the clock starts."""
    short = folder / path.name
    with path.open("rb") as file:
        short.write_bytes(b"".join(file.readline() for _ in range(100)))
    return short


def main() -> None:
    """Print a table, each rate beside that of pandas."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=600_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=READERS)
    parser.add_argument("--path", type=Path)
    given = parser.parse_args()
    if given.side:
        side(given.side, given.path)
        return
    with tempfile.TemporaryDirectory() as folder:
        sides = logs(Path(folder), given.lines)
        best: dict[str, tuple[int, float, float]] = {}
        for _ in range(given.rounds):
            for name, (reader, path) in sides.items():
                lines, seconds, peak = measure(reader, path)
                known = best.get(name, (lines, seconds, peak))
                best[name] = (lines, min(seconds, known[1]), max(peak, known[2]))
    plain = best["pandas.read_csv of the TSV"]
    print("| side | lines per CPU-second | beside pandas | peak MiB |\n|---|---:|---:|---:|")
    for name, (lines, seconds, peak) in best.items():
        print(f"| {name} | {lines / seconds:,.0f} | {lines / seconds * plain[1] / plain[0]:.2f} | {peak:,.0f} |")


if __name__ == "__main__":
    main()
