"""Which lines Arrow's reader of JSON can be given: some end the process instead of being refused.

It calls itself for each level, so that thousands of brackets overrun the stack. It also ends the process where the
first value of all is a bare ``null``, and takes a later one for a record.
"""

import re
from typing import Final

import numpy as np

MOST: Final = 100  # levels; a record of a sensor has three
_BARE: Final = re.compile(rb"\}\s*null")
_MARKS: Final = b"[]{}\n"
_OTHERS: Final = bytes(each for each in range(256) if each not in _MARKS)
_STEP: Final = np.zeros(256, dtype=np.int32)
_STEP[[*b"[{"]], _STEP[[*b"]}"]] = 1, -1


def can_take(lines: bytes) -> bool:
    """Whether Arrow's reader can be given these lines; if not, they are read one by one."""
    return lines[:100].lstrip().startswith(b"{") and not _BARE.search(lines) and not is_deep(lines)


def is_deep(lines: bytes) -> bool:
    """Whether they may have more than ``MOST`` levels, or a value of several lines; brackets in texts count, too."""
    marks = np.frombuffer(lines.translate(None, _OTHERS), dtype=np.uint8)
    level = np.cumsum(_STEP[marks])
    return bool(level.size and (level.max() > MOST or level[marks == ord("\n")].any()))
