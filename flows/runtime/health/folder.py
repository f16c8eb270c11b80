"""The project's folder: settings, rights, space, git and DVC."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from flows.runtime import graph, healing, reach, site_cache, working_copy
from flows.runtime.health.finding import Finding, blocks, note, ok
from pipeline import config, tracking
from pipeline.base.errors import ConfigError, FlowsculptError
from pipeline.settings.sections import SECTIONS

GIGABYTE = 1e9
UNUSED = "dvc gc --workspace --all-commits --all-experiments"
LEAST_FREE, SCARCE = 0.5 * GIGABYTE, 5 * GIGABYTE
HERE = "go to the project's folder and try again"

_CACHE_TYPE = re.compile(r"^\s*type\s*=\s*(.+?)\s*$", re.MULTILINE)


def settings(root: Path) -> Iterator[Finding]:
    """Whether params.yaml and dvc.yaml can be used as they are."""
    try:
        graph.stages(root)
        for section in SECTIONS.values():
            config.load(section, root / config.PARAMS)
        tracking.project_names()
    except ConfigError as error:
        yield blocks(str(error), "mend the file; `git diff` shows what changed since the last commit")
    else:
        yield ok(f"{config.PARAMS} and {graph.PIPELINE_FILE} are sound")


def rights(root: Path) -> Iterator[Finding]:
    """Whether this user may write here, and how much fits."""
    places = [root, *(root / name for name in ("data", ".dvc", "mlflow.db", "mlruns", ".prefect"))]
    closed = [str(place) for place in places if place.exists() and not os.access(place, os.W_OK)]
    if closed:
        yield blocks(
            f"you may not write {', '.join(closed)}", f"`chown -R $USER {root}`, or work in a clone of your own"
        )
    free = shutil.disk_usage(root).free
    shown = f"{free / GIGABYTE:.1f} GB free"
    if free < LEAST_FREE:
        yield blocks(shown, f"make room: `{UNUSED}` removes cached results that no commit and no experiment has")
    elif free < SCARCE:
        yield note(shown, f"a run of a million records needs about 5 GB; `{UNUSED}` makes room")
    elif not closed:
        yield ok(f"{root} is writable, {shown}")


def git(root: Path) -> Iterator[Finding]:
    """Whether git is there, knows the folder, has a commit and knows who commits."""
    if shutil.which("git") is None:
        yield blocks(
            "git is not installed", "install git: DVC compares settings and code with those of the last commit"
        )
        return
    try:
        working_copy.refuse_without_git(working_copy.dvc_folder(root))
    except ConfigError as error:
        text, _, remedy = str(error).partition("; ")
        yield blocks(text, remedy)
        return
    if not _git(root, "rev-parse", "--verify", "HEAD"):
        yield note("git: no commit yet, and `dvc exp run` needs one", "`git add --all && git commit --message start`")
    if not _git(root, "config", "user.email") and not os.environ.get("GIT_AUTHOR_EMAIL"):
        remedy = "`git config user.name NAME` and `git config user.email NAME@HOST`"
        yield note("git: does not know who commits, and `dvc exp run` commits each experiment", remedy)
    else:
        yield ok("git: knows the folder and who commits")


def dvc(root: Path) -> Iterator[Finding]:
    """Where DVC keeps its files, whether they are whole, and who holds its locks."""
    try:
        folder = working_copy.dvc_folder(root)
    except ConfigError as error:
        yield blocks(str(error), HERE)
        return
    found = [*_moved(folder), *_site_cache(folder), *(list(_torn(folder)) or _held(folder))]
    kind = (_CACHE_TYPE.findall(working_copy.read_settings(folder)) or ["reflink,copy"])[-1]
    yield from found or [ok(f"DVC: nobody holds its locks, cache type {kind}")]


def _moved(folder: Path) -> Iterator[Finding]:
    known, here = Path(site_cache.configured(folder) or "."), folder.resolve() / site_cache.FOLDER
    if known.name == site_cache.FOLDER and known.resolve() != here:
        yield note(
            f"DVC: {folder / 'config.local'} names {known}: the clone was moved or copied",
            f"run `dvc config --local core.site_cache_dir {here}`",
        )


def _site_cache(folder: Path) -> Iterator[Finding]:
    place = Path(os.environ.get(site_cache.VARIABLE) or site_cache.configured(folder) or folder / site_cache.FOLDER)
    try:
        if place.is_dir():
            site_cache.refuse_shared(place)
    except FlowsculptError as error:
        text, _, remedy = str(error).partition("; ")
        yield blocks(f"DVC: {text}", remedy)


def _torn(folder: Path) -> Iterator[Finding]:
    for path in healing.broken(folder.parent):
        yield blocks(f"DVC: {path} cannot be read, as a full disk leaves it", "run `python -m flows.runtime.healing`")


def _held(folder: Path) -> Iterator[Finding]:
    """Runs that work here, and paths that a process which is gone has claimed."""
    lock = folder / "tmp" / working_copy.LOCK
    if _is_held(lock):
        holder = lock.read_text(encoding="utf-8") or "a run that has just begun"
        yield note(f"another run works in this clone: {holder}", "wait for it, or end that process")
    elif any(_is_held(folder / "tmp" / name) for name in healing.LOCKS):
        yield note("DVC: another dvc process is at work in this clone", "wait for it")
    for pid in sorted(healing.dead_holders(folder)):
        yield note(
            f"DVC: process {pid} is gone and still claims files", "nothing: the next dvc command lets go of them"
        )


def _is_held(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open() as file:
        return reach.is_locked(file)


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip()
