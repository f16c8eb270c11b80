"""The public keys whose signatures count here, ``data/trusted_keys.json``; to be carried to each machine that scores.

::

    {"keys": [{"name": ..., "keyid": ..., "public": ..., "since": ..., "promotes": true, "retired": null}]}

A key that does not promote signs models and no decision, so a machine that only trains lets no version serve.
``keyid`` is the sha256 of the 32 bytes of the public key, in hexadecimal digits; ``public`` is these bytes in base64. A
key that is retired names what it signed before: the versions that served, each with the number of the decision that
made it serve last. Those stay valid, and nothing else does.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json, write_json
from pipeline.base.errors import ArtifactError, TrustError, near_miss
from pipeline.base.escaping import printable
from pipeline.tracking import store

SHORTEST: Final = 8  # digits that name a key


class Served(NamedTuple):
    """A version that was made to serve, and the number of the decision that did it last; 0: before any was signed."""

    model: str
    number: int
    digest: str
    sequence: int


@dataclass(frozen=True)
class Retired:
    """When a key was retired, and what it signed before that."""

    time: str
    keeps: tuple[Served, ...]


@dataclass(frozen=True)
class TrustedKey:
    """A public key.

    Attributes:
        name: what people call it.
        public: its 32 bytes.
        since: when it was trusted first.
        retired: None for one that is in use.
        promotes: whether its decisions count; its models always do.
    """

    name: str
    public: bytes
    since: str
    retired: Retired | None = None
    promotes: bool = True

    @cached_property
    def keyid(self) -> str:
        """sha256 of the public key, in hexadecimal digits."""
        return keyid_of(self.public)

    def verifies(self, signature: bytes, content: bytes) -> bool:
        """Whether this key has signed a content."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, content)
        except (InvalidSignature, ValueError):
            return False
        return True


def keyid_of(public: bytes) -> str:
    """What a public key is called."""
    return hashlib.sha256(public).hexdigest()


def place() -> Path:
    """Where the keys stand."""
    return store.project_root() / paths.TRUSTED_KEYS


def load() -> list[TrustedKey]:
    """All keys that are or were trusted; none where there is no such file.

    Raises:
        TrustError: the file is not what ``save`` writes.
    """
    if not place().is_file():
        return []
    try:
        return [_parsed(each) for each in read_json(place())["keys"]]
    except (ArtifactError, KeyError, TypeError, ValueError) as error:
        raise TrustError(f"{place()}: cannot be read ({error}); get it again from the machine that signs") from error


def save(keys: Iterable[TrustedKey]) -> None:
    """Write the file.

    Raises:
        ArtifactError: it cannot be written.
    """
    write_json(place(), {"keys": [_written(key) for key in keys]})


def find(keyid: str, keys: Sequence[TrustedKey]) -> TrustedKey:
    """The key with an id.

    Raises:
        TrustError: it is not trusted here.
    """
    found = next((key for key in keys if key.keyid == keyid), None)
    if found is None:
        raise TrustError(_unknown(keyid, keys))
    return found


def named(keyid: str, keys: Sequence[TrustedKey]) -> TrustedKey:
    """The key whose id begins with some digits, as people write it.

    Raises:
        TrustError: there is none, or more than one.
    """
    same = [key for key in keys if len(keyid) >= SHORTEST and key.keyid.startswith(keyid)]
    if len(same) != 1:
        raise TrustError(_unknown(keyid, keys))
    return same[0]


def _unknown(keyid: str, keys: Sequence[TrustedKey]) -> str:
    if not keys:
        return f"no key is trusted here: bring {paths.TRUSTED_KEYS} from the machine that trains"
    known = [key.keyid[:12] for key in keys]
    miss = near_miss(keyid[:12], known)
    return (
        f"key {printable(keyid[:12])} is not trusted here{miss}; trusted are {', '.join(known)}; if it is one of "
        f"yours, bring {paths.TRUSTED_KEYS} from the machine that signs"
    )


def _written(key: TrustedKey) -> dict[str, Any]:
    retired = None
    if key.retired:
        retired = {"time": key.retired.time, "keeps": [each._asdict() for each in key.retired.keeps]}
    public = base64.b64encode(key.public).decode()
    about = {"name": key.name, "keyid": key.keyid, "public": public, "since": key.since}
    return {**about, "promotes": key.promotes, "retired": retired}


def _parsed(told: Mapping[str, Any]) -> TrustedKey:
    public = base64.b64decode(told["public"], validate=True)
    if keyid_of(public) != told["keyid"]:
        raise ValueError(f"the key {told['name']!r} has not the id that stands beside it")
    retired = told["retired"]
    if retired is not None:
        retired = Retired(retired["time"], tuple(Served(**each) for each in retired["keeps"]))
    promotes = told.get("promotes", True)  # no older list says it
    if not isinstance(promotes, bool):
        raise ValueError(f"the key {told['name']!r} says neither true nor false under promotes")
    return TrustedKey(str(told["name"]), public, str(told["since"]), retired, promotes)
