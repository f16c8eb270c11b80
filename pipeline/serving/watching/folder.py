"""The whole files of a folder, each judged once: a file that still grows is left alone.

A file is whole when no process of this machine has it open to write, and it has not changed for some seconds. So of a
ring of captures the one that is written is left, and the closed ones are read. Which files were judged before is known
by their content, whatever they are called; see ``intake``.
"""

import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

from pipeline.base.errors import SourceError
from pipeline.serving import arrivals, intake
from pipeline.serving.intake import Claimed, Left, Outcome
from pipeline.serving.watching.stretch import Model

Stamp = tuple[int, int, int]
RETRY: Final = (
    60.0  # seconds until a file is tried again that could not be scored through no fault of its own, or is claimed
)


class Folder:
    """A folder that files come into.

    Args:
        path: of the folder.
        settle: seconds without a change after which a file is whole.
        growing: names of logs that are read as they grow; these, and what becomes of them, are passed over.
    """

    def __init__(self, path: Path, settle: float, growing: Collection[str]) -> None:
        self.path, self.settle = path, settle
        self._stems = tuple(name.partition(".")[0].lower() for name in growing)
        self._done: dict[Path, Stamp] = {}
        self._tried: dict[Path, float] = {}  # when a file could not be scored
        self.waiting = 0

    def next(self) -> Path | None:
        """The oldest file that is whole and is to be judged now, None where there is none.

        Raises:
            SourceError: the folder is gone.
        """
        found = [(path, stamp) for path in self._listed() if (stamp := _stamp(path)) and self._done.get(path) != stamp]
        self.waiting = len(found)
        due = [(path, stamp) for path, stamp in found if self._is_due(path) and self._is_quiet(stamp)]
        whole = [(stamp[1], path) for path, stamp in due if not arrivals.is_growing(path)]
        return min(whole)[1] if whole else None

    def judge(self, path: Path, model: Model) -> Outcome:
        """What becomes of a file that ``next`` gave; see ``intake``."""
        stamp = _stamp(path)

        def score(file: arrivals.Incoming) -> Outcome:
            return intake.score(file, model.bundle, model.number, rules=model.contract, alerts=model.alerts)

        done = intake.take_in(path, self.path, model.number, score, waits=False)
        if isinstance(done, Exception | Claimed):
            self._tried[path] = time.monotonic()
        elif stamp is not None and not isinstance(done, Left):
            self._done[path] = stamp
        return done

    def _listed(self) -> list[Path]:
        listed = arrivals.listed(self.path)
        self._done = {path: stamp for path, stamp in self._done.items() if path.exists()}
        self._tried = {path: when for path, when in self._tried.items() if path.exists()}
        return [path for path in listed if not self._is_log(path)]

    def _is_log(self, path: Path) -> bool:
        """Whether a file is a log that is read as it grows, or was one before it was rotated."""
        stem, dot, _ = path.name.lower().partition(".")
        return any(stem == each or stem.startswith(f"{each}-") for each in self._stems) and bool(dot)

    def _is_due(self, path: Path) -> bool:
        return path not in self._tried or time.monotonic() - self._tried[path] >= RETRY

    def _is_quiet(self, stamp: Stamp) -> bool:
        return not 0 <= time.time() - stamp[1] / 1e9 < self.settle


def _stamp(path: Path) -> Stamp | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def require(path: Path) -> None:
    """Refuse what is no folder.

    Raises:
        SourceError: it is absent or a file.
    """
    if not path.is_dir():
        raise SourceError(f"{path}: is no folder; name a folder, a log that grows, or - for standard input")
