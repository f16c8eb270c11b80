"""Packets and flows per CPU-second of captures, beside other readers of captures, and what memory it takes.

    python -m benchmarks.packets ../shared/data/pcaps --python /where/nfstream/is/bin/python

The captures in the folder are repeated with other times and addresses until there are ``--packets`` packets. Each
reader runs in a process of its own, by turns, ``--rounds`` times; the best round counts. CPU time is that of the
process and its children, after imports. A reader that an interpreter cannot import is left out:

flowsculpt
    frames, flows, the 78 features and the table of records.
decoding
    frames and headers alone, by this project.
nfstream
    flows with its statistical features, one meter, no dissection of contents.
cicflowmeter
    the Python port 0.2, on a twentieth of the packets: it is slow. Its session is fed by scapy.
dpkt, scapy
    frames and headers alone; scapy's raw reader gives bytes only.

Memory is measured on the same capture and on one that is four times as long, in the process alone: nfstream has others.
"""

import argparse
import json
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.datasets import sources
from pipeline.datasets.packets.files import Capture
from pipeline.datasets.suffixes import CAPTURES

BEGIN, STEP = 1_600_000_000_000_000, 3_000_000  # microseconds
SLOW_SHARE = 20  # a twentieth of the packets for readers that are slow

MEASURE = """
import json, os, resource, sys, time
{imports}
path = sys.argv[1]
def cpu():
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
def run():
{body}
before = cpu()
packets, flows = run()
spent = cpu() - before
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
print(json.dumps({{"packets": packets, "flows": flows, "seconds": spent, "peak": peak / 1024}}), file=sys.stderr)
"""

READERS = {
    "flowsculpt": (
        "import pandas\nfrom pathlib import Path\nfrom pipeline.datasets.packets.captures import Captures",
        """
        records = flows = 0
        for chunk in Captures(Path(path)).read():
            flows += chunk.records.num_rows
            for name in ("total_fwd_packets", "total_bwd_packets"):
                records += int(chunk.records.column(name).to_numpy().sum())
        return records, flows
        """,
    ),
    "decoding": (
        "from pathlib import Path\nfrom pipeline.datasets import sources\n"
        "from pipeline.datasets.packets.decode import decode\nfrom pipeline.datasets.packets.files import Capture",
        """
        source = sources.sources(Path(path), (".pcap",))[0]
        return sum(len(decode(frames).traffic) for frames in Capture(source).frames()), 0
        """,
    ),
    "nfstream": (
        "from nfstream import NFStreamer",
        """
        stream = NFStreamer(source=path, statistical_analysis=True, n_dissections=0, n_meters=1)
        packets = flows = 0
        for flow in stream:
            packets, flows = packets + flow.bidirectional_packets, flows + 1
        return packets, flows
        """,
    ),
    "cicflowmeter": (
        "from cicflowmeter.flow_session import FlowSession\nfrom scapy.utils import PcapReader\nimport scapy.all",
        """
        out = path + ".csv"
        FlowSession.output_mode, FlowSession.output, FlowSession.fields = "csv", out, None
        session = FlowSession()
        for packet in PcapReader(path):
            session.on_packet_received(packet)
        session.garbage_collect(None)
        del session.output_writer
        with open(out) as file:
            return session.packets_count, sum(1 for _ in file) - 1
        """,
    ),
    "dpkt": (
        "import dpkt",
        """
        packets = 0
        with open(path, "rb") as file:
            for _, data in dpkt.pcap.Reader(file):
                packets += isinstance(dpkt.ethernet.Ethernet(data).data, (dpkt.ip.IP, dpkt.ip6.IP6))
        return packets, 0
        """,
    ),
    "scapy": (
        "from scapy.utils import RawPcapReader",
        """
        with RawPcapReader(path) as reader:
            return sum(1 for _ in reader), 0
        """,
    ),
}
SLOW = ("cicflowmeter",)


class Measured(NamedTuple):
    """Packets and flows that a reader found, CPU-seconds, and the peak of its memory in MB."""

    packets: int
    flows: int
    seconds: float
    peak: float


