"""Files that came in and cannot be scored: each is moved out of the way, with its reason beside it.

::

    data/quarantine/SHA256-NAME         the file as it came
    data/quarantine/SHA256-NAME.json    when, why, its sha256, and the version of the model that was to judge it

Only what lies in ``data/incoming`` or ``data/watch`` is moved: whatever else is named is not ours to move. It stays,
and is known.

The reason is written first. A process that is killed in between leaves the file where it was; the next run knows its
content and moves it then. To have a file tried again by the same version, remove its ``.json`` and put the file back.
Only this user may enter the folder: records are private. A model that has a name of its own has a folder of its own,
see ``own_model``.
"""

import errno
import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, sha256_of, write_json
from pipeline.base import durable
from pipeline.base.errors import ArtifactError, ConflictError
from pipeline.base.escaping import printable
from pipeline.serving import own_model
from pipeline.serving.counts import counted

REMEDY: Final = "free some space or check the rights of the folder, then score again"
LONGEST: Final = 100  # characters of a name that are kept
NAMED: Final = 3  # files that a sentence about many of them names


@dataclass(frozen=True)
class Held:
    """A file that is in quarantine.

    Attributes:
        source: its name as it came.
        sha256: of its bytes.
        version: number of the model version that was to judge it.
        reason: why it cannot be scored.
        time: when that was found.
        path: where it lies now.
        stays: why it could not be moved there, "" where it was.
    """

    source: str
    sha256: str
    version: int
    reason: str
    time: str
    path: str
    stays: str = ""

    @property
    def sentence(self) -> str:
        """The name of the file and the reason, which may begin with that name."""
        return f"{self.source}: {self.reason.removeprefix(f'{self.source}: ')}"


def put(path: Path, name: str, sha256: str, version: int, reason: str, time: str = "") -> Held:
    """Move a file into quarantine, for good; one that cannot be moved stays, and its content is known from now on.

    Args:
        path: where it lies.
        name: what it was called where it came in.
        sha256: of its bytes.
        version: number of the model version that was to judge it.
        reason: why it cannot be scored.
        time: when that was found; "" for now.

    Raises:
        ConflictError: it changed meanwhile, and stays where it is, or it is gone.
        ArtifactError: the reason cannot be written; the file stays where it is.
    """
    durable.make_private(own_model.quarantine())
    target = own_model.quarantine() / f"{sha256}-{re.sub(r'[^A-Za-z0-9.+_]+', '-', name)[-LONGEST:]}"
    about = target.with_name(f"{target.name}.json")
    held = Held(printable(name), sha256, version, printable(reason), time or now(), target.as_posix())
    write_json(about, asdict(held))
    try:
        _move(path, target, sha256)
    except ConflictError:
        about.unlink(missing_ok=True)
        raise
    except OSError as error:
        if target.exists() and not path.exists():
            return held  # another run of this moved it
        place = printable(path.as_posix())
        held = Held(**asdict(held) | {"path": place, "stays": str(error.strerror or error)})
        write_json(about, asdict(held))
    return held


def in_words(held: Sequence[Held], most: int = NAMED) -> str:
    """How many files are in quarantine, and why; ``most`` of them are named."""
    named = [each.sentence for each in held[:most]]
    more = [f"and {len(held) - most:,} more"] if len(held) > most else []
    return "; ".join([f"{counted(len(held), 'file')} cannot be scored", *named, *more])


def now() -> str:
    """The time, as ``Held`` has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def known(sha256: str, version: int) -> Held | None:
    """What was found when this version met this content before; None if it did not, or could score it."""
    for about in own_model.quarantine().glob(f"{sha256}-*.json"):
        with suppress(ArtifactError, TypeError):  # a file that is damaged tells nothing
            held = Held(**read_json(about))
            if (held.sha256, held.version) == (sha256, version):
                return held
    return None


def _move(path: Path, target: Path, sha256: str) -> None:
    """Raises OSError where it cannot be moved, ConflictError where it is no longer what it was."""
    if path.is_symlink():
        raise OSError(errno.EMLINK, "it is a link")
    if not any(path.resolve().is_relative_to(folder.resolve()) for folder in (paths.INCOMING, paths.WATCH)):
        raise OSError(errno.EPERM, f"it does not lie in {paths.INCOMING}")
    try:
        durable.publish(path, target)
        durable.sync(path.parent)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _move_across(path, target, sha256)
    if sha256_of(target) != sha256:
        _put_back(target, path)
        raise ConflictError(f"{path}: changed while it was looked at")


def _move_across(path: Path, target: Path, sha256: str) -> None:
    """From another file system."""
    with durable.atomic(target, REMEDY) as temporary:
        shutil.copyfile(path, temporary)
    if sha256_of(target) == sha256_of(path) == sha256:
        path.unlink()
        durable.sync(path.parent)


def _put_back(target: Path, path: Path) -> None:
    """Unless a newer one has taken its name by now."""
    try:
        os.link(target, path)  # never overwrites
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        if not path.exists():
            durable.publish(target, path)
            return
    target.unlink()
