"""How programs log: text for people, or one JSON object a line where ``FLOWSCULPT_LOG_FORMAT`` is ``json``.

It holds for warnings of this project, for the logs of flow runs on the terminal of a worker, and for the worker itself.
The watch logs JSON in any case. What a command prints as its answer stays text.
"""

import json
import logging
import os
from datetime import UTC, datetime
from typing import Any, Final

VARIABLE: Final = "FLOWSCULPT_LOG_FORMAT"
_OF_PREFECT: Final = {  # read by Prefect when it is imported
    "PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER": "json",
    "PREFECT_LOGGING_FORMATTERS_JSON_CLASS": "flows.runtime.logs.JsonFormatter",
    "PREFECT_LOGGING_COLORS": "false",
    "PREFECT_LOGGING_MARKUP": "false",
}
_RUN: Final = ("flow_name", "flow_run_name", "flow_run_id", "task_run_name")  # of a log record of Prefect


class JsonFormatter(logging.Formatter):
    """A record as one JSON object: time, level, logger, message, and the run that it belongs to."""

    def __init__(self, *_: object) -> None:  # Prefect gives a format, which is none of logging's
        super().__init__()

    def format(self, record: logging.LogRecord) -> str:
        """See ``logging.Formatter.format``."""
        told = {"time": _time(record.created), "level": record.levelname.lower(), "logger": record.name}
        run = {name: str(value) for name in _RUN if (value := getattr(record, name, None)) is not None}
        trace = self.formatException(record.exc_info) if record.exc_info else record.exc_text
        return json.dumps({**told, "message": record.getMessage(), **run, **({"traceback": trace} if trace else {})})


def prepare() -> None:
    """Have this process, and those that it starts, log as the variable says."""
    if is_json():
        for name, value in _OF_PREFECT.items():
            os.environ.setdefault(name, value)
        if logging.lastResort is not None:  # what no other handler takes goes here
            logging.lastResort.setFormatter(JsonFormatter())


def is_json() -> bool:
    """Whether logs are JSON."""
    return os.environ.get(VARIABLE, "").strip().lower() == "json"


def say(program: str, text: str) -> None:
    """Print what a program that runs for long has to say."""
    line: dict[str, Any] = {"time": _time(datetime.now(UTC).timestamp()), "level": "info", "logger": program}
    print(json.dumps({**line, "message": text}) if is_json() else f"{program}: {text}", flush=True)


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
