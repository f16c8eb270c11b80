"""The one door to logging: a message is one line, whatever it quotes, and has no character that is not printable."""

import logging
import traceback
from typing import Any

from pipeline.base.escaping import lines, printable


class Log(logging.LoggerAdapter[Any]):
    """Writes to a logger, or to another adapter, messages that are safe; a traceback below one is lines."""

    def log(self, level: int, msg: object, *args: object, **given: Any) -> None:
        """See ``logging.Logger.log``."""
        if not self.isEnabledFor(level):
            return
        text = printable(str(msg) % args if args else str(msg))
        if given.pop("exc_info", None):
            text = f"{text}\n{lines(traceback.format_exc().rstrip())}"
        given["stacklevel"] = given.get("stacklevel", 1) + 1
        self.logger.log(level, "%s", text, **given)


def log(name: str) -> Log:
    """The log of a module, or of the whole program."""
    return Log(logging.getLogger(name))