def main() -> int:
    """Make the captures, measure each reader, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of captures on Ethernet")
    parser.add_argument("--packets", type=int, default=600_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--python", action="append", default=[], help="an interpreter that has some of the readers")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="packets-") as folder:
        captures = {times: Path(folder) / f"{times}.pcap" for times in (1, 4)}
        few = Path(folder) / "few.pcap"
        frames = list(_frames(given.folder))
        for path, packets in ((captures[1], given.packets), (captures[4], 4 * given.packets)):
            _write(path, frames, packets)
        _write(few, frames, given.packets // SLOW_SHARE)
        _print_rates(_rates(captures[1], few, [sys.executable, *given.python], given.rounds))
        _print_memory({times: _measured("flowsculpt", sys.executable, path) for times, path in captures.items()})
    return 0


def _frames(folder: Path) -> Iterator[tuple[int, int, bytes]]:
    """Microseconds since the first frame of its file, bytes on the wire, and content of each frame."""
    for source in sources.sources(folder, CAPTURES):
        first = None
        for frames in Capture(source).frames():
            for at, kept, wire, time in zip(frames.start, frames.captured, frames.wire, frames.time, strict=True):
                first = int(time) if first is None else first
                yield max(int(time) - first, 0), int(wire), frames.data[at : at + kept].tobytes()


def _write(path: Path, frames: list[tuple[int, int, bytes]], packets: int) -> None:
    """Repeat the frames, each time three seconds later and with other addresses."""
    order = [(BEGIN + STEP * (n // len(frames)) + frames[n % len(frames)][0], n) for n in range(packets)]
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1))
        for time, n in sorted(order):
            turn, which = divmod(n, len(frames))
            _, wire, frame = frames[which]
            if frame[12:14] == b"\x08\x00":
                host, net = (frame[29:30] + frame[33:34]), turn % 65_536
                source, target = (net >> 8 ^ host[0], net & 255), (net >> 8 ^ host[1], net & 255)
                frame = frame[:28] + bytes(source) + frame[30:32] + bytes(target) + frame[34:]
            file.write(struct.pack("<IIII", time // 1_000_000, time % 1_000_000, len(frame), wire) + frame)


def _rates(path: Path, few: Path, interpreters: list[str], rounds: int) -> dict[str, Measured]:
    best: dict[str, Measured] = {}
    for _ in range(rounds):
        for name in READERS:
            for python in interpreters:
                found = _measured(name, python, few if name in SLOW else path)
                if found is not None:
                    if name not in best or found.seconds < best[name].seconds:
                        best[name] = found
                    break
    return best


def _measured(name: str, python: str, path: Path) -> Measured | None:
    """What a reader needs for a capture; None where the interpreter cannot import it."""
    imports, body = READERS[name]
    program = MEASURE.format(imports=imports, body=body.replace("\n        ", "\n    ").rstrip(" "))
    ran = subprocess.run([python, "-c", program, str(path)], capture_output=True, text=True, check=False)
    if "ModuleNotFoundError" in ran.stderr or "ImportError" in ran.stderr:
        return None
    if ran.returncode:
        raise SystemExit(f"{name}: {ran.stderr[-2_000:]}")
    return Measured(**json.loads(ran.stderr.splitlines()[-1]))


def _print_rates(measured: dict[str, Measured]) -> None:
    own = measured["flowsculpt"]
    print("| reader | packets | flows | CPU-s | packets per CPU-s | flows per CPU-s | times slower | peak MB |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name, each in measured.items():
        rate, flows = each.packets / each.seconds, each.flows / each.seconds
        slower = own.packets / own.seconds / rate
        counts = f"{each.packets:,} | {each.flows:,} | {each.seconds:.2f} | {rate:,.0f} | {flows:,.0f}"
        print(f"| {name} | {counts} | {slower:.2f} | {each.peak:.0f} |")


def _print_memory(measured: dict[int, Measured | None]) -> None:
    print("\n| length | packets | peak MB |\n|---|---:|---:|")
    for times, each in measured.items():
        if each is not None:
            print(f"| {times}x | {each.packets:,} | {each.peak:.0f} |")


if __name__ == "__main__":
    raise SystemExit(main())
