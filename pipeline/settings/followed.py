"""How dvc.yaml follows ``ingest.path``: one dependency for each path, so that DVC sees when the files of one change.

DVC puts no list into a list of dependencies. A list of paths needs a line for each of them, by its place.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pipeline.base.errors import ConfigError

GRAPH: Final = "dvc.yaml"
REMEDY: Final = "run `python -m flows.runtime.follow`, or `flowsculpt train`, which does it too"

_LINE = re.compile(r"^( *- )(\$\{ingest\.path(?:\[\d+\])?\})\n", re.MULTILINE)


def followed(graph: str, path: str | Sequence[str]) -> str:
    """The text of dvc.yaml with a dependency for each path; unchanged where it names none of them.

    Args:
        graph: the text of dvc.yaml.
        path: the setting ``ingest.path``.
    """
    first = _LINE.search(graph)
    if first is None:
        return graph
    lines = "".join(f"{first[1]}{name}\n" for name in _names(path))
    return graph[: first.start()] + lines + _LINE.sub("", graph[first.end() :])


def require(path: str | Sequence[str]) -> None:
    """Refuse a list of paths some of which the dvc.yaml of this folder does not follow.

    Raises:
        ConfigError: with what to do about it.
    """
    graph = Path(GRAPH).read_text(encoding="utf-8") if Path(GRAPH).is_file() else ""
    found, wanted = [name for _, name in _LINE.findall(graph)], _names(path)
    if found and found != wanted:
        raise ConfigError(
            f"ingest.path: names {len(wanted)} paths, and {GRAPH} follows {', '.join(found)}, so DVC would not see "
            f"when files of the others change; {REMEDY}"
        )


def _names(path: str | Sequence[str]) -> list[str]:
    return ["${ingest.path}"] if isinstance(path, str) else [f"${{ingest.path[{n}]}}" for n in range(len(path))]
