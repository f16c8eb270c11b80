"""Reads a header: which column of the file is which canonical column."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pipeline.base.errors import SchemaError, near_miss
from pipeline.datasets.dialect import PLAIN, Dialect, Head, head_of
from pipeline.datasets.families.known import OWN, Family, families_of, is_index, key, meanings, unused
from pipeline.datasets.meaning import UNKNOWN, Meaning
from pipeline.datasets.schema import FEATURES, Column

# The corrected extractor no longer writes this one twice.
COPIED = {"fwd_header_length_repeated": "fwd_header_length"}
MOST_FAULTS = 5  # that one message names

Columns = Literal["family", "all", "present"]


@dataclass(frozen=True)
class Layout:
    """The columns of one file, in their order.

    Attributes:
        names: canonical name of each column of the file, ``""`` where it is unused.
        header: the text of each column, for messages.
        copied: canonical column that the file lacks -> the column with the same content.
        columns: the features of its records.
        dialect: how its rows are written.
        line: its header line; a row that repeats it holds no record.
        family: short name of the family that its names are from; several are joined by `` + ``; "" for none.
        remedy: what to do about an unknown label.
        labelled: whether each record must have a label.
        any_label: whether an unknown label counts as none, as in records to be scored.
        meaning: what the cells mean beyond their names.
    """

    names: tuple[str, ...]
    header: tuple[str, ...]
    copied: dict[str, str]
    columns: tuple[Column, ...] = FEATURES
    dialect: Dialect = PLAIN
    line: bytes = b""
    family: str = ""
    remedy: str = "set ingest.cicids2017.unknown_labels to keep"
    labelled: bool = True
    any_label: bool = False
    meaning: Meaning = UNKNOWN

    @property
    def used(self) -> list[str]:
        """Unique reading names of the columns that are used."""
        return [name for name in self.names if name]

    @property
    def reading_names(self) -> list[str]:
        """A unique name for each column of the file, used or not."""
        return [name or f"unused_{position}" for position, name in enumerate(self.names)]

    @property
    def index(self) -> tuple[str, ...]:
        """The columns of row numbers that are set aside, as the file calls them."""
        return tuple(text for text, name in zip(self.header, self.names, strict=True) if not name and is_index(text))

    def title(self, name: str) -> str:
        """The name of the canonical column ``name`` in the file."""
        return self.header[self.names.index(name)] if name in self.names else name


def layout(
    source: str,
    line: bytes | Head,
    ignore: tuple[str, ...] = (),
    needed: tuple[Column, ...] | None = None,
    columns: Columns = "family",
    labelled: bool = True,
) -> Layout:
    """Read the header of ``source``.

    Args:
        source: name of the file.
        line: its first lines, or its header as it was found in them.
        ignore: headers that are allowed beside the known ones.
        needed: for records to be scored, the columns that must be there; any others, and a label, are optional.
        columns: which features may be missing: ``family``: those that the files of its family need not have; ``all``:
            none; ``present``: any.
        labelled: whether each record must have a label.

    Raises:
        SchemaError: it lists missing and unknown columns, each with its near miss.
    """
    head = line if isinstance(line, Head) else head_of(line)
    return of_names(source, head.names, ignore, needed, columns, head, labelled)


def of_names(
    source: str,
    given: Iterable[str],
    ignore: tuple[str, ...] = (),
    needed: tuple[Column, ...] | None = None,
    columns: Columns = "family",
    head: Head | None = None,
    labelled: bool = True,
) -> Layout:
    """The layout of columns whose names are known; see ``layout``."""
    header = _numbered([text.strip() for text in given])
    families = families_of(header)
    names = _meant(header)
    left_out = {*map(key, ignore)} | unused()
    unknown = [
        text
        for text, name in zip(header, names, strict=True)
        if not name and not is_index(text) and key(text) not in left_out
    ]
    twice = [name for name, count in Counter(filter(None, names)).items() if count > 1]
    copied = {name: twin for name, twin in COPIED.items() if name not in names and twin in names}
    found = tuple(column for column in FEATURES if column.name in {*names, *copied})
    missing = [column for column in _wanted(needed, columns, families) if column not in found]
    if needed is None or missing or twice:
        titles = [column.name if families and families[0].name == OWN else column.headers[0] for column in missing]
        is_there = "label" in names or needed is not None or not labelled
        _refuse(source, header, unknown, titles, is_there, twice, needed is not None)
    family = " + ".join(family.name for family in families)
    to_score = needed is not None
    must = labelled and not to_score
    read = Layout(names, tuple(header), copied, found, family=family, labelled=must, any_label=to_score)
    return read if head is None else replace(read, dialect=head.dialect, line=head.line)


def _meant(header: Sequence[str]) -> tuple[str, ...]:
    """The canonical name of each column, "" for none. Stored records have ``dst_port`` beside the feature."""
    own = {"dst_port": "dst_port"} if "destination_port" in header else {}
    return tuple(own.get(text) or meanings().get(key(text), "") for text in header)


def _wanted(
    needed: tuple[Column, ...] | None, columns: Columns, families: Sequence[Family]
) -> tuple[Column, ...] | list[Column]:
    """The features that a file must have."""
    if needed is not None:
        names = {column.name for column in needed}
        return [column for column in FEATURES if column.name in names]
    if columns == "present":
        return ()
    may_lack = {name for family in families for name in family.may_lack} if columns == "family" else set()
    return [column for column in FEATURES if column.name not in may_lack]


def _numbered(header: list[str]) -> list[str]:
    """Rename the second column of one name to ``name.1``, as the usual readers of the published files do."""
    seen: Counter[str] = Counter()
    numbered = []
    for text in header:
        numbered.append(f"{text}.{seen[text]}" if text and seen[text] else text)
        seen[text] += 1
    return numbered


def _refuse(
    source: str,
    header: list[str],
    unknown: list[str],
    missing: list[str],
    labelled: bool,
    twice: list[str],
    scoring: bool,
) -> None:
    known = [header for column in FEATURES for header in column.headers]
    faults = [f"column {title!r} is missing{near_miss(title, unknown)}" for title in missing[:MOST_FAULTS]]
    if not labelled:
        without = "; if the records have no labels, set ingest.labels to none"
        faults.append(f"column 'Label' is missing{near_miss('Label', unknown) or without}")
    faults += [
        f"column {text!r} (number {header.index(text) + 1}) is unknown{near_miss(text, known)}"
        for text in unknown[:MOST_FAULTS]
    ]
    faults += [f"two columns mean {name!r}" for name in twice]
    count = len(missing) + (not labelled) + len(unknown) + len(twice)
    if faults:
        more = f" and {count - MOST_FAULTS} more" if count > MOST_FAULTS else ""
        raise SchemaError(
            f"{source}: {'; '.join(faults[:MOST_FAULTS])}{more}; {_remedy(missing, unknown, labelled, scoring)}"
        )


def _remedy(missing: list[str], unknown: list[str], labelled: bool, scoring: bool) -> str:
    if missing and labelled and not unknown and not scoring:
        return "if the files lack them for good, set ingest.cicids2017.columns to present"
    return "rename them in the header (row 0), or name extra ones in ingest.cicids2017.ignore_columns"
