"""The door for files of others: limits hold for all of them, and a process of its own reads them; see ``Files``."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from pipeline import config
from pipeline.base import limits
from pipeline.datasets.apart.reader import Apart
from pipeline.serving import reading
from pipeline.settings.files import Files


@contextmanager
def opened(files: Files | None = None) -> Iterator[None]:
    """Let ``reading`` keep to the settings; the process gets ready while this one goes on.

    Args:
        files: the settings; None: those of ``params.yaml``.
    """
    files = config.load(Files) if files is None else files
    with limits.holding(files.limits()):
        if not files.apart:
            yield
            return
        with closing(Apart(files.memory, files.seconds)) as apart, reading.by(apart):
            yield
