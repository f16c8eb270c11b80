"""The families of names that files give CICFlowMeter's columns, read from the TOML files beside this one.

Case, spaces, quotes and signs do not count: ``Flow Bytes/s``, ``flow bytes/s`` and ``FLOW_BYTES_S`` are one name.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.datasets.schema import ENDPOINTS, FEATURES

FOLDER = Path(__file__).parent
OWN = "canonical"  # the family of the names that records have once they are read
# Row numbers that tools write in front: they are set aside. `Unnamed: 0`, `Unnamed: 0.1`, `level_0` and
# `__index_level_0__` are those of pandas. `Level 1` is a name that people give.
INDEX = re.compile(r"#|index|level_\d+|_*index_level_\d+_*|unnamed[:_ ]*\d+(?:[._]\d+)*", re.IGNORECASE)


@dataclass(frozen=True)
class Family:
    """The names that one tool or publication gives the columns.

    Attributes:
        name: short name, that of its file.
        title: what the family is, in words.
        headers: each name as it is written -> canonical column.
        unused: names of columns that no stage uses, as they are written.
        may_lack: canonical features that its files need not have.
        year: of its publication; of two that fit a header equally well, the older one is meant.
    """

    name: str
    title: str
    headers: Mapping[str, str]
    unused: tuple[str, ...] = ()
    may_lack: tuple[str, ...] = ()
    year: int = 9999


@cache
def families() -> tuple[Family, ...]:
    """All families, in the order of their names; the last one is that of the canonical names."""
    features = (column.name for column in FEATURES)
    own = {name: name for name in (*features, *ENDPOINTS, "label", "attempted_category") if name != "dst_port"}
    return (*map(_read, sorted(FOLDER.glob("*.toml"))), Family(OWN, "the names of this project", own))


def _read(path: Path) -> Family:
    about = tomllib.loads(path.read_text(encoding="utf-8"))
    unused, may_lack = (tuple(about.get(key, ())) for key in ("unused", "may_lack"))
    return Family(path.stem, about["title"], about["columns"], unused, may_lack, about["year"])


def key(text: str) -> str:
    """What of a name counts: its letters and digits, in lower case."""
    return re.sub(r"[\W_]+", "", text.lower())


def is_index(text: str) -> bool:
    """Whether a header is that of a column of row numbers, or empty."""
    bare = text.strip().strip("\"'").strip()
    return not bare or INDEX.fullmatch(bare) is not None


@cache
def meanings() -> Mapping[str, str]:
    """Key of each known name -> canonical column."""
    return {key(header): name for family in families() for header, name in family.headers.items()}


@cache
def unused() -> frozenset[str]:
    """The keys of columns that published files carry and that no stage uses."""
    return frozenset(key(header) for family in families() for header in family.unused)


def families_of(header: Iterable[str]) -> tuple[Family, ...]:
    """The family whose names a header has; several where no single one knows all of them.

    Args:
        header: the names of the columns; those that nobody knows do not count.

    Returns:
        the fewest families that are found greedily, the best first; none where no name is known.
    """
    left = {text for text in header if key(text) in meanings() or key(text) in unused()}
    found: list[Family] = []
    while left:
        best = max(families(), key=lambda family: _fit(family, left))
        found.append(best)
        keys = _keys(best)
        left = {text for text in left if key(text) not in keys}
    return tuple(found)


def _fit(family: Family, header: set[str]) -> tuple[int, int, int]:
    """How well a family fits: names that it knows, names that it spells so, how old it is."""
    keys = _keys(family)
    spelt = len(header & {*family.headers, *family.unused})
    return sum(key(text) in keys for text in header), spelt, -family.year


def _keys(family: Family) -> frozenset[str]:
    return frozenset(key(name) for name in (*family.headers, *family.unused))
