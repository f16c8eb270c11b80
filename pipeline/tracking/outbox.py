"""The one door for whatever is written to the store: at once, or kept while its server does not answer.

::

    python -m pipeline.tracking      deliver what is kept, and say what is left

A store that is a file is written to directly. Where it is a server that does not answer, what can be made up for later
is kept in ``mlflow.outbox/`` in the project root and the stage goes on; it is delivered in order before the next write
that gets through, and when a stage or its parent opens or closes. Metrics keep the time at which they were logged.
What is delivered twice, because a process was killed in between, stands in the store once.
"""

import errno
import math
import re
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pipeline.base import escaping
from pipeline.base.errors import FlowsculptError
from pipeline.tracking import operations, store
from pipeline.tracking.journal import Journal
from pipeline.tracking.operations import Call, Operation

T = TypeVar("T")

FOLDER = "mlflow.outbox"
SHORTEST_PAUSE, LONGEST_PAUSE = 2.0, 60.0
SECONDS_FOR_BACKLOG = 2.0
REFUSALS = (
    "INVALID_PARAMETER_VALUE",
    "RESOURCE_DOES_NOT_EXIST",
    "RESOURCE_ALREADY_EXISTS",
    "INVALID_STATE",
    "BAD_REQUEST",
)
MAY_PASS = (401, 403, 404, 405, 407, 408, 423, 425, 429)  # log in, or come later; or it is another server that answers
UNFIT = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG)  # no file that could ever be read

_log = escaping.log(__name__)


class ServerUnavailableError(FlowsculptError):
    """The server does not answer."""


class Outbox:
    """Operations for a server, applied at once where it answers and kept where it does not.

    A server that did not answer is not asked again for a while, twice as long each time: so an outage costs a training
    a second or two now and then, however long a call takes to fail.

    Args:
        folder: where operations are kept.
        apply: does what an operation says; does no harm when it is called twice.
        address: of the server, for messages.
    """

    def __init__(self, folder: Path, apply: Callable[[Operation], Any], address: str = "") -> None:
        self.journal = Journal(folder)
        self._apply, self._address = apply, address
        self._away, self._pause, self._ask_at = False, 0.0, -math.inf

    def write(self, operation: Operation) -> Any:
        """Apply an operation behind all those that wait, or keep it.

        Returns:
            What ``apply`` returns, or None where it was kept.

        Raises:
            Exception: the server answers and refuses the operation.
        """
        try:
            if time.monotonic() < self._ask_at or self._backlog():
                raise ServerUnavailableError
            return self._tried(lambda: self._apply(operation))
        except ServerUnavailableError:
            self.journal.append(operation)
            return None

    def ask(self, question: Callable[[], T], otherwise: T) -> T:
        """What the server answers, or ``otherwise`` while it does not."""
        try:
            return otherwise if time.monotonic() < self._ask_at else self._tried(question)
        except ServerUnavailableError:
            return otherwise

    def deliver(self, seconds: float = math.inf, wait: bool = True) -> int:
        """Apply what waits, in order.

        Args:
            seconds: for how long at most.
            wait: for another process that is at it, or leave it to that one.

        Returns:
            How many operations are left.
        """
        deadline = time.monotonic() + seconds
        if self.journal.empty:
            return 0
        with self.journal.alone(wait) as alone:
            while waiting := self.journal.pending():
                if not alone:
                    return len(waiting)
                for i, operation in enumerate(waiting):
                    if time.monotonic() > deadline or not self._delivered(operation):
                        return len(waiting) - i
        return 0

    def _backlog(self) -> int:
        return 0 if self.journal.empty else self.deliver(SECONDS_FOR_BACKLOG, wait=False)

    def _delivered(self, operation: Operation) -> bool:
        """Apply an operation that waits; one that the server refuses must not hold up those behind it."""
        try:
            self._tried(lambda: self._apply(operation))
        except ServerUnavailableError:
            return False
        except Exception as error:
            reason = store.redact(f"{type(error).__name__}: {error}")
            if not is_refusal(error):
                _log.warning("what is kept in %s does not reach %s now: %s", self.journal.folder, self._address, reason)
                self._fall_silent()
                return False
            self.journal.refuse(operation, reason)
            _log.warning("refused, see %s: %s: %s", self.journal.folder / "refused.jsonl", operation["call"], reason)
        else:
            self.journal.done(operation)
        return True

    def _tried(self, attempt: Callable[[], T]) -> T:
        try:
            answer = attempt()
        except Exception as error:
            if not is_transient(error):
                raise
            self._fall_silent()
            raise ServerUnavailableError(store.redact(str(error))) from error
        if self._away:
            _log.warning("%s answers again", self._address)
        self._away, self._pause, self._ask_at = False, 0.0, -math.inf
        return answer

    def _fall_silent(self) -> None:
        if not self._away:
            _log.warning("%s does not answer: what is logged is kept in %s", self._address, self.journal.folder)
        self._away, self._pause = True, min(max(SHORTEST_PAUSE, 2 * self._pause), LONGEST_PAUSE)
        self._ask_at = time.monotonic() + self._pause


def is_transient(error: BaseException | None) -> bool:
    """Whether an error says that the server is away, overloaded or broken for now; MLflow wraps it in its own."""
    import requests

    if error is None or isinstance(error, requests.exceptions.SSLError):
        return False
    if isinstance(error, requests.ConnectionError | requests.Timeout | requests.exceptions.RetryError):
        return True
    if isinstance(error, requests.exceptions.ChunkedEncodingError | ConnectionError | TimeoutError):
        return True
    return type(error).__module__ == "mlflow.exceptions" and is_transient(error.__cause__ or error.__context__)


def is_refusal(error: Exception) -> bool:
    """Whether an error is about what was written.

    Others are about who wrote it or where to (a password, an address, a certificate, a store of files), or about this
    machine's disk.
    """
    import requests

    if type(error).__module__ == "mlflow.exceptions":
        return getattr(error, "error_code", "") in REFUSALS
    if isinstance(error, requests.RequestException):
        response = error.response
        return response is not None and 400 <= response.status_code < 500 and response.status_code not in MAY_PASS
    if isinstance(error, OSError):
        return error.errno in UNFIT or isinstance(error, FileNotFoundError)
    return isinstance(error, ValueError | TypeError | LookupError | AttributeError)


# The door.


def write(call: Call, run: str, **arguments: Any) -> Any:
    """Write to a run of this project's store.

    Args:
        call: what to do, see ``operations``.
        run: its id in the store, or the key that it was opened under.
        arguments: of the call; credentials of the store are cut out of them.
    """
    operation = {"call": call, "run": run, **{name: _redacted(value) for name, value in arguments.items()}}
    return _outbox().write(operation) if store.is_server() else operations.apply(operation)


def ask(question: Callable[[], T], otherwise: T) -> T:
    """What the store answers, or ``otherwise`` while it does not."""
    return _outbox().ask(question, otherwise) if store.is_server() else question()


def deliver() -> int:
    """Deliver what is kept for the store of this project; returns how much is left."""
    return _outbox().deliver() if store.is_server() else 0


def _outbox() -> Outbox:
    uri = store.tracking_uri()
    return _outbox_of(uri, store.project_root() / FOLDER / re.sub(r"\W+", "_", uri.partition("://")[2]).strip("_"))


@cache
def _outbox_of(uri: str, folder: Path) -> Outbox:
    return Outbox(folder, operations.apply, uri)


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return store.redact(value)
    if isinstance(value, dict):
        return {name: _redacted(each) for name, each in value.items()}
    return [_redacted(each) for each in value] if isinstance(value, list | tuple) else value
