"""Writes simulated traffic as captures: one pcap a day, headers only, with the labels of its attacks beside it."""

import csv
import struct
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.base import durable
from pipeline.datasets.packets.bricks import FIN, SYN, Ints, Packets
from pipeline.datasets.packets.rules import LABELS
from pipeline.datasets.synthetic.addresses import ATTACKER, FIRST_DAY, number, texts
from pipeline.datasets.synthetic.conversations import CLIENT, SERVER
from pipeline.datasets.synthetic.days import ATTACKS_PER_50_000
from pipeline.datasets.synthetic.scenes import Scene, scenes, working_days

SNAP = 96  # bytes of each frame that are kept: all headers
_BEFORE, _ETHERNET, _IP, _TCP, _UDP = 16, 14, 20, 6, 17
_AT_ONCE = 100_000  # packets
_HEAD = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, SNAP, 1)


class _Sent(NamedTuple):
    """(p,) packets with all that their headers say."""

    time: Ints
    source: Ints
    target: Ints
    source_port: Ints
    target_port: Ints
    protocol: Ints
    payload: Ints
    header: Ints
    flags: Ints
    window: Ints
    sequence: Ints
    acknowledged: Ints


def write_captures(folder: Path, conversations: int, days: int, seed: int, attacks: bool = False) -> list[Path]:
    """Simulate traffic of some working days, and write a pcap for each.

    The same arguments give the same bytes. With attacks, rules in ``NAME.labels.csv`` beside the capture ``NAME`` name
    them; all other flows are benign.

    Args:
        folder: where the files go; it is made where it is absent.
        conversations: benign ones, all days together.
        days: working days, Monday first.
        seed: of every draw, not negative.
        attacks: whether there are any.

    Returns:
        The captures, in the order of the days.

    Raises:
        ConfigError: fewer conversations than days, no day, or a negative seed.
    """
    planned = working_days(conversations, days)
    durable.make_folder(folder)
    paths = []
    for day, count in planned:
        date = FIRST_DAY + timedelta(days=day)
        path = folder / f"{date:%Y-%m-%d-%A}.pcap".lower()
        seen = list(scenes(day, count, seed, attacks))
        _write_capture(path, seen)
        if attacks:
            _write_rules(path.with_name(path.name + LABELS), {scene.attack for scene in seen} - {"benign"})
        paths.append(path)
    return paths


def write_scene(path: Path, scene: Scene) -> None:
    """Write one scene as a pcap."""
    _write_capture(path, [scene])


def _write_capture(path: Path, seen: Iterable[Scene]) -> None:
    sent = _joined([_sent(scene) for scene in seen])
    order = np.argsort(sent.time, kind="stable")
    with durable.atomic(path) as temporary, temporary.open("wb") as file:
        file.write(_HEAD)
        for begin in range(0, len(order), _AT_ONCE):
            part = order[begin : begin + _AT_ONCE]
            file.write(_frames(_Sent(*(values[part] for values in sent))))


def _write_rules(path: Path, attacks: set[str]) -> None:
    with durable.atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["src_ip", "dst_ip", "label"])
        for place, name in enumerate(ATTACKS_PER_50_000, 1):
            if name in attacks:
                (attacker,) = texts(np.array([number(ATTACKER) + place]))
                table.writerow([attacker, "", name])
                table.writerow(["", attacker, name])
        table.writerow(["", "", "benign"])


def _sent(scene: Scene) -> _Sent:
    packets, link, placed = scene.packets, scene.link, scene.placed
    which, side = packets.conversation, packets.side
    hosts, ports = np.stack([placed.client, placed.server]), link.port
    n = len(packets)
    own, other = _progress(packets) if link.tcp else (np.zeros(n, np.int64), np.zeros(n, np.int64))
    return _Sent(
        time=placed.begin[which] + packets.time,
        source=hosts[side, which],
        target=hosts[1 - side, which],
        source_port=ports[side, which],
        target_port=ports[1 - side, which],
        protocol=np.full(n, _TCP if link.tcp else _UDP),
        payload=packets.payload,
        header=packets.header if link.tcp else np.full(n, 8),
        flags=packets.flags,
        window=packets.window,
        sequence=own,
        acknowledged=other,
    )


