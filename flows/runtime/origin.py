"""Collects where a model comes from, before it is registered: ``dvc.lock``, ``params.yaml``, the commit, the changes.

What keeps another clone from making the same model is named, and never stops a registration.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from flows.runtime import graph, repository
from pipeline import config, tracking
from pipeline.base.errors import FlowsculptError
from pipeline.serving.origin import CHANGES, LOCK, PARAMS, Origin
from pipeline.settings.sections import SECTIONS

MOST_CHANGES: Final = 2_000_000  # bytes of a diff that are kept
SOURCES: Final = ("pipeline", graph.PIPELINE_FILE)  # what the stages run, and what must be in the diff or the commit
NAMED: Final = 3  # files that a message names
_DIFF: Final = (
    *("-c", "core.quotepath=off", "diff", "--binary", "--full-index", "--no-renames", "--no-color", "--no-ext-diff"),
    *("--no-textconv", "--src-prefix=a/", "--dst-prefix=b/", "HEAD", "--", "."),
    *(f":(exclude){name}" for name in (LOCK, PARAMS)),  # which are kept whole
)


def of_project(root: Path) -> Origin:
    """The origin of the model that the stages have made in ``root``.

    Secrets of the tracking store and users of addresses are taken out of each text.
    """
    gaps: list[str] = []
    commit, changes = _commit(root, gaps)
    files = {CHANGES: changes}
    for name in (LOCK, PARAMS):
        if not (root / name).is_file():
            gaps.append(f"there was no {name}")
            continue
        files[name] = (root / name).read_bytes()
    redacted = {name: _redacted(content) for name, content in files.items()}
    gaps += [f"{name} held a secret, which was taken out" for name in files if _matters(name, files, redacted)]
    return Origin.of_here(commit, gaps, redacted)


def _commit(root: Path, gaps: list[str]) -> tuple[str, bytes]:
    """The commit that is checked out, and the changes to it."""
    try:
        commit = repository.git(root, "rev-parse", "--verify", "HEAD^{commit}")
        if Path(repository.git(root, "rev-parse", "--show-toplevel")).resolve() != root.resolve():
            gaps.append("the project was not the top folder of its git repository")
        changes = repository.output(root, *_DIFF)
    except FlowsculptError:
        gaps.append("no git commit was known")
        return "", b""
    if len(changes) > MOST_CHANGES:
        gaps.append(
            f"the changes to the commit were {len(changes):,} bytes, and the first {MOST_CHANGES:,} were kept; commit "
            "them before the next training"
        )
    gaps += _strangers(root)
    return commit, changes[:MOST_CHANGES]


def _strangers(root: Path) -> Iterator[str]:
    listed = repository.git(root, "ls-files", "--others", "--exclude-standard", "--", *SOURCES).splitlines()
    if listed:
        more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
        yield f"git did not track {', '.join(listed[:NAMED])}{more}"


def _redacted(content: bytes) -> bytes:
    return tracking.redact(content.decode(errors="surrogateescape")).encode(errors="surrogateescape")


def _matters(name: str, whole: dict[str, bytes], redacted: dict[str, bytes]) -> bool:
    """Whether what was taken out of a file could change the model."""
    if whole[name] == redacted[name]:
        return False
    if name != PARAMS:
        return True
    try:
        before, after = (config.parse(texts[name], name) for texts in (whole, redacted))
    except FlowsculptError:
        return True
    return any(before.get(section) != after.get(section) for section in SECTIONS)
