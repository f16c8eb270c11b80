"""Messages that wait for a sink, on the disk: one SQLite file for each sink, which any number of processes may use.

::

    data/scored/spool/SINK.sqlite      messages in their order; of those that were delivered, the key alone
    data/scored/spool/SINK.lock        held by the one process that delivers

A message is in the spool when ``put`` returns, whatever dies then: each transaction is flushed to the disk. A key is
taken once. So a file that is scored again, by the same model, adds nothing. What was delivered is forgotten after some
days, and so is its key.
"""

import fcntl
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from pipeline.base import durable
from pipeline.base.errors import ArtifactError
from pipeline.serving.alerts.sinks.base import Message

VERSION: Final = 1
PATIENCE: Final = 60.0  # seconds that a process waits for the transaction of another one
_CHUNK: Final = 5_000  # messages of a transaction
_DAY: Final = 86_400.0
_TABLES: Final = """
CREATE TABLE message (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    body TEXT,      -- null when it was delivered
    refusal TEXT,   -- why the receiver will never take it
    done REAL       -- when it was delivered or refused, in seconds since 1970
);
CREATE INDEX message_waiting ON message (number) WHERE body IS NOT NULL AND refusal IS NULL;
CREATE INDEX message_done ON message (done) WHERE done IS NOT NULL;
CREATE VIEW waiting AS SELECT number, key, body FROM message WHERE body IS NOT NULL AND refusal IS NULL;
CREATE TABLE held (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL UNIQUE,        -- a table of alerts that did not fit in
    is_gone INTEGER NOT NULL DEFAULT 0  -- 1 when it was removed before there was room
);
CREATE TABLE state (mark TEXT, fault TEXT, failures INTEGER, ask_at REAL, delivered INTEGER, swept REAL);
INSERT INTO state VALUES ('', '', 0, 0, 0, 0);
PRAGMA user_version = 1;
"""


class SpoolFullError(ArtifactError):
    """More messages wait for a sink than are allowed."""


class Waiting(NamedTuple):
    """A message and its number in the spool."""

    number: int
    message: Message


@dataclass(frozen=True)
class State:
    """Where a sink stands.

    Attributes:
        waiting: messages that are still to be delivered.
        delivered: messages that were, in all.
        refused: messages that the receiver will never take; they are kept.
        held: tables of alerts that did not fit in, in their order.
        gone: tables that did not fit in and were removed before there was room.
        mark: what the sink returned last.
        fault: why the last try failed; "" where it did not.
        failures: tries that failed since the last one that did not.
        ask_at: when the sink is to be tried again, in seconds since 1970.
    """

    waiting: int
    delivered: int
    refused: int
    held: tuple[str, ...]
    gone: tuple[str, ...]
    mark: str
    fault: str
    failures: int
    ask_at: float


