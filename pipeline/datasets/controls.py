"""Control characters in names and words: no tool writes them, and what shows such a text may obey it."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipeline.base import limits
from pipeline.base.errors import SchemaError
from pipeline.datasets.families import known

REASON: Final = "a word with a control character"
# Tabs around a word are cut off.
_CELLS: Final = r"[\x00-\x08\x0a-\x1f\x7f\x{80}-\x{9f}]|[^\t ]\t+ *[^\t ]"
_NAMES: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def require_names(source: str, names: Sequence[str]) -> None:
    """Refuse a header with too many names, one that is there twice, or one with a control character.

    The published files of CICFlowMeter have ``Fwd Header Length`` twice, and that is known.

    Raises:
        SourceError: there are more names than ``files.columns`` allows.
        SchemaError: with the number of the column.
    """
    limits.held().require("columns", len(names), source, "its columns are")
    bare = [name.strip() for name in names]
    for place, name in enumerate(bare, start=1):
        if _NAMES.search(name):
            raise SchemaError(f"{source}: column {place} has a control character in its name, {name!r}")
    for name, count in Counter(bare).items():
        is_known = count == 2 and known.key(f"{name}.1") in known.meanings()
        if count > 1 and not is_known and not known.is_index(name):
            first = bare.index(name) + 1
            second = bare.index(name, first) + 1
            where = f"columns {first} and {second}"
            raise SchemaError(f"{source}: two columns are called {name!r} ({where}); rename or remove one of them")


def in_words(column: pa.ChunkedArray) -> NDArray[np.bool_] | None:
    """(n,) which cells of a column of words hold a control character; None where none does."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        if not any(_any(chunk.dictionary) for chunk in column.chunks):
            return None
        column = column.cast(kind.value_type)
    elif not pa.types.is_string(kind) or not _any(column):
        return None
    found: NDArray[np.bool_] = pc.match_substring_regex(column, _CELLS).fill_null(False).to_numpy()
    return found


def _any(words: pa.Array | pa.ChunkedArray) -> bool:
    if not pa.types.is_string(words.type) or not len(words):
        return False
    return pc.any(pc.match_substring_regex(words, _CELLS)).as_py() is True
