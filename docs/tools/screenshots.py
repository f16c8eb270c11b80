"""The pictures of the triage page in README and docs: ``make screenshots`` takes them again.

::

    python -m docs.tools.screenshots [--all FOLDER]

It serves a project of made-up alerts in a temporary folder, opens it in Chromium and writes two pictures into
``docs/assets``. With ``--all`` it writes every page into a folder as well: light, dark, and as wide as a phone.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

from PIL import Image

from benchmarks import made_alerts
from flows.triage.index import Index
from pipeline.artifacts.labels import Label, append_all
from tests.end_to_end.browser import Browser, browser

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "docs" / "assets"
SECRET = "a secret for pictures"
WIDE, NARROW = (1280, 800), (390, 844)


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--all", metavar="FOLDER", help="write every page into this folder as well")
    given = parser.parse_args()
    folder = Path(given.all).absolute() if given.all else None
    with tempfile.TemporaryDirectory() as place, chdir(place):
        made_alerts.project(Path(place))
        made_alerts.write(4_000)
        _mark()
        with _served() as address, browser(*WIDE) as page:
            _log_in(page, address)
            _take(page, address, folder)


def _mark() -> None:
    """Somebody has worked through a part of it."""
    index = Index()
    index.refresh()
    shown, now = index.now, "2026-03-02T16:20:00+00:00"
    columns = dict.fromkeys(made_alerts.FEATURES, 1.0)
    place_of = {each.kind: place for place, each in reversed([*enumerate(shown.incidents)])}
    for kind, attack, note in (("many tries", "ssh_patator", "as last week"), ("even in time", "bot", "each minute")):
        rows = shown.members(place_of[kind])[:120]
        said = [Label(number, attack, "ada", now, note, columns=columns) for number in shown.record_id[rows].tolist()]
        append_all(said)
    rows = shown.members(4)
    append_all(
        [Label(number, "benign", "bob", now, "backup", columns=columns) for number in shown.record_id[rows].tolist()]
    )


@contextmanager
def _served() -> Iterator[str]:
    env = os.environ | {"PYTHONPATH": str(ROOT), "FLOWSCULPT_TRIAGE_SECRET": SECRET}
    command = [sys.executable, "-m", "flows.triage", "--port", "0"]
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    try:
        said = process.stdout.readline() if process.stdout else ""
        found = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert found, said
        yield found[0]
    finally:
        process.terminate()
        process.wait(30)


def _log_in(page: Browser, address: str) -> None:
    page.open(f"{address}/login", "Your name")
    page.script("document.querySelector('[name=name]').value = 'ada'")
    page.script(f"document.querySelector('[name=secret]').value = '{SECRET}'")
    page.script("document.querySelector('form.login button').click()")
    page.wait("document.querySelector('tr.at')")


def _take(page: Browser, address: str, folder: Path | None) -> None:
    incident = page.script("document.querySelector('a.open').pathname")
    _picture(page, address + "/", ASSETS / "triage-queue.png", (WIDE[0], 540))
    _picture(page, address + incident, ASSETS / "triage-incident.png", WIDE)
    if folder is None:
        return
    alert = page.script("document.querySelector('.box a[href^=\"/alert\"]').pathname")
    pages = {"queue": "/", "incident": incident, "alert": alert, "marks": "/marks", "model": "/model"}
    for name, path in pages.items():
        for kind, size, scheme in (("", WIDE, "light"), ("-dark", WIDE, "dark"), ("-narrow", NARROW, "light")):
            _picture(page, address + path, folder / f"{name}{kind}.png", size, scheme)


def _picture(page: Browser, address: str, path: Path, size: tuple[int, int], scheme: str = "light") -> None:
    page.size(*size, scheme)
    page.open(address, "flowsculpt")
    page.picture(path)
    few = Image.open(path).convert("RGB").quantize(256, dither=Image.Dither.NONE)  # so that it is small
    few.save(path, optimize=True)
    print(f"{path}   {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
