"""One input, read as a user's is read."""

import time
from pathlib import Path
from typing import Final

from benchmarks.fuzz.kinds import Kind
from pipeline.base.errors import FlowsculptError, MachineError

LONGEST: Final = 20.0  # seconds


def take(kind: Kind, content: bytes, folder: Path) -> str:
    """Read an input as a user's is read; returns ``taken`` or ``refused``.

    Raises:
        Exception: whatever is not a refusal in words.
    """
    path = folder / f"odd{kind.suffix}"
    path.write_bytes(content)
    began = time.monotonic()
    try:
        kind.take(path)
        return "taken"
    except MachineError:
        raise
    except FlowsculptError as error:
        assert str(error), "a refusal without a reason"
        return "refused"
    finally:
        assert time.monotonic() - began < LONGEST, f"took more than {LONGEST:g} s"
