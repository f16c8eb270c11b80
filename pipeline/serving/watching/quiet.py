"""How long files have been as they are, by a clock that nobody sets: that of the machine may go forwards and back."""

import os
import time
from collections.abc import Iterable


class Quiet:
    """Remembers when each file was seen first as it is now, by its inode."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[tuple[int, int], float]] = {}  # size and time of the last change, and since when

    def look(self, files: Iterable[os.stat_result]) -> None:
        """Look at all files that there are; others are forgotten."""
        now = {each.st_ino: each for each in files}
        for each in now.values():
            self.seconds(each)
        self._seen = {inode: self._seen[inode] for inode in now}

    def seconds(self, file: os.stat_result) -> float:
        """For how long a file was seen as it is; 0 where it has changed since the last look."""
        stamp, (known, since) = (file.st_size, file.st_mtime_ns), self._seen.get(file.st_ino, (None, 0.0))
        if stamp != known:
            since = time.monotonic()
            self._seen[file.st_ino] = stamp, since
        return time.monotonic() - since
