"""The columns of a frame -> the canonical columns that they are, whatever published file the frame came from."""

from collections.abc import Collection, Iterable

from pipeline.base.errors import SchemaError
from pipeline.datasets.families.known import key, meanings
from pipeline.datasets.header import COPIED
from pipeline.datasets.labels import snake

OWN = "_column"  # what datasets.table puts behind a column whose name every record has for itself


def canonical_names(given: Iterable[object], wanted: Collection[str]) -> dict[str, object]:
    """Wanted column -> what the frame calls it; those that it lacks are left out.

    A column is known by its canonical name, by a name that some family of files gives it, or by its name in snake case,
    as ``datasets.table`` reads tables. The corrected extractor no longer writes one column twice; its twin then stands
    for it.

    Args:
        given: the columns of the frame.
        wanted: canonical names.

    Raises:
        SchemaError: two columns of the frame mean the same one.
    """
    found: dict[str, object] = {}
    for column in given:
        name = next((each for each in _meanings(str(column)) if each in wanted), None)
        if name is not None and name in found:
            raise SchemaError(f"the columns {found[name]!r} and {column!r} both mean {name!r}; rename or drop one")
        if name is not None:
            found[name] = column
    return found | {
        copy: found[of] for copy, of in COPIED.items() if copy in wanted and copy not in found and of in found
    }


def _meanings(column: str) -> tuple[str, ...]:
    """The canonical names that a column may have, the likeliest first."""
    short = snake(column)
    return (column, meanings().get(key(column), short), short, f"{short}{OWN}")
