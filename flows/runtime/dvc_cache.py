"""What DVC's cache holds that nothing needs, found and removed by ``dvc gc``.

Needed is what the workspace, the tip of a branch, a tag or an experiment names, and what a registered version was made
from. A version names hashes, as its ``dvc.lock`` need not be in a commit: see ``flows.lineage.provenance``. ``dvc gc``
takes no hashes, but other projects whose files it keeps. So a project for the time of the call names those of versions.

A remote is not touched.
"""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import yaml

from flows.runtime import dvc
from pipeline.base.errors import FlowsculptError
from pipeline.tracking.removal import Removal

CACHE: Final = "objects of DVC's cache"
_REMOVING: Final = "Removing "  # what dvc gc --dry says before the path of an object
_KEPT: Final = ("--workspace", "--all-branches", "--all-tags", "--all-experiments")


def unused(root: Path, outputs: Sequence[str]) -> Iterator[Removal]:
    """The objects of the cache that nothing needs, as one thing; nothing where there are none.

    Args:
        root: the project's folder.
        outputs: of each registered version, the tag ``flowsculpt.stage_outputs``.

    Raises:
        FlowsculptError: DVC refuses.
    """
    lines = _collected(root, outputs, "--dry")
    found = [Path(line.partition(_REMOVING)[2]) for line in lines if _REMOVING in line]
    sizes = [path.stat().st_size for path in found if path.is_file()]
    if sizes:
        yield Removal(CACHE, "", sum(sizes), lambda: bool(_collected(root, outputs)), len(sizes))


def _collected(root: Path, outputs: Sequence[str], *options: str) -> list[str]:
    """The lines that ``dvc gc`` prints."""
    lines: list[str] = []
    with _project(root, outputs) as folder:
        command = ["gc", *_KEPT, "--force", "--projects", str(folder), *options]
        code, last = dvc.call(command, lines.append, {}, root)
    if code:
        raise FlowsculptError("\n".join(["DVC's cache was not looked through:", *last]))
    return lines


@contextmanager
def _project(root: Path, outputs: Sequence[str]) -> Iterator[Path]:
    """A project that names what registered versions were made from, with the same cache."""
    with TemporaryDirectory(prefix="flowsculpt-") as name:
        folder = Path(name).resolve()
        (folder / ".dvc").mkdir()
        cache = _cache(root)
        (folder / ".dvc" / "config").write_text(f"[cache]\n    dir = {cache}\n")
        subprocess.run(["git", "init", "--quiet", folder], check=True)  # DVC asks each project for its experiments
        hashes = {each for text in outputs for each in _hashes(text) if _is_there(cache, each)}
        outs = [{"md5": each, "hash": "md5", "path": each} for each in sorted(hashes)]
        if outs:
            (folder / "kept.dvc").write_text(yaml.safe_dump({"outs": outs}))
        yield folder


def _cache(root: Path) -> Path:
    lines: list[str] = []
    code, last = dvc.call(["cache", "dir"], lines.append, {}, root)
    if code or not lines:
        raise FlowsculptError("\n".join(["DVC does not say where its cache is:", *last]))
    return (root / lines[-1]).resolve()


def _hashes(text: str) -> Iterator[str]:
    """The hashes that the tag of a version names."""
    stages: Mapping[str, Mapping[str, Any]] = json.loads(text)
    for outs in stages.values():
        for named in outs.values():
            algorithm, _, digest = str(named).partition(":")
            if algorithm == "md5":
                yield digest


def _is_there(cache: Path, digest: str) -> bool:
    return (cache / "files" / "md5" / digest[:2] / digest[2:]).is_file()
