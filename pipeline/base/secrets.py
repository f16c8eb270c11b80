"""What lets somebody in, and so is shown nowhere: users, passwords and keys in addresses and in variables."""

import os
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote, urlsplit

HIDDEN: Final = "***"
SHORTEST: Final = 6  # characters; a shorter value would be cut out of words
_WORD: Final = r"token|secret|passw(?:or)?d|pwd|signature|sig|credential|api_?key|access_?key|auth"
# http://user:password@host; a user alone is a key to some servers, and the name of a container in abfs://.
_USER: Final = re.compile(r"(https?://)[^/\s'\"]+@|(://)[^/\s'\"@]*:[^/\s'\"]+@", re.IGNORECASE)
_VALUE: Final = re.compile(rf"([?&;](?:[\w.-]*[_.-])?(?:{_WORD})(?:[_.-][\w.-]*)?=)[^&#;\s'\"]+", re.IGNORECASE)
_VARIABLE: Final = re.compile(
    r"PASSWORD$|PASSWD$|SECRET$|TOKEN$|AUTH_STRING$|SIGNING_KEY$|SECRET_KEY$|ACCESS_KEY(_ID)?$|ACCOUNT_KEY$|STORAGE_KEY$|SAS$|CONNECTION_STRING$",
    re.IGNORECASE,
)


def hidden(text: str) -> str:
    """A text without secrets.

    They are user and password in an address, the values of its query whose names say so, such as ``?token=``, and the
    values of variables of this process that hold a secret, such as ``MLFLOW_TRACKING_PASSWORD``.
    """
    for secret in _values():
        if secret in text:
            text = text.replace(secret, HIDDEN)
    if "://" not in text:
        return text
    return _VALUE.sub(rf"\1{HIDDEN}", _USER.sub(r"\1\2", text))


def _values() -> Iterator[str]:
    """The values of variables that hold secrets, the longest first, each as it is spelt and as it is meant."""
    found: set[str] = set()
    for name, value in os.environ.items():
        if _VARIABLE.search(name):
            found |= {line for line in value.splitlines() if not line.startswith("-----")}  # of a PEM
            found.add(value.partition(":")[2])  # of user:secret
        elif "://" in value and "@" in value:
            found |= _passwords(value)
    yield from sorted((each for each in found if len(each) >= SHORTEST), key=len, reverse=True)


def _passwords(address: str) -> set[str]:
    try:
        written = urlsplit(address).password or ""
    except ValueError:  # no address after all
        return set()
    return {written, unquote(written)}
