"""The command ``prune``: removes what is older, or more, than ``retention`` of params.yaml keeps.

::

    flowsculpt prune            say what would be removed, and how large it is
    flowsculpt prune --apply    remove it

Looked at are scored files, quarantine, copies of registered versions and of objects, files of runs in MLflow, DVC's
cache and logs of servers. What the champion or a registered version needs stays, and so does what another process uses;
the next call removes that. A rule that cannot be followed now stops no other one; the exit code is 1 then.
"""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from flows import arguments
from flows.runtime import program
from pipeline.base import extras
from pipeline.base.errors import FlowsculptError
from pipeline.base.escaping import printable
from pipeline.tracking import quiet_tools

if TYPE_CHECKING:
    from pipeline.settings.retention import Retention
    from pipeline.tracking.removal import Removal

Rule = Callable[[], "Iterator[Removal]"]


class UnfollowedError(FlowsculptError):
    """A rule of retention could not be followed."""

    has_lines = True


@dataclass
class Pruned:
    """What was found, and what became of it.

    Attributes:
        is_applied: whether it was removed.
        found: how many files of each kind.
        sizes: their bytes.
        names: of what was found, by its kind.
        in_use: what another process uses, by its kind; it stays.
        left: why a rule was left for the next time.
        faults: why a rule could not be followed.
    """

    is_applied: bool
    found: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    names: dict[str, list[str]] = field(default_factory=dict)
    in_use: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, removal: "Removal", is_removed: bool) -> None:
        """Count one thing."""
        if not is_removed:
            self.in_use[removal.what] += 1
            return
        self.found[removal.what] += removal.count
        self.sizes[removal.what] += removal.size
        self.names.setdefault(removal.what, []).append(removal.name)

    @property
    def text(self) -> str:
        """In lines."""
        verb = "removed" if self.is_applied else "would be removed"
        lines = [f"{what}: {n:,} {verb}, {shown(self.sizes[what])}" for what, n in self.found.items()]
        lines += [f"{what}: {n:,} in use by another process, left for the next time" for what, n in self.in_use.items()]
        total = f"in all {shown(self.sizes.total())} {verb}" if self.found else f"nothing {verb}"
        hint = [] if self.is_applied or not self.found else ["`flowsculpt prune --apply` removes it"]
        return "\n".join([*lines, *map(printable, self.left), total, *hint, *map(printable, self.faults)])


def shown(size: int) -> str:
    """Bytes as people read them."""
    for unit, bytes_of_it in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= bytes_of_it:
            return f"{size / bytes_of_it:,.1f} {unit}"
    return f"{size} bytes"


def prune(apply: bool = False) -> Pruned:
    """Follow the rules of ``retention``, one after the other.

    Args:
        apply: remove what was found.

    Raises:
        ConfigError: the settings are not allowed.
    """
    from flows.runtime.working_copy import BusyError
    from pipeline import config
    from pipeline.settings.retention import Retention

    done = Pruned(apply)
    for name, rule in rules(config.load(Retention), Path.cwd(), time.time()).items():
        try:
            for each in rule():
                done.add(each, each.remove() if apply else True)
        except BusyError as error:
            done.left.append(f"{name}: left for the next time: {error}")
        except ModuleNotFoundError as error:
            if error.name is None or extras.lacking(error) is None:
                raise
            done.left.append(f"{name}: not looked at, as {error.name} is not installed here")
        except (FlowsculptError, OSError) as error:
            done.faults.append(f"{name}: {error}")
    return done


def rules(settings: "Retention", root: Path, now: float) -> Mapping[str, Rule]:
    """What each rule would remove.

    Args:
        settings: what is kept for how long.
        root: the project's folder.
        now: seconds since 1970.
    """
    from pipeline import config
    from pipeline.serving import loading, retention, uploads
    from pipeline.settings.alerts import Alerts
    from pipeline.settings.promotion import Rules
    from pipeline.settings.retraining import Retraining
    from pipeline.settings.scoring import Scoring
    from pipeline.tracking import retention as runs

    def scored() -> Iterator["Removal"]:
        champion = loading.find()
        needed = max(config.load(Retraining).records, config.load(Rules).shadow.records)
        number = None if champion is None else champion.number
        kept = {*uploads.pending(config.load(Scoring).output)}
        found = retention.scored_files(settings.scored_days, needed, number, config.load(Alerts).sinks, now)
        return (each for each in found if each.name not in kept)

    return {
        retention.SCORED: scored,
        retention.QUARANTINED: lambda: retention.quarantined(settings.quarantine_days, now),
        retention.COPIES: lambda: retention.copies(settings.fetched_days, now),
        runs.RUNS: lambda: runs.files_of_runs(settings.runs, settings.run_days, now),
        "objects of DVC's cache": lambda: _dvc(settings.dvc, root),
        "copies of objects": lambda: _objects(settings.fetched_days, now),
        "logs": lambda: _logs(settings.log_days, now),
    }


def _dvc(is_wanted: bool, root: Path) -> "Iterator[Removal]":
    """While no training and no grid runs in this clone: what they have made is named by nothing yet."""
    from flows.grid import experiments
    from flows.lineage import OUTPUTS
    from flows.runtime import dvc_cache, working_copy
    from pipeline.tracking import retention

    if not is_wanted:
        return
    if find_spec("dvc") is None:
        raise ModuleNotFoundError("no DVC", name="dvc")
    with working_copy.alone(root, "flowsculpt prune", "refuse", print):
        if experiments.is_running(root):
            raise working_copy.BusyError(f"{root}: a grid of experiments runs in this clone; wait for it")
        yield from dvc_cache.unused(root, retention.named_by_versions(OUTPUTS))


def _objects(days: int, now: float) -> "Iterator[Removal]":
    """Copies of objects that nobody has used for so many days."""
    from pipeline.objects import copies
    from pipeline.tracking.removal import Removal, before, size_of

    limit = before(days, now)
    if limit is None:
        return
    for copy, used in copies.fetched():
        if used < limit:
            yield Removal("copies of objects", copies.origin(copy), size_of([copy]), partial(copies.forget, copy))


def _logs(days: int, now: float) -> "Iterator[Removal]":
    """Logs of servers that nobody has written for so many days."""
    from flows.runtime import access
    from pipeline.tracking.removal import Removal, before

    limit = before(days, now)
    if limit is None:
        return
    for path in sorted(access.home().glob("*.log")):
        if path.stat().st_mtime < limit:
            yield Removal("logs", path.name, path.stat().st_size, partial(_unlink, path))


def _unlink(path: Path) -> bool:
    path.unlink(missing_ok=True)
    return True


# The program.


def main(given: Sequence[str] | None = None) -> int:
    """Prune from the command line; returns the exit code."""
    chosen = arguments.parse("prune", given)
    quiet_tools()
    return program.run("prune", lambda: _told(prune(chosen.apply), chosen.list))


def _told(done: Pruned, is_listed: bool) -> str:
    listed = done.names if is_listed else {}
    names = [printable(f"{what}: {name}") for what, found in listed.items() for name in found if name]
    text = "\n".join([*names, done.text])
    if done.faults:
        raise UnfollowedError(text)
    return text


if __name__ == "__main__":
    sys.exit(main())
