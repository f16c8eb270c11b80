"""A clone of this clone, in which a version is made again: its commit, its changes, its settings, its input.

It lies under ``.dvc/tmp`` and is gone afterwards. The working tree of the user is never touched. Both share the cache
of DVC, so what was pulled once is not pulled again. Runs are logged in a store of its own, which goes with it.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Final

import yaml

from flows.runtime import dvc, repository, working_copy
from pipeline import tracking
from pipeline.artifacts.files import write_bytes
from pipeline.base.errors import ArtifactError, ConfigError, FlowsculptError
from pipeline.serving import manifest
from pipeline.serving.manifest import HashedFolder
from pipeline.serving.origin import CHANGES, LOCK, PARAMS, Origin
from pipeline.tracking.store import ARTEFACTS_VARIABLE

PLACE: Final = Path(".dvc") / "tmp" / "reproduce"
LOCAL: Final = "config.local"
# What the code of that commit makes of what its stages have left.
BUNDLE: Final = "from pathlib import Path; from pipeline.serving.bundle import Bundle; " + (
    "Bundle.of_project().save(Path('bundle'))"
)
Log = Callable[[str], None]


@dataclass(frozen=True)
class SecondClone:
    """The clone, as long as ``opened`` lasts.

    Attributes:
        root: the clone that it was made of.
        folder: where it lies.
        inputs: what the stages read and none of them writes: path -> hash, behind the name of its algorithm.
        log: takes each line that DVC prints.
    """

    root: Path
    folder: Path
    inputs: Mapping[str, str]
    log: Log

    def pull(self, rerun: bool) -> None:
        """Bring the input of the stages, and what they have made unless they are to run.

        Raises:
            ConfigError: no remote is set.
            ArtifactError: the remote does not hold an input, or an input outside the project has changed.
            FlowsculptError: DVC fails.
        """
        listed = repository.git(self.folder, "ls-files", "*.dvc").split()
        if listed or not rerun:
            self._dvc("pull", "--allow-missing", *(listed if rerun else ()))
        for number, (path, state) in enumerate(self._changed().items()):
            if _is_inside(path):
                self._bring(path, f"input{number}.dvc")
            elif state != "deleted":
                raise ArtifactError(f"the input {path} has changed since; it had the hash {self.inputs[path]}")

    def push(self) -> list[str]:
        """Send to the remote what another clone needs; says what was not sent.

        Raises:
            ConfigError: no remote is set.
            ArtifactError: an input is no longer as it was.
            FlowsculptError: DVC fails.
        """
        self._dvc("push")
        changed = self._changed()
        for number, path in enumerate(filter(_is_inside, changed)):
            self._send(path, self.folder / ".dvc" / "tmp" / f"send{number}")
        return [path for path in self.inputs if not _is_inside(path)]

    def run(self, rerun: bool) -> HashedFolder:
        """Run the stages that have to run; gives the model that they have made.

        Raises:
            ArtifactError: every stage is to run, and an input outside the project is not here.
            FlowsculptError: a stage fails, or its outputs make no model.
        """
        absent = [path for path in self._changed() if not _is_inside(path)]
        if absent and rerun:
            raise ArtifactError(
                f"the input {absent[0]} lies outside the project, and it is not here; try without --rerun"
            )
        # With --allow-missing DVC would run no stage whose outputs the remote lacks, either.
        self._dvc("repro", *(["--force"] if rerun else ["--allow-missing"] if absent else []))
        env = {name: value for name, value in os.environ.items() if name not in ("DVC_ROOT", "PYTHONPATH")}
        command = [sys.executable, "-c", BUNDLE]
        done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise FlowsculptError(f"the stages have run, and made no model:\n{done.stderr.strip()[-2000:]}")
        return manifest.load(self.folder / "bundle")

    def _changed(self) -> dict[str, str]:
        """The inputs that are not as they were -> modified or deleted."""
        lines = self._dvc("status", "--json", quiet=True)
        told: dict[str, Any] = next((json.loads(line) for line in lines if line.startswith("{")), {})
        entries = [entry for stage in told.values() for entry in stage if isinstance(entry, dict)]
        found = {path: state for entry in entries for path, state in entry.get("changed deps", {}).items()}
        return {path: state for path, state in found.items() if path in self.inputs}

    def _bring(self, path: str, name: str) -> None:
        """Pull an input that git does not hold, by its hash."""
        algorithm, _, digest = self.inputs[path].partition(":")
        out = {algorithm: digest, "hash": algorithm, "path": path}
        write_bytes(self.folder / name, yaml.safe_dump({"outs": [out]}).encode())
        code, lines = self._call("pull", "--force", name)
        if code:
            raise ArtifactError(
                f"the remote {self.remote} does not hold the input {path} ({algorithm} {digest}); run `flowsculpt "
                "reproduce VERSION --push` where the version was made:\n" + "\n".join(lines[-dvc.LAST_LINES :])
            )
        (self.folder / name).unlink()  # DVC refuses to run with an output that git holds a part of

    def _send(self, path: str, project: Path) -> None:
        """Send an input that git does not hold, straight to the remote."""
        source, wanted = (self.root / path).resolve(), self.inputs[path].partition(":")[2]
        if not source.exists():
            raise ArtifactError(f"the input {path} is no longer here, so it cannot be sent")
        (project / ".dvc").mkdir(parents=True)
        shutil.copy(self.folder / ".dvc" / LOCAL, project / ".dvc" / LOCAL)
        (project / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
        code, lines = dvc.call(["add", "--to-remote", str(source), "--out", "input"], self.log, {}, project)
        if code:
            raise FlowsculptError("\n".join([f"the input {path} could not be sent:", *lines]))
        (out,) = yaml.safe_load((project / "input.dvc").read_text())["outs"]
        if out["md5"] != wanted:
            raise ArtifactError(f"the input {path} has changed: its hash is {out['md5']} now, and it was {wanted}")

    @cached_property
    def remote(self) -> str:
        """The name of the remote of DVC.

        Raises:
            ConfigError: none is set.
        """
        return _remote(_settings(self.folder))

    def _dvc(self, *arguments: str, quiet: bool = False) -> list[str]:
        code, lines = self._call(*arguments, quiet=quiet)
        if code:
            raise FlowsculptError("\n".join([f"`dvc {' '.join(arguments)}` failed:", *lines[-dvc.LAST_LINES :]]))
        return lines

    def _call(self, *arguments: str, quiet: bool = False) -> tuple[int, list[str]]:
        lines: list[str] = []

        def heard(line: str) -> None:
            lines.append(line)
            if not quiet:
                self.log(line)

        own = dict.fromkeys((tracking.ROOT_VARIABLE, tracking.PARENT_VARIABLE, ARTEFACTS_VARIABLE), "")
        own["MLFLOW_TRACKING_URI"] = f"sqlite:///{self.folder / 'mlflow.db'}"
        code, _ = dvc.call(arguments, heard, own, self.folder)
        return code, lines


@contextmanager
def opened(root: Path, origin: Origin, inputs: Mapping[str, str], log: Log) -> Iterator[SecondClone]:
    """Make the clone as the version had it; it is gone afterwards.

    Raises:
        ConfigError: another one is at work here, there is no remote, or this clone does not have the commit.
        FlowsculptError: the changes do not fit the commit.
    """
    _remote(_settings(root))
    folder = (root / PLACE).resolve()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"{root}: another version is being made again in this clone; wait for it") from None
        shutil.rmtree(folder, ignore_errors=True)  # what a process left that was killed
        try:
            _check_out(root, folder, origin)
            yield SecondClone(root, folder, inputs, log)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _check_out(root: Path, folder: Path, origin: Origin) -> None:
    try:
        repository.git(root, "cat-file", "-e", f"{origin.commit}^{{commit}}")
    except repository.GitError:
        raise ConfigError(
            f"{root}: does not have the commit {origin.commit}; run `git fetch --all`, or push it where it was made"
        ) from None
    folder.mkdir(mode=0o700)  # the settings of a remote may hold a password
    repository.git(folder, "clone", "--quiet", "--shared", "--no-checkout", str(root.resolve()), ".")
    repository.git(folder, "checkout", "--quiet", "--detach", origin.commit)
    if changes := origin.files.get(CHANGES):
        repository.output(folder, "apply", "--binary", "--whitespace=nowarn", given=changes)
    for name in (LOCK, PARAMS):
        write_bytes(folder / name, origin.files[name])
    _configure(_settings(root), folder)


def _settings(root: Path) -> dict[str, Any]:
    """The settings of DVC in a clone, those of the user and the machine among them."""
    from dvc.config import Config
    from dvc.exceptions import DvcException

    place = working_copy.dvc_folder(root)
    try:
        told: dict[str, Any] = Config(str(place), validate=False).load_config_to_level()
    except DvcException as error:
        raise ConfigError(f"{place}: {error}") from error
    return {**told, "cache": {"dir": str(place.resolve() / "cache"), **told.get("cache", {})}}


def _remote(settings: Mapping[str, Any]) -> str:
    name = settings.get("core", {}).get("remote")
    if name not in settings.get("remote", {}):
        raise ConfigError(
            "no remote of DVC is set, from which input and outputs could come; run `dvc remote add --default NAME "
            "ADDRESS` with the one that they were pushed to"
        )
    return str(name)


def _configure(settings: Mapping[str, Any], folder: Path) -> None:
    """Let DVC use the same remotes and cache in another folder; relative paths become absolute ones."""
    from dvc.config import Config

    with Config(str(folder / ".dvc"), validate=False).edit("local", validate=False) as own:
        own["remote"] = {name: _plain(each) for name, each in settings["remote"].items()}
        own["core"] = {"remote": _remote(settings)}
        own["cache"] = _plain(settings["cache"])


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, str) else value for name, value in settings.items()}


def _is_inside(path: str) -> bool:
    """Whether a path of ``dvc.lock`` lies in the project."""
    return "://" not in path and not PurePosixPath(path).is_absolute() and ".." not in PurePosixPath(path).parts
