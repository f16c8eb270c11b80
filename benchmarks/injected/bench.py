"""A place where an operation is disturbed: a fresh copy of its project each time, and what it left is judged."""

import importlib
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.injected import children
from benchmarks.injected.children import DONE, TRACEBACK, Ended
from benchmarks.injected.operations import REFUSED as UNREADABLE
from benchmarks.injected.operations import Operation, named

Units = dict[str, str]
LASTING: Final = (".lock", ".torn", "delivery.lock")  # ends of names that may be left: locks, lines put aside


@dataclass
class Found:
    """What a trial came to: no fault means that it held."""

    ended: Ended
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Trial:
    """A fault and what it came to.

    Attributes:
        kind: the system call, or what else was done to the operation.
        fault: which one, in words.
        found: how it ended, and what is wrong behind it.
    """

    kind: str
    fault: str
    found: Found


class Bench:
    """An operation and its project, in a folder.

    Args:
        operation: that is disturbed.
        root: of this program; the project lies in ``work`` there, and at no other path, as MLflow stores paths.
    """

    def __init__(self, operation: Operation, root: Path) -> None:
        self.operation, self.root = operation, root
        self.work, self.log = root / "work", root / "strace.log"
        self.template = root / "worlds" / f"{operation.world.__module__}.{operation.world.__qualname__}"

    def fresh(self) -> None:
        """Put the project back to where it was before the operation."""
        clear(self.work)
        if not self.template.exists():
            self._make()
        shutil.copytree(self.template, self.work, symlinks=True, dirs_exist_ok=True)

    def _make(self) -> None:
        made = children.run(lambda: (self.operation.world(), _modules())[1], self.work)
        if made.end != DONE:
            raise SystemExit(f"{self.operation.name}: its project cannot be made: {made.said}")
        load(made.value)
        self.template.parent.mkdir(exist_ok=True)
        shutil.copytree(self.work, self.template, symlinks=True)
        clear(self.work)

    def prepare(self) -> None:
        """Run the operation in peace: what it changes, what it leaves, and what has to be imported for it."""
        self.fresh()
        self.before: Units = self._value(self.operation.look)
        seen: list[Units] = []
        for number in range(2):
            self.warm(self.operation.act)
            seen.append(self._value(self.operation.look))
            if not number:
                self._value(lambda: self._again() and None)  # as each trial ends with a repeat
                self.names = tidy(self.work)
                seen.append(self._value(self.operation.look))
        self.allowed = self.names | self._names_meanwhile()
        self.after = seen[1]
        if varies := [unit for unit in self.after if len({each.get(unit) for each in seen}) > 1]:
            raise SystemExit(f"{self.operation.name}: {', '.join(varies)} is never the same")

    def _names_meanwhile(self) -> set[str]:
        """The files behind what another process does at the same time, where one does something."""
        if self.operation.meanwhile is None:
            return set()
        self.warm(self.operation.meanwhile)
        return tidy(self.work)

    def warm(self, act: Callable[[], Any]) -> None:
        """Do something on a fresh copy, and import what that needs."""
        self.fresh()
        load(self._value(lambda: (act(), _modules())[1]))

    def _again(self) -> Any:
        return (self.operation.again or self.operation.act)()

    def _value(self, act: Callable[[], Any]) -> Any:
        ended = children.run(act, self.work)
        if ended.end != DONE:
            raise SystemExit(f"{self.operation.name}: fails when nobody disturbs it: {ended.said}")
        return ended.value

    def judged(self, ended: Ended, is_acknowledged: bool = True) -> Found:
        """What the operation left, once it has ended somehow: looked at, repeated in peace, and looked at again.

        Args:
            ended: how it did.
            is_acknowledged: whether what it said it had done must be there.
        """
        found = Found(ended)
        if ended.end == TRACEBACK:
            found.faults.append(f"no clear refusal: {ended.said.strip().splitlines()[-1]}")
        look = self.operation.look
        seen = children.run(lambda: [look(), self._again() and None, look()], self.work)
        if seen.end != DONE:
            found.faults.append(f"the next run fails: {seen.said.strip().splitlines()[-1:]}")
            left = children.run(look, self.work)
            found.faults += self._states(left.value if left.end == DONE else {}, ended, is_acknowledged)
            return found
        first, _, second = seen.value
        found.faults += self._states(first, ended, is_acknowledged)
        found.faults += [f"{unit} is not whole behind the next run" for unit in differ(second, self.after)]
        found.faults += self._orphans()
        return found

    def _states(self, units: Units, ended: Ended, is_acknowledged: bool) -> list[str]:
        if ended.end == DONE and is_acknowledged:
            promised = self.operation.promised
            lacks = [unit for unit in differ(units, self.after) if promised is None or unit in promised]
            if lacks or promised is None:
                return [f"{unit} is not there, though the run ended well" for unit in lacks]
        faults = []
        for unit in sorted({*units, *self.before, *self.after}):
            value = units.get(unit, "absent")
            is_known = value in (self.before.get(unit, "absent"), self.after.get(unit, "absent"))
            is_refused = unit in self.operation.may_be_refused and value.startswith(UNREADABLE)
            if not is_known and not is_refused:
                faults.append(f"{unit} is neither the old nor the new ({value})")
        return faults

    def _orphans(self) -> list[str]:
        left = tidy(self.work)
        found = [f"{name} is left" for name in sorted(left - self.allowed)]
        return found + [f"{name} is gone" for name in sorted(self.names - left)]


def differ(units: Units, wanted: Units) -> list[str]:
    """The units that are not as they should be."""
    return [unit for unit in sorted({*units, *wanted}) if units.get(unit) != wanted.get(unit)]


def tidy(folder: Path) -> set[str]:
    """The files of a project but for locks, torn lines and empty journals; ids and times in names are made alike."""
    paths = (path for path in folder.rglob("*") if path.is_file() or path.is_symlink())
    return {named(path.relative_to(folder)) for path in paths if not _may_stay(path)}


def _may_stay(path: Path) -> bool:
    """Locks, lines that were put aside, and a journal of SQLite that holds nothing: its next writer removes it."""
    return path.name.endswith(LASTING) or (path.name.endswith("-journal") and not path.stat().st_size)


def clear(folder: Path) -> None:
    """Empty a folder, which may be where something is mounted."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _modules() -> list[str]:
    import sys

    return list(sys.modules)


def load(names: Sequence[str]) -> None:
    """Import what a child had to import, so that later ones need not."""
    import gc
    import sys

    for name in [name for name in names if name not in sys.modules and not name.startswith("__")]:
        with suppress(Exception):
            importlib.import_module(name)
    gc.collect()
    gc.freeze()


def spread(found: Sequence[Any], most: int, random: Any) -> list[Any]:
    """All of them, or as many as are wanted, drawn in equal shares from each system call and in their order."""
    if len(found) <= most:
        return [*found]
    order = [*range(len(found))]
    random.shuffle(order)
    by_name = Counter(found[place].name for place in order)
    share = {name: max(1, round(most * count / len(found))) for name, count in by_name.items()}
    kept = []
    for place in order:
        if share[found[place].name]:
            share[found[place].name] -= 1
            kept.append(place)
    return [found[place] for place in sorted(kept[:most])]
