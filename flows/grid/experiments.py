"""DVC experiments that run in copies of the project, and what is found of them afterwards.

``dvc exp run --temp`` stashes and resets the workspace for a moment, and takes the oldest stashed experiment: a process
that is killed then leaves its user's changes in a stash, and two at once take each other's. Here each experiment has a
clone of its own, under ``.dvc/tmp/benchmark``, that shares the cache of the project. Nothing lies in a clone that a run
could lose, so its outs do not persist: DVC has a run cache for such stages only, and what one experiment has run, or
one that was killed, no other runs again. Its reference comes to the project in one step when all stages are done.
"""

import fcntl
import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TextIO

import yaml

from flows.runtime import dvc, follow, graph, presets, repository
from flows.runtime.repository import IDENTITY
from pipeline import config, tracking
from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, write_json
from pipeline.base.errors import ConfigError, FlowsculptError

COPIES = Path(".dvc") / "tmp" / "benchmark"
REFERENCES = "refs/exps"
SOURCES = ("pipeline", graph.PIPELINE_FILE, str(config.PARAMS), str(presets.FOLDER))
Log = Callable[[str], None]


class ExperimentError(FlowsculptError):
    """An experiment that ended with an error; ``str`` holds the last lines that it printed."""

    has_lines = True


@dataclass(frozen=True)
class Snapshot:
    """The project as it lies when a grid begins: what is edited afterwards has no part in it.

    Attributes:
        root: the project's folder.
        commit: the one that is checked out.
        tree: the tracked files as they lie, changes that are not committed among them.
    """

    root: Path
    commit: str
    tree: str

    @classmethod
    def take(cls, root: Path) -> "Snapshot":
        """The project in ``root``, which is left as it is.

        Raises:
            ConfigError: it is no git repository, has no commit, or has sources that git does not track.
        """
        try:
            commit = git(root, "rev-parse", "--verify", "HEAD^{commit}")
        except ExperimentError as error:
            raise ConfigError(f"{root}: experiments need a git repository with one commit at least: {error}") from None
        strangers = git(root, "ls-files", "--others", "--exclude-standard", "--", *SOURCES).split("\n")
        if strangers[0]:
            raise ConfigError(
                f"{root}: git does not track {', '.join(strangers[:3])}, which an experiment would lack; "
                "`git add` it first"
            )
        return cls(root, commit, git(root, *IDENTITY, "stash", "create") or commit)

    @cached_property
    def code(self) -> str:
        """A digest of all that the stages depend on and git tracks."""
        read = [path for path in graph.dependencies(self.root) if "$" not in path]
        listed = git(self.root, "ls-tree", "-r", self.tree, "--", graph.PIPELINE_FILE, *read)
        return hashlib.sha256(listed.encode()).hexdigest()

    @cached_property
    def cache(self) -> Path:
        """The cache of DVC."""
        code, lines = dvc.call(["cache", "dir"], lambda _: None, {}, self.root)
        if code:
            raise ConfigError("\n".join([f"{self.root}: DVC does not say where its cache is:", *lines]))
        return self.root / lines[-1]


def digest(path: Path) -> str:
    """A digest of a file, or of all files in a folder with their names.

    Raises:
        ConfigError: there is none.
    """
    if not path.exists():
        raise ConfigError(f"{path}: there are no records; name the folder above them with --path, or fewer --designs")
    made = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb") as stream:
                name = file.relative_to(path).as_posix() if file != path else file.name
                made.update(name.encode() + b"\0" + hashlib.file_digest(stream, "sha256").digest())
    return made.hexdigest()


def find(root: Path) -> dict[str, str]:
    """The commits of the experiments of a project, by name."""
    listed = git(root, "for-each-ref", "--format=%(objectname) %(refname)", f"{REFERENCES}/*/*/*")
    pairs = [line.split(" ") for line in listed.split("\n") if line]
    return {reference.rpartition("/")[2]: commit for commit, reference in pairs}


def metrics(snapshot: Snapshot, commit: str) -> dict[str, Any] | None:
    """The metrics of an experiment; None where the cache holds them no longer."""
    outs = yaml.safe_load(git(snapshot.root, "show", f"{commit}:dvc.lock"))["stages"]["evaluate"]["outs"]
    digests = {out["path"]: out["md5"] for out in outs}
    md5 = digests[paths.METRICS.as_posix()]
    path = snapshot.cache / "files" / "md5" / md5[:2] / md5[2:]
    return dict(read_json(path)) if path.is_file() else None


@contextmanager
def held(root: Path, name: str, wait: bool = True) -> Iterator[TextIO | None]:
    """The lock of what has this name, so that no two processes run it at once; None where another one has it.

    It is let go with the last process that has it open, whatever ends the others.

    Args:
        root: the project's folder.
        name: of an experiment.
        wait: for as long as another one holds it.
    """
    path = root / COPIES / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield None
            return
        yield file