def _joined(parts: list[_Sent]) -> _Sent:
    return _Sent(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _progress(packets: Packets) -> tuple[Ints, Ints]:
    """(p,) sequence and acknowledgement numbers: what both sides had sent before; SYN and FIN count as a byte each."""
    sent = packets.payload + ((packets.flags & SYN) > 0) + ((packets.flags & FIN) > 0)
    starts = np.flatnonzero(np.diff(packets.conversation, prepend=-1))
    counts = np.diff(starts, append=len(packets))
    so_far = []
    for side in (CLIENT, SERVER):
        mine = np.where(packets.side == side, sent, 0)
        before = np.cumsum(mine) - mine
        so_far.append(before - np.repeat(before[starts], counts))
    first = packets.side == CLIENT
    return np.where(first, *so_far), np.where(first, *reversed(so_far))


def _frames(sent: _Sent) -> bytes:
    """Records of a pcap: time and lengths, Ethernet, IPv4 and TCP or UDP headers."""
    n, tcp = len(sent.time), sent.protocol == _TCP
    longest = _BEFORE + _ETHERNET + _IP + int(sent.header.max(initial=0))
    rows = np.zeros((n, longest), np.uint8)
    kept = _ETHERNET + _IP + sent.header
    total = _IP + sent.header + sent.payload
    seconds, part = np.divmod(sent.time, 1_000_000)
    for place, values in enumerate((seconds, part, kept, _ETHERNET + total)):
        _put(rows, 4 * place, values, "<u4")
    _put_ethernet(rows, sent)
    _put_ip(rows[:, _BEFORE + _ETHERNET :], sent, total)
    transport = rows[:, _BEFORE + _ETHERNET + _IP :]
    _put(transport, 0, sent.source_port, ">u2")
    _put(transport, 2, sent.target_port, ">u2")
    _put(transport, 4, sent.header + sent.payload, ">u2", ~tcp)
    _put(transport, 4, sent.sequence, ">u4", tcp)
    _put(transport, 8, sent.acknowledged, ">u4", tcp)
    _put(transport, 12, sent.header // 4 << 12 | sent.flags & 0xFF, ">u2", tcp)
    _put(transport, 14, sent.window, ">u2", tcp)
    transport[np.arange(transport.shape[1]) >= np.where(tcp, 20, 99)[:, None]] = 1  # options that mean nothing
    return rows[np.arange(longest) < (_BEFORE + kept)[:, None]].tobytes()


def _put_ethernet(rows: NDArray[np.uint8], sent: _Sent) -> None:
    """Hardware addresses that end like the IP addresses."""
    for place, address in ((0, sent.target), (6, sent.source)):
        rows[:, _BEFORE + place] = 2
        _put(rows, _BEFORE + place + 2, address, ">u4")
    _put(rows, _BEFORE + 12, np.full(len(rows), 0x0800), ">u2")


def _put_ip(rows: NDArray[np.uint8], sent: _Sent, total: Ints) -> None:
    rows[:, 0], rows[:, 8], rows[:, 9] = 0x45, 64, sent.protocol
    _put(rows, 2, total, ">u2")
    _put(rows, 12, sent.source, ">u4")
    _put(rows, 16, sent.target, ">u4")
    halves = rows[:, 0:_IP:2].astype(np.int64) << 8 | rows[:, 1:_IP:2]
    checksum = halves.sum(axis=1)
    for _ in range(2):
        checksum = (checksum & 0xFFFF) + (checksum >> 16)
    _put(rows, 10, ~checksum & 0xFFFF, ">u2")


def _put(rows: NDArray[np.uint8], place: int, values: Ints, kind: str, where: NDArray[np.bool_] | None = None) -> None:
    """Write (n,) ``values`` as numbers of type ``kind`` into the bytes from ``place`` on, in all rows or some."""
    chosen = values if where is None else values[where]
    size = np.dtype(kind).itemsize
    rows[slice(None) if where is None else where, place : place + size] = chosen.astype(kind)[:, None].view(np.uint8)