class Spool:
    """The messages that wait for one sink.

    Args:
        folder: of all spools.
        name: of the sink.
        most: messages that may wait.

    Raises:
        ArtifactError: its file cannot be opened or is damaged; so do all methods.
    """

    def __init__(self, folder: Path, name: str, most: int) -> None:
        self.path, self.name, self.most = folder / f"{name}.sqlite", name, most
        durable.make_private(folder)
        with self._opened() as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if not version:
                self._create(database)
        if version > VERSION:
            raise ArtifactError(f"{self.path}: was written by a newer flowsculpt ({version}); update this one")

    def put(self, messages: Iterable[Message], source: str = "", is_refill: bool = False) -> bool:
        """Add messages whose keys are new, in their order; returns whether the spool knows all of them now.

        Args:
            messages: to add.
            source: the table that holds these alerts. Where there is no room, its name is noted down. Then nothing that
                comes later is taken either, so that the order stays.
            is_refill: whether they come from a table that was noted down.

        Raises:
            SpoolFullError: there is no room, and no ``source``.
        """
        rest = iter(messages)
        while chunk := [*islice(rest, _CHUNK)]:
            with self._opened() as database, _transaction(database):
                is_late = not is_refill and database.execute("SELECT 1 FROM held WHERE is_gone = 0").fetchone()
                fitting = [] if is_late else self._fitting(database, chunk)
                if len(fitting) < len(chunk) and not source:
                    raise SpoolFullError(
                        f"{self.path}: {self.most:,} messages wait for {self.name}, which is all that "
                        "alerts.sinks.most_waiting allows; it takes more when some are delivered"
                    )
                rows = [(each.key, each.to_json()) for each in fitting]
                database.executemany("INSERT OR IGNORE INTO message (key, body) VALUES (?, ?)", rows)
                if len(fitting) < len(chunk):
                    database.execute("INSERT OR IGNORE INTO held (source) VALUES (?)", (source,))
                    return False
        return True

    def _fitting(self, database: sqlite3.Connection, chunk: list[Message]) -> list[Message]:
        """The first messages of a chunk, up to the first new one that there is no room for."""
        room = self.most - _count(database)
        if len(chunk) <= room:
            return chunk
        for place, each in enumerate(chunk):
            is_new = not database.execute("SELECT 1 FROM message WHERE key = ?", (each.key,)).fetchone()
            if is_new and room <= 0:
                return chunk[:place]
            room -= is_new
        return chunk

    def next(self, most: int) -> list[Waiting]:
        """The first messages that wait."""
        with self._opened() as database:
            rows = database.execute("SELECT * FROM waiting ORDER BY number LIMIT ?", (most,)).fetchall()
        return [Waiting(number, Message.from_json(key, body)) for number, key, body in rows]

    def delivered(self, sent: Sequence[Waiting], mark: str) -> None:
        """Note that messages were delivered, and what the sink returned."""
        now = time.time()
        with self._opened() as database, _transaction(database):
            numbers = [(now, each.number) for each in sent]
            database.executemany("UPDATE message SET body = NULL, done = ? WHERE number = ?", numbers)
            database.execute(
                "UPDATE state SET mark = ?, fault = '', failures = 0, ask_at = 0, delivered = delivered + ?",
                (mark, len(sent)),
            )

    def refused(self, message: Waiting, reason: str) -> None:
        """Note that a receiver will never take a message; it is kept, and no longer waits."""
        with self._opened() as database, _transaction(database):
            database.execute(
                "UPDATE message SET refusal = ?, done = ? WHERE number = ?", (reason, time.time(), message.number)
            )

    def failed(self, fault: str, failures: int, ask_at: float) -> None:
        """Note that a try failed, and when the next one is due."""
        with self._opened() as database, _transaction(database):
            database.execute("UPDATE state SET fault = ?, failures = ?, ask_at = ?", (fault, failures, ask_at))

    def held(self) -> str | None:
        """The first table of alerts that did not fit in."""
        with self._opened() as database:
            found = database.execute("SELECT source FROM held WHERE is_gone = 0 ORDER BY number").fetchone()
        return found and str(found[0])

    def released(self, source: str, is_gone: bool = False) -> None:
        """Note that a table that did not fit in is in the spool as a whole, or that it is gone."""
        with self._opened() as database, _transaction(database):
            if is_gone:
                database.execute("UPDATE held SET is_gone = 1 WHERE source = ?", (source,))
            else:
                database.execute("DELETE FROM held WHERE source = ?", (source,))

    def ask_again(self) -> int:
        """Let those that were refused wait again; returns how many."""
        with self._opened() as database, _transaction(database):
            return database.execute("UPDATE message SET refusal = NULL, done = NULL WHERE refusal IS NOT NULL").rowcount

    def give_up(self) -> int:
        """Forget the messages that were refused and the tables that are gone; returns how many."""
        with self._opened() as database, _transaction(database):
            messages = database.execute(
                "UPDATE message SET body = NULL, refusal = NULL WHERE refusal IS NOT NULL"
            ).rowcount
            return messages + database.execute("DELETE FROM held WHERE is_gone = 1").rowcount

    def forget(self, days: int) -> None:
        """Forget the keys of messages that were delivered so many days ago; done once a day."""
        now = time.time()
        with self._opened() as database, _transaction(database):
            (swept,) = database.execute("SELECT swept FROM state").fetchone()
            if swept < now - _DAY:
                database.execute("DELETE FROM message WHERE done < ? AND body IS NULL", (now - days * _DAY,))
                database.execute("UPDATE state SET swept = ?", (now,))

    def state(self) -> State:
        """Where the sink stands."""
        with self._opened() as database:
            mark, fault, failures, ask_at, delivered, _ = database.execute("SELECT * FROM state").fetchone()
            (refused,) = database.execute("SELECT count(*) FROM message WHERE refusal IS NOT NULL").fetchone()
            tables = database.execute("SELECT source, is_gone FROM held ORDER BY number").fetchall()
            held = tuple(source for source, is_gone in tables if not is_gone)
            gone = tuple(source for source, is_gone in tables if is_gone)
            return State(_count(database), delivered, refused, held, gone, mark, fault, failures, ask_at)

    @contextmanager
    def alone(self) -> Iterator[bool]:
        """Hold the right to deliver, which one process has at a time; False where another one has it."""
        with durable.lock_file(self.path.with_suffix(".lock"), "free some space or check its rights") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def _create(self, database: sqlite3.Connection) -> None:
        with _transaction(database):
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if not version:  # another process may have been quicker
                for statement in _TABLES.split(";\n"):
                    database.execute(statement)
        durable.sync(self.path.parent)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)) as database:
                database.execute("PRAGMA synchronous = FULL")
                database.execute("PRAGMA journal_mode = TRUNCATE")
                yield database
        except sqlite3.Error as error:
            raise ArtifactError(
                f"{self.path}: cannot be used ({error}); free some space or check its rights; if it is damaged, move "
                "it away, and run `flowsculpt deliver --stored`"
            ) from error


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing; others that write wait."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if database.in_transaction:  # a full disk has ended it already
            database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def _count(database: sqlite3.Connection) -> int:
    (number,) = database.execute("SELECT count(*) FROM waiting").fetchone()
    return int(number)
