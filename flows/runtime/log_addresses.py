"""The log of the Prefect server names the host of an address and no more of it.

The address of a webhook is a secret, as whoever has it can send to it. Where a call of it fails, the message of httpx
holds the whole address, and Prefect logs that message with its traceback.
"""

import logging
import re
import traceback
from typing import Any, Final

from pipeline.base.secrets import HIDDEN, hidden

_ADDRESS: Final = re.compile(r"([a-z][a-z0-9+.-]*://)(?:[^\s/?#]*@)?([^\s/?#@'\"]*)(\S*)", re.IGNORECASE)


def short(text: str) -> str:
    """A text whose addresses end with their hosts."""
    if "://" not in text:
        return text
    return hidden(_ADDRESS.sub(lambda found: f"{found[1]}{found[2]}{_rest(found[3])}", text))


def _rest(path: str) -> str:
    return f"/{HIDDEN}" if path.strip("/'\").,:;>]}") else path


class ShortRecord(logging.LogRecord):
    """What is logged, with short addresses in the message and in the traceback.

    A record is made so from the start, and it does not matter which handlers there are, or come later.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        if self.exc_info and self.exc_info[1]:
            self.exc_text = short("".join(traceback.format_exception(*self.exc_info)).rstrip("\n"))
            self.exc_info = None  # a formatter takes the text where there is one

    def getMessage(self) -> str:  # noqa: N802 (its name in logging)
        """See ``logging.LogRecord.getMessage``."""
        return short(super().getMessage())
