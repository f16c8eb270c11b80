"""Who is logged in: the secret that the page asks for, sessions, and a limit on guesses.

The secret comes from FLOWSCULPT_TRIAGE_SECRET, or else from ``.triage/secret``, which the first start makes and which
nobody but its owner can read. Everybody who knows it may mark alerts under the name that they give. Sessions are kept
in memory: a new start of the page asks everybody to log in again.
"""

import os
import secrets
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Final

from pipeline.base.errors import ConfigError

VARIABLE: Final = "FLOWSCULPT_TRIAGE_SECRET"
FILE: Final = Path(".triage") / "secret"
SHORTEST: Final = 12  # characters of a secret
IDLE: Final = 12 * 3600.0  # seconds after which an unused session ends
MOST_SESSIONS: Final = 200
GUESSES, WITHIN = 5, 60.0  # wrong secrets of one guesser that are heard in so many seconds
MOST_GUESSERS: Final = 1_000  # that are remembered; those who guessed last
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
Clock = Callable[[], float]


def secret() -> str:
    """The secret of this project's page, which the first call makes.

    Raises:
        ConfigError: it is too short, or others can read it.
    """
    given = os.environ.get(VARIABLE)
    if given is not None:
        return _long_enough(given.strip(), VARIABLE)
    if not FILE.exists():
        _make(FILE, secrets.token_urlsafe(24))
    if FILE.stat().st_mode & _OTHERS:
        raise ConfigError(
            f"{FILE}: other users can read the secret; delete the file, and the next start makes a new one (or run "
            f"`chmod 600 {FILE}` if nobody has read it)"
        )
    return _long_enough(FILE.read_text(encoding="utf-8").strip(), str(FILE))


def _long_enough(text: str, where: str) -> str:
    if len(text) < SHORTEST:
        raise ConfigError(f"{where}: a secret has at least {SHORTEST} characters, given {len(text)}")
    return text


def _make(path: Path, text: str) -> None:
    """Write a file that only its owner can read; where another process was first, what it wrote stays."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{text}\n")
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink(missing_ok=True)


@dataclass
class Session:
    """One person in one browser.

    Attributes:
        name: that their marks are written under.
        csrf: what each form of theirs holds, so that no other page can send it.
        used: when it was used last.
        said: messages that the next page shows.
        last: the records that they marked last, which one click takes back.
    """

    name: str
    csrf: str
    used: float
    said: list[tuple[str, str]] = field(default_factory=list)
    last: tuple[int, ...] = ()

    def messages(self) -> list[tuple[str, str]]:
        """What is to be shown, once: tone and sentence."""
        found, self.said = self.said, []
        return found


class Sessions:
    """All sessions, and the guesses at the secret.

    Wrong guesses are counted for each guesser alone, so nobody locks out another one.
    """

    def __init__(self, secret: str, clock: Clock = time.monotonic) -> None:
        self._secret, self._clock = sha256(secret.encode()).digest(), clock
        self._lock = threading.Lock()
        self._open: dict[str, Session] = {}
        self._wrong: dict[str, list[float]] = {}  # guesser -> when

    def guesser(self, key: str, address: str) -> str:
        """Whom a wrong guess is counted for: a browser with an open session itself, any other one its address.

        Args:
            key: in the cookie of the browser.
            address: of its machine. A machine can have a whole IPv6 network of 64 bits, so that counts as one.
        """
        if self.find(key):
            return key
        try:
            found = ip_address(address)
        except ValueError:  # there is none, as where a socket of this machine asks
            return address
        return address if found.version == 4 else str(ip_network((found, 64), strict=False))

    def wait(self, guesser: str) -> float:
        """Seconds until the next guess of a guesser is heard; 0 for at once."""
        with self._lock:
            last = self._last(guesser)
            return 0.0 if len(last) < GUESSES else WITHIN - (self._clock() - last[0])

    def _last(self, guesser: str) -> list[float]:
        now = self._clock()
        return [when for when in self._wrong.get(guesser, ()) if now - when < WITHIN]

    def start(self, name: str, guess: str, guesser: str) -> str | None:
        """The key of a new session, None where the secret is wrong; ask ``wait`` before."""
        if not secrets.compare_digest(sha256(guess.encode()).digest(), self._secret):
            with self._lock:
                last = self._last(guesser)
                self._wrong.pop(guesser, None)
                self._wrong[guesser] = [*last, self._clock()]  # the dict is in the order of the last guesses
                if len(self._wrong) > MOST_GUESSERS:
                    del self._wrong[next(iter(self._wrong))]
            return None
        key, now = secrets.token_urlsafe(32), self._clock()
        with self._lock:
            live = sorted(self._open.items(), key=lambda item: item[1].used)[-(MOST_SESSIONS - 1) :]
            self._open = {each: session for each, session in live if now - session.used < IDLE}
            self._open[key] = Session(name, secrets.token_urlsafe(32), now)
        return key

    def find(self, key: str) -> Session | None:
        """The session that a cookie names; None where there is none or it was idle for too long."""
        with self._lock:
            found, now = self._open.get(key), self._clock()
            if found is None or now - found.used >= IDLE:
                self._open.pop(key, None)
                return None
            found.used = now
            return found

    def end(self, key: str) -> None:
        """Log out."""
        with self._lock:
            self._open.pop(key, None)
