"""Disks that are full or cannot be written, and power cuts: the project lies in a file system mounted for it."""

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.injected import calls, children
from benchmarks.injected.bench import Bench, Trial, spread
from benchmarks.injected.children import DONE
from benchmarks.injected.writes import counted

PAGE: Final = os.sysconf("SC_PAGE_SIZE")
IMAGE: Final = 96 << 20  # bytes of a disk
HARSH: Final = "loop,commit=300,noauto_da_alloc,data=writeback"  # nothing reaches this disk that nobody flushes
LOST: Final = "lost+found"  # a folder of the file system's own
MOST_PAGES: Final = 1 << 16


def missing() -> str:
    """Why nothing can be mounted here; "" where it can."""
    if os.geteuid():
        return "only root can mount"
    absent = [tool for tool in ("mount", "umount", "mkfs.ext4") if not shutil.which(tool)]
    return f"{', '.join(absent)} is not installed" if absent else ""


def full(bench: Bench, most: int, seed: int) -> Iterator[Trial]:
    """A disk that is full after some pages; the numbers of pages are spread evenly up to what suffices."""
    with mounted(bench.work, "tmpfs", "tmpfs"):
        enough = 1
        while enough < MOST_PAGES and _filled(bench, enough).end != DONE:
            enough *= 2
        for pages in sorted({round(enough * place / most) for place in range(most)}):
            ended = _filled(bench, pages)
            _command("mount", "-o", f"remount,size={MOST_PAGES * PAGE}", str(bench.work))
            yield Trial("full disk", f"{pages * PAGE:,} bytes are free", bench.judged(ended))


def _filled(bench: Bench, pages: int) -> children.Ended:
    """How the operation ends where so many pages are free."""
    _command("mount", "-o", f"remount,size={MOST_PAGES * PAGE}", str(bench.work))
    bench.fresh()
    found = os.statvfs(bench.work)
    _command("mount", "-o", f"remount,size={(found.f_blocks - found.f_bfree + pages) * PAGE}", str(bench.work))
    return children.run(bench.operation.act, bench.work)


def read_only(bench: Bench, most: int, seed: int) -> Iterator[Trial]:
    """The project cannot be written, or one folder of it that the operation writes to."""
    folders = {str(Path(call.path).parent) for call in counted(bench)}
    whole = {str(Path(*Path(each).parts[:depth])) for each in folders for depth in (0, 1, 2)}
    with mounted(bench.work, "tmpfs", "tmpfs"):
        bench.fresh()
        there = [each for each in sorted(whole) if (bench.work / each).is_dir()]
        for folder in there[:most]:
            bench.fresh()
            place = bench.work / folder
            _command("mount", "--bind", str(place), str(place))
            try:
                _command("mount", "-o", "remount,ro,bind", str(place))
                ended = children.run(bench.operation.act, bench.work)
            finally:
                _command("umount", "-l", str(place))
            yield Trial("read-only folder", f"{folder} cannot be written", bench.judged(ended))


def cut(bench: Bench, most: int, seed: int) -> Iterator[Trial]:
    """A power cut at a call, or right behind the end: the image of the disk is copied before more is flushed."""
    drawn = random.Random(f"{bench.operation.name}-cut-{seed}")
    points = [*spread(counted(bench), most - 1, drawn), None]
    base, disk, left = (bench.root / f"{name}.img" for name in ("base", "disk", "left"))
    _make_image(bench, base)
    for call in points:
        _command("cp", "--sparse=always", str(base), str(disk))
        with mounted(bench.work, str(disk), "ext4", HARSH):
            ended = _until(bench, call)
            _command("cp", "--sparse=always", str(disk), str(left))
        with mounted(bench.work, str(left), "ext4", "loop"):
            shutil.rmtree(bench.work / LOST, ignore_errors=True)
            where = f"at {call.name} {call.number} ({call.path})" if call else "right behind its end"
            yield Trial("power cut", where, bench.judged(ended))


def _until(bench: Bench, call: calls.Call | None) -> children.Ended:
    if call is None:
        return children.run(bench.operation.act, bench.work)
    inject = f"{call.name}:signal=KILL:when={call.number}"
    return children.strace(bench.operation.act, bench.work, call.name, inject, bench.log).ended


def _make_image(bench: Bench, image: Path) -> None:
    bench.fresh()
    with image.open("wb") as file:
        file.truncate(IMAGE)
    _command("mkfs.ext4", "-q", "-m", "0", str(image))
    with mounted(bench.work, str(image), "ext4", "loop"):
        bench.fresh()


@contextmanager
def mounted(place: Path, source: str, kind: str, options: str = "rw") -> Iterator[None]:
    """Something that is mounted at a folder while the block runs."""
    place.mkdir(parents=True, exist_ok=True)
    _command("mount", "-t", kind, "-o", options, source, str(place))
    try:
        yield
    finally:
        _command("umount", str(place))


def _command(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr.strip()}")
