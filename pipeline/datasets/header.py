"""Reads a header line: which column of the file is which canonical column."""

from collections import Counter
from dataclasses import dataclass

from pipeline.base.errors import SchemaError, near_miss
from pipeline.datasets.meaning import UNKNOWN, Meaning
from pipeline.datasets.schema import FEATURES, Column

# Columns that are read, but are no features. A header is matched with its surrounding spaces stripped.
META: dict[str, str] = {
    "Flow ID": "flow_id",
    "Source IP": "src_ip",
    "Src IP": "src_ip",
    "Source Port": "src_port",
    "Src Port": "src_port",
    "Destination IP": "dst_ip",
    "Dst IP": "dst_ip",
    "Protocol": "protocol",
    "Timestamp": "timestamp",
    "Label": "label",
    "Attempted Category": "attempted_category",
}

# Columns that published files carry and that no stage uses.
UNUSED: frozenset[str] = frozenset(
    {
        "id", "Fwd RST Flags", "Bwd RST Flags", "ICMP Code", "ICMP Type", "Total TCP Flow Time",
    }
)  # fmt: skip

# The corrected extractor no longer writes this one twice.
COPIED = {"fwd_header_length_repeated": "fwd_header_length"}

# Header -> canonical name.
CANONICAL: dict[str, str] = {header: column.name for column in FEATURES for header in column.headers} | META


@dataclass(frozen=True)
class Layout:
    """The columns of one file, in their order.

    Attributes:
        names: canonical name of each column of the file, ``""`` where it is unused.
        header: the text of each column, for messages.
        copied: canonical column that the file lacks -> the column with the same content.
        columns: the features of its records.
        nulls: texts that mean a missing value.
        quotes: whether a cell may be quoted and then hold a comma. If not, a stray quote cannot swallow what follows.
        remedy: what to do about an unknown label.
        labelled: whether each record must have a label.
        any_label: whether an unknown label counts as none, as in records to be scored.
        meaning: what the cells mean beyond their names.
    """

    names: tuple[str, ...]
    header: tuple[str, ...]
    copied: dict[str, str]
    columns: tuple[Column, ...] = FEATURES
    nulls: tuple[str, ...] = ("",)
    quotes: bool = False
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

    def title(self, name: str) -> str:
        """The name of the canonical column ``name`` in the file."""
        return self.header[self.names.index(name)] if name in self.names else name


def layout(
    source: str,
    line: bytes,
    ignore: tuple[str, ...] = (),
    needed: tuple[Column, ...] | None = None,
    labelled: bool = True,
) -> Layout:
    """Read the header ``line`` of ``source``.

    Args:
        source: name of the file.
        line: its first line.
        ignore: headers that are allowed beside the known ones.
        needed: for records to be scored, the columns that must be there; any others, and a label, are optional.
        labelled: whether each record must have a label.

    Raises:
        SchemaError: it lists missing and unknown columns, each with its near miss.
    """
    header = _numbered([text.strip().strip('"') for text in line.decode("utf-8-sig", "replace").strip().split(",")])
    names = tuple(CANONICAL.get(text, "") for text in header)
    unknown = [text for text, name in zip(header, names, strict=True) if not name and text not in UNUSED | set(ignore)]
    twice = [name for name, count in Counter(filter(None, names)).items() if count > 1]
    copied = {name: twin for name, twin in COPIED.items() if name not in names and twin in names}
    found = tuple(column for column in FEATURES if column.name in {*names, *copied})
    wanted = {column.name for column in (FEATURES if needed is None else needed)}
    missing = [column.headers for column in FEATURES if column.name in wanted and column not in found]
    labelled = labelled and needed is None
    if needed is None or missing or twice:
        _refuse(source, header, unknown, missing, "label" in names or not labelled, twice)
    return Layout(names, tuple(header), copied, found, labelled=labelled, any_label=needed is not None)


def _numbered(header: list[str]) -> list[str]:
    """Rename the second column of one name to ``name.1``, as the usual readers of the published files do."""
    seen: Counter[str] = Counter()
    numbered = []
    for text in header:
        numbered.append(f"{text}.{seen[text]}" if seen[text] else text)
        seen[text] += 1
    return numbered


def _refuse(
    source: str,
    header: list[str],
    unknown: list[str],
    missing: list[tuple[str, ...]],
    labelled: bool,
    twice: list[str],
) -> None:
    known, most = [*CANONICAL, *UNUSED], 5
    faults = [f"column {names[0]!r} is missing{near_miss(names[0], unknown)}" for names in missing[:most]]
    if not labelled:
        without = "; if the records have no labels, set ingest.labels to none"
        faults.append(f"column 'Label' is missing{near_miss('Label', unknown) or without}")
    faults += [
        f"column {text!r} (number {header.index(text) + 1}) is unknown{near_miss(text, known)}"
        for text in unknown[:most]
    ]
    faults += [f"two columns mean {name!r}" for name in twice]
    count = len(missing) + (not labelled) + len(unknown) + len(twice)
    if faults:
        more = f" and {count - most} more" if count > most else ""
        remedy = "rename them in the header (row 0), or name extra ones in ingest.cicids2017.ignore_columns"
        raise SchemaError(f"{source}: {'; '.join(faults[:most])}{more}; {remedy}")
