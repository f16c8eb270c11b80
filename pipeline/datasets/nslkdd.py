"""NSL-KDD and KDD Cup 1999: connections of the 1998 DARPA capture, with three categorical features among 41.

The files have no header. Two releases share the 41 features and the 39 names of attacks:

KDD Cup 1999
    Stolfo, Fan, Lee, Prodromidis, Chan, KDD Cup 1999 Data (UCI). ``kddcup.data`` has 4,898,431 training records,
    ``kddcup.data_10_percent`` is a tenth of them, and ``corrected`` is the labelled test set, with 17 attacks that the
    training records lack. A row is the features and the name of the attack with a dot behind it, ``smurf.``. Most
    records are copies of others.
NSL-KDD
    Tavallaee, Bagheri, Lu, Ghorbani, "A Detailed Analysis of the KDD CUP 99 Data Set" (CISDA 2009). ``KDDTrain+`` and
    ``KDDTest+`` are drawn from the first release, without the copies. A row has one field more: how many of 21 learners
    found the record (``difficulty``, which no stage uses).

The published training and test files are read as one set of records: the pipeline draws splits of its own.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.base.errors import SchemaError, SourceError, near_miss
from pipeline.datasets import sources
from pipeline.datasets.base import Chunk, Dataset, Part, read_parts
from pipeline.datasets.blocks import Block, numbered
from pipeline.datasets.header import Layout
from pipeline.datasets.labels import UNLABELLED, Label, Unknown, says_nothing, snake
from pipeline.datasets.places import Where, sources_under, where_of
from pipeline.datasets.reading import Reading
from pipeline.datasets.rows import parse
from pipeline.datasets.schema import Column
from pipeline.datasets.suffixes import PACKINGS, READ_BY
from pipeline.datasets.vocabulary import FAMILIES

PREFIX = "kdd"
# Published beside the files that hold them.
SUBSETS = {
    "kddtrain+_20percent": "kddtrain+",
    "kddtest-21": "kddtest+",
    "kddcup.data_10_percent": "kddcup.data",
}
# KDD Cup 1999 as it is published, packed and unpacked: file -> what it holds.
KDD99 = {
    f"{name}{packing}": held
    for held, names in {
        "kddcup.data": ("kddcup.data", "kddcup.data.corrected"),
        "kddcup.data_10_percent": ("kddcup.data_10_percent", "kddcup.data_10_percent_corrected"),
        "corrected": ("corrected",),
    }.items()
    for name in names
    for packing in ("", *PACKINGS)
}


def _count(name: str, unit: str = "1", high: float | None = None) -> Column:
    return Column(name, unit, high=high)


def _rate(name: str) -> Column:
    return Column(name, "1", high=1.0, integer=False)


def _word(name: str) -> Column:
    return Column(name, "word", low=None, integer=False, categorical=True)


COLUMNS: tuple[Column, ...] = (
    _count("duration", "s"),
    *map(_word, ("protocol_type", "service", "flag")),
    *(_count(name, "B") for name in ("src_bytes", "dst_bytes")),
    _count("land", high=1),
    *map(_count, ("wrong_fragment", "urgent", "hot", "num_failed_logins")),
    _count("logged_in", high=1),
    *map(_count, ("num_compromised", "root_shell", "su_attempted", "num_root", "num_file_creations", "num_shells")),
    *map(_count, ("num_access_files", "num_outbound_cmds")),
    *(_count(name, high=1) for name in ("is_host_login", "is_guest_login")),
    *(_count(name, "connections") for name in ("count", "srv_count")),
    *map(_rate, ("serror_rate", "srv_serror_rate", "rerror_rate", "srv_rerror_rate")),
    *map(_rate, ("same_srv_rate", "diff_srv_rate", "srv_diff_host_rate")),
    *(_count(name, "connections") for name in ("dst_host_count", "dst_host_srv_count")),
    *map(_rate, ("dst_host_same_srv_rate", "dst_host_diff_srv_rate")),
    *map(_rate, ("dst_host_same_src_port_rate", "dst_host_srv_diff_host_rate")),
    *map(_rate, ("dst_host_serror_rate", "dst_host_srv_serror_rate")),
    *map(_rate, ("dst_host_rerror_rate", "dst_host_srv_rerror_rate")),
)

_FEATURES = tuple(column.name for column in COLUMNS)
_FIELDS = ((*_FEATURES, "label", ""), (*_FEATURES, "label"))  # KDD CUP 99 itself has no difficulty


class NSLKDD(Dataset):
    """Reads the files of one of the two releases under ``path``: a file, a folder or a zip, plain or packed.

    Where a file and its published subset lie side by side, the subset is passed over.

    Args:
        path: where they are.
        unknown_labels: ``refuse`` stops at a label outside the vocabulary, ``keep`` makes it an attack of its own.
        reading: what the files leave open.
        needed: for records to be scored: any; a label may then be absent.
    """

    def __init__(
        self,
        path: Where,
        unknown_labels: Unknown = "refuse",
        reading: Reading | None = None,
        needed: tuple[Column, ...] | None = None,
    ) -> None:
        self.labelled, self.any_label = needed is None, needed is not None
        self.path = where_of(path)
        self.unknown_labels: Unknown = unknown_labels
        self.reading = reading or Reading()

    @property
    def columns(self) -> tuple[Column, ...]:
        """The 41 features."""
        return COLUMNS

    @property
    def families(self) -> Mapping[str, str]:
        """Each attack and its family by the published grouping; ``benign`` is what the files call ``normal``."""
        return FAMILIES

    @property
    def label_settings(self) -> Mapping[str, Any]:
        """What becomes of unknown labels."""
        return {"unknown_labels": self.unknown_labels}

    def read(self) -> Iterator[Chunk]:
        """All records, the files in the order of their names.

        Raises:
            SourceError: a file cannot be read, is empty, or repeats another one, or both releases are there.
            SchemaError: a file has not 41 features and a label.
            DataError: a label is unknown.
        """
        return read_parts(self.partitions())

    def partitions(self) -> Iterator[Part]:
        """What reads each block of each file."""
        return (partial(parse, block, layout, self._label) for block, layout in self._blocks())

    def archives(self) -> dict[Path, set[str]]:
        """Archive -> its members that are read, or whose records another member holds, too.

        Raises:
            SourceError: both releases are there, or none.
        """
        return sources.by_archive(sources_under(self.path, _named))

    def _blocks(self) -> Iterator[tuple[Block, Layout]]:
        contents = sources.SeenContents()
        for source in _whole(sources_under(self.path, _named)):
            layout = None
            for block in numbered(source.name, contents.watch(source, sources.blocks(source))):
                layout = layout or _layout(block, self.labelled, self.any_label)
                yield block, layout

    def _label(self, text: str) -> Label:
        if says_nothing(text, self.reading.nothing):
            return UNLABELLED
        name = snake(text)
        attack = "benign" if name == "normal" else name
        if attack in FAMILIES:
            return Label(attack, FAMILIES[attack], False)
        if self.unknown_labels == "keep" and attack:
            return Label(attack, attack, False)
        raise ValueError(f"unknown label {text!r}{near_miss(name, ['normal', *FAMILIES])}")


def _named(path: Path) -> list[sources.Source]:
    return sources.sources(path, READ_BY["nslkdd"], PREFIX, tuple(KDD99))


def _whole(found: list[sources.Source]) -> list[sources.Source]:
    """The sources of one release, without the published subsets of files that are there as a whole.

    Raises:
        SourceError: both releases are there.
    """
    held = {source.place: _held(source) for source in found}
    older, newer = ([place for place, what in held.items() if (what in KDD99.values()) is old] for old in (True, False))
    if older and newer:
        raise SourceError(
            f"{older[0]} is of KDD Cup 1999, {newer[0]} of NSL-KDD, whose records are drawn from it; set ingest.path "
            "to one of the two"
        )
    return [source for source in found if SUBSETS.get(held[source.place]) not in held.values()]


def _held(source: sources.Source) -> str:
    """Which published file a source is, however it is packed."""
    name = source.name.rsplit("/", 1)[-1].lower()
    return KDD99.get(name, name.partition(".")[0])


def _layout(block: Block, labelled: bool, any_label: bool) -> Layout:
    first = block.lines.partition(b"\n")[0]
    fields = first.count(b",") + 1
    for names in _FIELDS if labelled else (*_FIELDS, _FEATURES):
        if len(names) == fields:
            header = tuple(name or "difficulty" for name in names)
            remedy = "set ingest.nslkdd.unknown_labels to keep"
            return Layout(names, header, {}, COLUMNS, remedy=remedy, labelled=labelled, any_label=any_label)
    raise SchemaError(
        f"{block.source}: row 1 has {fields} fields, NSL-KDD has 43 (41 features, attack, difficulty), KDD Cup 1999 "
        "has 42, without the difficulty, and neither has a header; set ingest.path to KDDTrain+.txt, KDDTest+.txt, "
        "kddcup.data_10_percent.gz, corrected.gz or their folder"
    )
