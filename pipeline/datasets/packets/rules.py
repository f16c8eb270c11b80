"""Labels of a capture: one for all its flows, or rules in a CSV beside it."""

import csv
import io
import ipaddress
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError, SchemaError, SourceError, near_miss
from pipeline.datasets import encodings, sources
from pipeline.datasets.labels import UNLABELLED, Label, canonical
from pipeline.datasets.packets.bricks import Ints
from pipeline.datasets.packets.endpoints import Endpoints
from pipeline.datasets.reading import UTC, Reading
from pipeline.datasets.sources import Source
from pipeline.datasets.suffixes import ARCHIVE, packing

LABELS = ".labels.csv"
COLUMNS = ("src_ip", "dst_ip", "src_port", "dst_port", "protocol", "start", "end", "label")
_NAMES = {"tcp": "6", "udp": "17", "icmp": "1"}


@dataclass(frozen=True)
class Rule:
    """Which flows have a label. What is None may be anything.

    Attributes:
        label: theirs.
        source, target: addresses.
        source_port, target_port, protocol: numbers.
        start, end: microseconds since 1970; a flow that begins in between, both ends included, is meant.
    """

    label: Label
    source: str | None = None
    target: str | None = None
    source_port: int | None = None
    target_port: int | None = None
    protocol: int | None = None
    start: int | None = None
    end: int | None = None

    def fits(self, ends: Endpoints) -> NDArray[np.bool_]:
        """(r,) whether each flow is meant."""
        fits = np.ones(len(ends.begin), bool)
        for text, codes in ((self.source, ends.source), (self.target, ends.target)):
            if text is not None:
                fits &= codes == (ends.addresses.index(text) if text in ends.addresses else -1)
        for number, values in (
            (self.source_port, ends.source_port),
            (self.target_port, ends.target_port),
            (self.protocol, ends.protocol),
        ):
            fits &= True if number is None else values == number
        fits &= True if self.start is None else ends.begin >= self.start
        fits &= True if self.end is None else ends.begin <= self.end
        return fits


@dataclass(frozen=True)
class Rules:
    """The labels of one capture: the first rule that fits a flow, else ``other``; and the zone of its times."""

    other: Label = UNLABELLED
    rules: tuple[Rule, ...] = ()
    zone: ZoneInfo = UTC

    def labels(self, ends: Endpoints) -> tuple[list[Label], Ints]:
        """The labels that may occur, and which of them each of r flows has, (r,)."""
        labels = list(dict.fromkeys([self.other, *(rule.label for rule in self.rules)]))
        codes = np.zeros(len(ends.begin), np.int64)
        for rule in reversed(self.rules):
            codes[rule.fits(ends)] = labels.index(rule.label)
        return labels, codes


def meaning(text: str, reading: Reading) -> Label:
    """The label that ``text`` spells; no text means that there is none."""
    return canonical(text, "keep", unlabelled=reading.nothing)


def file_of_rules(capture: Source) -> Source | None:
    """The file with the rules of a capture; None where there is none."""
    files, holder = _files_of_rules(capture.file), capture.file.name
    inside = capture.place[capture.place.find(holder) :]  # without the folders above
    return next((files[name] for place in (inside, holder) for name in _names(place) if name in files), None)


def rules_for(capture: Source, other: Label, reading: Reading) -> Rules:
    """The rules in ``NAME.labels.csv``, if there is such a file.

    It lies beside the capture NAME, in the archive that holds the capture, or beside that archive. The suffix of
    compression may be absent from its name.

    Args:
        capture: whose flows are labelled.
        other: label of the flows that no rule names.
        reading: the zone of times without an offset, and words that mean "not labelled".

    Raises:
        SchemaError: the file has no column ``label``, or an unknown one.
        DataError: a cell or the text cannot be read.
    """
    file = file_of_rules(capture)
    if file is None:
        return Rules(other, zone=reading.zone)
    try:
        return Rules(other, tuple(_rules(file, reading)), reading.zone)
    except csv.Error as error:
        raise DataError(f"{file.place}: cannot be read as CSV ({error}); correct it") from error


def _files_of_rules(path: Path) -> dict[str, Source]:
    """The files of rules by their places: those beside a file, and those in it if it is an archive."""
    beside = [file for name in _names(path.name) if (file := path.with_name(name)).is_file()]
    found = {file.name: Source(file.name, file.name, partial(_opened, file)) for file in beside}
    if path.suffix.lower() == ARCHIVE:
        with suppress(SourceError):  # there is none
            found |= {source.place: source for source in sources.sources(path, (LABELS,))}
    return found


def _opened(file: Path) -> BinaryIO:
    return file.open("rb")


def _names(capture: str) -> list[str]:
    """Where the rules of a capture may lie."""
    return [capture + LABELS, capture.removesuffix(capture[len(capture) - len(packing(capture)) :]) + LABELS]


def _rules(file: Source, reading: Reading) -> Iterator[Rule]:
    text = encodings.text(b"".join(sources.blocks(file))).removeprefix("\ufeff")
    reader = csv.DictReader(io.StringIO(text, newline=""))
    names = [name.strip() for name in reader.fieldnames or ()]
    for name in names:
        if name not in COLUMNS:
            known = f"{near_miss(name, COLUMNS)}; known are {', '.join(COLUMNS)}"
            raise SchemaError(f"{file.place}: column {name!r} is unknown{known}")
    if "label" not in names:
        raise SchemaError(f"{file.place}: column 'label' is missing; the columns are {', '.join(names) or 'none'}")
    reader.fieldnames = names
    return (_rule(file.place, number, row, reading) for number, row in enumerate(reader, 1))


def _rule(file: str, number: int, row: Mapping[str, str | None], reading: Reading) -> Rule:
    cells = {name: (row.get(name) or "").strip() for name in COLUMNS}
    read: dict[str, Callable[[str], object]] = {
        "src_ip": _address, "dst_ip": _address, "src_port": _port, "dst_port": _port, "protocol": _protocol,
        "start": partial(_moment, zone=reading.zone), "end": partial(_moment, zone=reading.zone, end=True),
        "label": partial(meaning, reading=reading),
    }  # fmt: skip
    values: list[object] = []
    for name, parse in read.items():
        try:
            values.append(parse(cells[name]) if cells[name] or name == "label" else None)
        except ValueError as error:
            raise DataError(f"{file}: row {number}, column {name!r}: {error}; correct it") from error
    *rest, label = values
    return Rule(label, *rest)  # type: ignore[arg-type]


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text))


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise ValueError(f"{text!r} is no port; 0 to 65535 are allowed")
    return int(text)


def _protocol(text: str) -> int:
    number = _NAMES.get(text.lower(), text)
    if not number.isdecimal() or int(number) > 255:
        raise ValueError(f"{text!r} is no protocol; {', '.join(_NAMES)} or 0 to 255 are allowed")
    return int(number)


def _moment(text: str, zone: ZoneInfo, end: bool = False) -> int:
    """Microseconds since 1970; a time without an offset is in ``zone``; as an end it lasts as long as its second."""
    time = datetime.fromisoformat(text)
    time = time if time.tzinfo else time.replace(tzinfo=zone)
    whole = end and "." not in text
    since = time - datetime(1970, 1, 1, tzinfo=UTC)
    return since.days * 86_400_000_000 + since.seconds * 1_000_000 + since.microseconds + (999_999 if whole else 0)
