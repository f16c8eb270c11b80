"""How dvc.yaml follows the files that a user names, so that DVC sees when one of them changes.

``ingest.path`` has one dependency for each path: DVC puts no list into a list of dependencies, so a list of paths needs
a line for each of them, by its place. ``evaluate.drills.file`` is a dependency where it names a file.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pipeline.base.errors import ConfigError

GRAPH: Final = "dvc.yaml"
REMEDY: Final = "run `python -m flows.runtime.follow`, or `flowsculpt train`, which does it too"

_LINE = re.compile(r"^( *- )(\$\{ingest\.path(?:\[\d+\])?\})\n", re.MULTILINE)

_DRILLS: Final = "      - ${evaluate.drills.file}\n"
_EVALUATE = re.compile(r"(^  evaluate:\n(?:    .*\n)*?    deps:\n)", re.MULTILINE)


def followed(graph: str, path: str | Sequence[str], drills: str = "") -> str:
    """The text of dvc.yaml with a dependency for each path; unchanged where it names none of them.

    Args:
        graph: the text of dvc.yaml.
        path: the setting ``ingest.path``.
        drills: the setting ``evaluate.drills.file``.
    """
    graph = _EVALUATE.sub(rf"\1{_DRILLS if drills else ''}", graph.replace(_DRILLS, ""), count=1)
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


def require_drills(file: str) -> None:
    """Refuse a named file of drills that the dvc.yaml of this folder does not follow.

    Raises:
        ConfigError: with what to do about it.
    """
    graph = Path(GRAPH).read_text(encoding="utf-8") if file and Path(GRAPH).is_file() else ""
    if _EVALUATE.search(graph) and _DRILLS not in graph:
        raise ConfigError(f"evaluate.drills.file: {GRAPH} does not follow {file!r}, so a change goes unseen; {REMEDY}")


def _names(path: str | Sequence[str]) -> list[str]:
    return ["${ingest.path}"] if isinstance(path, str) else [f"${{ingest.path[{n}]}}" for n in range(len(path))]
