"""What the models promised and what came of it, and the card of the model that was trained last."""

import html
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from flows.triage.filters import MARKS, codes_of
from flows.triage.index import Snapshot, Stamp, stamp_of
from flows.triage.marks import Said
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.base.errors import ArtifactError
from pipeline.calibration.decisions import Promise
from pipeline.evaluation import alarm_share
from pipeline.serving import own_model
from pipeline.serving.tally import promises_of

CARD: Final = paths.REPORTS / "evaluate" / "model_card.md"
BAR: Final = 160  # length of the longest bar
Summary = Mapping[str, Any]


class Rate(NamedTuple):
    """The alarms of a threshold beside its promise.

    Attributes:
        threshold: its name.
        promised: share of benign records; None where it promises nothing.
        realised: share of all records.
        alarms: how many.
        low, high: between which their number lies, if all records are benign and the promise is kept.
        tone: ``good`` where it lies there, else ``warn``.
        words: what that means.
        promised_bar, realised_bar: lengths of bars.
    """

    threshold: str
    promised: float | None
    realised: float
    alarms: int
    low: int
    high: int
    tone: str
    words: str
    promised_bar: float
    realised_bar: float


class OfVersion(NamedTuple):
    """What a version did: files and records that it scored, its alarms, and what people said of its alerts."""

    number: int
    files: int
    records: int
    last: str
    rates: list[Rate]
    marks: Mapping[str, int]


class Summaries:
    """The summaries of all files that were scored, each read once."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[Stamp, Summary]] = {}

    def now(self) -> list[Summary]:
        """One for each content and version. A summary that is not whole does not count."""
        found: dict[Path, tuple[Stamp, Summary]] = {}
        for path in sorted((own_model.scored() / "summaries").glob("*.json")):
            if (stamp := stamp_of(path)) is None:
                continue
            known = self._read.get(path)
            if known and known[0] == stamp:
                found[path] = known
                continue
            with suppress(ArtifactError):  # it is being written
                found[path] = (stamp, read_json(path))
        self._read = found
        whole = (each for _, each in found.values() if {"version", "records", "alarms", "source_sha256"} <= each.keys())
        return [*{(each["source_sha256"], each["version"]): each for each in whole}.values()]


def versions(summaries: Sequence[Summary], shown: Snapshot, said: Said) -> list[OfVersion]:
    """What each version did, the newest first."""
    codes = codes_of(shown, said)
    found = []
    for number in sorted({each["version"] for each in summaries}, reverse=True):
        own = [each for each in summaries if each["version"] == number]
        counts = np.bincount(codes[shown.version == number], minlength=len(MARKS)).tolist()
        last = max(str(each.get("time", "")) for each in own)[:16].replace("T", " ")
        records = sum(each["records"] for each in own)
        marks = dict(zip(MARKS, counts, strict=True))
        found.append(OfVersion(number, len(own), records, last, _rates(own, records), marks))
    return found


def _rates(summaries: Sequence[Summary], records: int) -> list[Rate]:
    names = [name for name in summaries[0]["alarms"] if all(name in each["alarms"] for each in summaries)]
    alarms = Counter({name: sum(each["alarms"][name]["alarms"] for each in summaries) for name in names})
    promises = {name: promises_of(summaries, name) for name in names}
    shares = [alarms[name] / max(records, 1) for name in names]
    told = {name: _beside(name, alarms[name], tuple(parts)) for name, parts in promises.items() if parts}
    longest = max([*shares, *(each.promised for each in told.values())], default=0.0) or 1.0
    return [
        _rate(name, alarms[name], share, told.get(name), longest) for name, share in zip(names, shares, strict=True)
    ]


@lru_cache(maxsize=1024)
def _beside(name: str, alarms: int, parts: tuple[Promise, ...]) -> alarm_share.Alarms:
    return alarm_share.beside(name, alarms, parts)  # which takes a while for many records


def _rate(name: str, alarms: int, share: float, told: alarm_share.Alarms | None, longest: float) -> Rate:
    length = round(BAR * share / longest, 1)
    if told is None:
        return Rate(name, None, share, alarms, 0, 0, "", "", 0.0, length)
    words = "as promised" if told.kept else "fewer than promised" if alarms < told.low else "more than promised"
    promised = round(BAR * told.promised / longest, 1)
    tone = "good" if told.kept else "warn"
    return Rate(name, told.promised, share, alarms, told.low, told.high, tone, words, promised, length)


# The card.


class Block(NamedTuple):
    """A heading, a paragraph, a list or a table of the card; ``rows`` are its items, or its cells with the header."""

    kind: str
    text: str = ""
    rows: tuple[tuple[str, ...], ...] = ()


def card() -> list[Block]:
    """The model card, as far as the page lays out Markdown; empty where there is none."""
    return blocks(CARD.read_text(encoding="utf-8")) if CARD.is_file() else []


def blocks(text: str) -> list[Block]:
    """Markdown as blocks of plain text: emphasis, code and links become their words."""
    parts = (part.strip() for part in re.split(r"\n\s*\n", text))
    return [block for part in parts if part for block in _blocks(part.splitlines())]


def _blocks(lines: Sequence[str]) -> Iterable[Block]:
    if lines[0].startswith("#"):
        yield Block("heading", _plain(lines[0].lstrip("# ")))
        if len(lines) > 1:
            yield from _blocks(lines[1:])
    elif lines[0].startswith("|"):
        rows = [tuple(_plain(cell) for cell in line.strip().strip("|").split("|")) for line in lines]
        yield Block("table", rows=tuple(row for row in rows if not all(re.fullmatch(r":?-+:?", cell) for cell in row)))
    elif re.match(r"[-*] ", lines[0]):
        items = re.split(r"^[-*] ", "\n".join(lines), flags=re.MULTILINE)[1:]
        yield Block("list", rows=tuple((_plain(item),) for item in items))
    else:
        yield Block("paragraph", _plain(" ".join(lines)))


def _plain(text: str) -> str:
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(text.split()))
    return html.unescape(re.sub(r"\*\*|`", "", text))
