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
_PART: Final = r"[^/\s'\"?#]{1,300}"
_USER: Final = re.compile(rf"(https?://){_PART}@|(://)[^/\s'\"?#@:]{{0,100}}:{_PART}@", re.IGNORECASE)
_VALUE: Final = re.compile(
    rf"([?&;](?:[\w.-]{{0,40}}[_.-])?(?:{_WORD})(?:[_.-][\w.-]{{0,40}})?=)[^&#;\s'\"]+", re.IGNORECASE
)
_VARIABLE: Final = re.compile(
    r"(PASSWORD|PASSWD|PASSPHRASE|PWD|SECRET|TOKEN|AUTH_STRING|(SIGNING|SECRET|ACCESS|ACCOUNT|STORAGE|API|PRIVATE)_?KEY"
    r"|ACCESS_KEY_ID|SAS|CONNECTION_STRING)$",
    re.IGNORECASE,
)
_FOLDERS: Final = ("PWD", "OLDPWD")  # of a shell
_PAIR: Final = re.compile(r"(?:key|signature|password|secret)=([^;]+)", re.IGNORECASE)  # of a connection string


def hidden(text: str) -> str:
    """A text without secrets.

    They are user and password in an address, the values of its query whose names say so, such as ``?token=``, and the
    values of variables of this process that hold a secret, such as ``MLFLOW_TRACKING_PASSWORD``.
    """
    for secret in _values():
        if secret in text:  # as a word of its own: "training" stays, though somebody has a token "train"
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", HIDDEN, text)
    if "://" not in text:
        return text
    return _VALUE.sub(rf"\1{HIDDEN}", _USER.sub(r"\1\2", text))


def _values() -> Iterator[str]:
    """The values of variables that hold secrets, the longest first, each as it is spelt and as it is meant."""
    found: set[str] = set()
    for name, value in os.environ.items():
        if _VARIABLE.search(name) and name not in _FOLDERS:
            found |= {line for line in value.splitlines() if not line.startswith("-----")}  # of a PEM
            found |= {value.partition(":")[2], *_PAIR.findall(value)}  # of user:secret, and of a connection string
        elif "://" in value and "@" in value:
            found |= _of_address(value)
    yield from sorted((each for each in found if len(each) >= SHORTEST), key=len, reverse=True)


def _of_address(address: str) -> set[str]:
    """Its password; its user, where that is all, as some servers take a token there."""
    try:
        parts = urlsplit(address)
        written = parts.password or (parts.username if parts.scheme.startswith("http") else "") or ""
    except ValueError:  # no address after all
        return set()
    return {written, unquote(written)}