def sweep(root: Path) -> None:
    """Remove the copies that killed processes left."""
    for folder in filter(Path.is_dir, (root / COPIES).glob("*")):
        with held(root, folder.name, wait=False) as lock:
            if lock:
                shutil.rmtree(folder)


def is_running(root: Path) -> bool:
    """Whether a grid runs here: nothing names yet what its experiments have made."""
    for folder in filter(Path.is_dir, (root / COPIES).glob("*")):
        with held(root, folder.name, wait=False) as lock:
            if lock is None:
                return True
    return False


def run(
    snapshot: Snapshot, name: str, params: Mapping[str, Any], log: Log, lock: TextIO, env: Mapping[str, str]
) -> str:
    """Run an experiment with these settings; returns its commit.

    Args:
        snapshot: the project.
        name: of the experiment.
        params: all sections of params.yaml.
        log: takes each line as it is printed.
        lock: of ``held``, which no process of the experiment outlives.
        env: variables that the stages see besides those of this process.

    Raises:
        ExperimentError: a stage failed.
    """
    with _copied(snapshot, name, params) as folder:
        _call(["repro"], folder, snapshot, log, lock, {**env, "DVC_EXP_NAME": name})
        git(folder, "checkout", snapshot.tree, "--", graph.PIPELINE_FILE)
        _call(["exp", "save", "--name", name, "--include-untracked", "dvc.lock"], folder, snapshot, log, lock, {})
        listed = git(folder, "for-each-ref", "--format=%(refname)", f"{REFERENCES}/*/*/{name}")
        git(snapshot.root, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", str(folder), f"+{listed}:{listed}")
        return git(folder, "rev-parse", listed)


def families(snapshot: Snapshot, name: str, params: Mapping[str, Any], log: Log) -> dict[str, str]:
    """The attacks that the records of these settings have, each with its family, as ingest finds them.

    Args:
        snapshot: the project.
        name: which tells these settings and records from others.
        params: all sections of params.yaml.
        log: takes each line as it is printed.

    Raises:
        ExperimentError: the records cannot be read.
    """
    known = snapshot.root / COPIES / f"{name}.json"
    with held(snapshot.root, name) as lock:
        if lock and not known.exists():
            with _copied(snapshot, name, params) as folder:
                _call(["repro", "--single-item", "ingest"], folder, snapshot, log, lock, {})
                write_json(known, _families(read_json(folder / paths.SOURCE)))
    return dict(read_json(known))


def _families(source: Mapping[str, Any]) -> dict[str, str]:
    present = {attack for file in source["files"].values() for attack, count in file["attacks"].items() if count}
    return {attack: source["families"][attack] for attack in sorted(present - {"benign"})}


@contextmanager
def _copied(snapshot: Snapshot, name: str, params: Mapping[str, Any]) -> Iterator[Path]:
    """A clone of the project as the snapshot has it, with these settings; it is gone afterwards."""
    folder = (snapshot.root / COPIES / name).resolve()
    if folder.exists():
        shutil.rmtree(folder)
    try:
        git(snapshot.root, "clone", "--quiet", "--shared", "--no-checkout", *IDENTITY, str(snapshot.root), str(folder))
        git(folder, "checkout", "--quiet", "--detach", snapshot.commit)
        git(folder, "read-tree", "--reset", "-u", snapshot.tree)
        (folder / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {snapshot.cache}\n")
        (folder / config.PARAMS).write_text(yaml.safe_dump(dict(params), sort_keys=False))
        stages = (folder / graph.PIPELINE_FILE).read_text()
        (folder / graph.PIPELINE_FILE).write_text(stages.replace("persist: true", "persist: false"))
        follow.follow(folder)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _call(
    arguments: list[str], folder: Path, snapshot: Snapshot, log: Log, lock: TextIO, env: Mapping[str, str]
) -> None:
    own = {tracking.ROOT_VARIABLE: str(snapshot.root.resolve()), "DVC_SITE_CACHE_DIR": str(folder / ".dvc/tmp/site")}
    code, lines = dvc.call(arguments, log, {**own, **env}, folder, (lock.fileno(),))
    if code:
        raise ExperimentError("\n".join([f"`dvc {' '.join(arguments)}` failed with exit code {code}:", *lines]))


def git(folder: Path, *arguments: str) -> str:
    """What a git command prints.

    Raises:
        ExperimentError: it fails.
    """
    try:
        return repository.git(folder, *arguments)
    except repository.GitError as error:
        raise ExperimentError(str(error)) from None
