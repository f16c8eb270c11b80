"""The private key of this project, which signs what is trained and decided here.

It comes from the variable ``FLOWSCULPT_SIGNING_KEY``, or from ``.flowsculpt/signing.key``; both hold an Ed25519 key in
PKCS8 PEM. Nobody but its user may read the file. A project that has no key at all gets one when it signs first.
"""

import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pipeline.artifacts import paths
from pipeline.artifacts.files import write_bytes
from pipeline.base import durable, escaping, machine
from pipeline.base.errors import TrustError
from pipeline.serving.trust import trusted
from pipeline.serving.trust.trusted import TrustedKey, keyid_of
from pipeline.tracking import store

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LOG: Final = escaping.log("flowsculpt")
VARIABLE: Final = store.SIGNING_KEY
FOLDER: Final = ".flowsculpt"
FILE, NEXT, LOCK = "signing.key", "signing.key.next", "lock"
OTHERS: Final = 0o077  # rights of the group and of others


@dataclass(frozen=True)
class Signer:
    """A private key.

    Attributes:
        private: the key.
        source: where it comes from, in words.
    """

    private: "Ed25519PrivateKey"
    source: str

    @cached_property
    def public(self) -> bytes:
        """The 32 bytes of the public key."""
        return self.private.public_key().public_bytes_raw()

    @cached_property
    def keyid(self) -> str:
        """sha256 of the public key, in hexadecimal digits."""
        return keyid_of(self.public)

    def sign(self, content: bytes) -> bytes:
        """The 64 bytes of a signature."""
        return self.private.sign(content)


def present() -> Signer | None:
    """The key that is here; None where there is none.

    Raises:
        TrustError: it cannot be read, or others can read it.
    """
    if given := os.environ.get(VARIABLE):
        return _parsed(given.encode(), VARIABLE)
    path = file()
    if not path.is_file():
        return None
    _require_private(path.parent, "700")
    _require_private(path, "600")
    return _parsed(path.read_bytes(), str(path))


def signer(to_promote: bool = False) -> Signer:
    """The key that signs here. A project without any key gets one, which is then trusted.

    Args:
        to_promote: whether it is to sign a decision.

    Raises:
        TrustError: there is none though others are trusted, it is not trusted or may not sign that, or others can read
            it.
    """
    with _locked():
        here, keys = present(), trusted.load()
        if not keys:
            return _trust(here or _make())
    if here is None:
        known = ", ".join(f"{key.keyid[:12]} ({key.name})" for key in keys)
        raise TrustError(
            f"there is no key here to sign with: neither {VARIABLE} nor {file()}; trusted are {known}; bring one of "
            "them, or make another one with `flowsculpt keys init`"
        )
    found = next((key for key in keys if key.keyid == here.keyid), None)
    if found is None:
        raise TrustError(f"{here.source}: {paths.TRUSTED_KEYS} does not list it; add it with `flowsculpt keys init`")
    if found.retired:
        raise TrustError(f"{here.source}: was retired at {found.retired.time}; make a new one: `flowsculpt keys init`")
    if to_promote and not found.promotes:
        raise TrustError(
            f"{here.source}: key {here.keyid[:12]} signs models and no promotions; train here without promotion, and "
            "promote where a key lies that may"
        )
    return here


def require_promoter() -> None:
    """Refuse to decide anything where the key that is here may not.

    Raises:
        TrustError: it signs models alone.
    """
    if trusted.load() and present():
        signer(to_promote=True)


def init(name: str = "", promotes: bool = True) -> tuple[Signer, bool]:
    """See to it that there is a key that is trusted and not retired; returns it, and whether anything was changed.

    Args:
        name: what people call it.
        promotes: whether its decisions count, if it is new.

    Raises:
        TrustError: the present one cannot be read, others can read it, or the variable holds a retired one.
    """
    with _locked():
        here, keys = present(), trusted.load()
        found = here and next((key for key in keys if key.keyid == here.keyid), None)
        if here and found and not found.retired:
            return here, False
        if here and found and here.source == VARIABLE:
            raise TrustError(f"{VARIABLE}: holds a key that was retired; take it away, or set another one")
        return _trust(_make() if here is None or found else here, name, promotes), True


def replace() -> Signer:
    """Put a new key into the place of the one in the file, which is lost; the new one is trusted.

    It lies beside the file until it is trusted. So where a process was killed, the next call goes on with the same key.

    Raises:
        TrustError: the present one comes from the variable.
    """
    with _locked():
        if os.environ.get(VARIABLE):
            raise TrustError(f"{VARIABLE}: holds this key; set another one first, or take it away")
        beside = file().with_name(NEXT)
        key = _parsed(beside.read_bytes(), str(file())) if beside.is_file() else _make(beside)
        known, here = {each.keyid: each for each in trusted.load()}, present()
        before = known.get(here.keyid) if here else None
        if key.keyid not in known:
            _trust(key, promotes=before is None or before.promotes)
        with durable.refusals(file()):
            durable.publish(beside, file())
        return key


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def file() -> Path:
    """Where the key lies, if no variable holds one."""
    return store.project_root() / FOLDER / FILE


# What it is made of.


def _parsed(pem: bytes, source: str) -> Signer:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise TrustError(f"{source}: holds no private key in PEM without a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise TrustError(f"{source}: holds a key of another kind; an Ed25519 key is expected")
    return Signer(key, source)


def _make(path: Path | None = None) -> Signer:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    write_bytes(path or file(), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return Signer(key, str(file()))


def _trust(key: Signer, name: str = "", promotes: bool = True) -> Signer:
    trusted.save([*trusted.load(), TrustedKey(name or _who(), key.public, now(), None, promotes)])
    LOG.warning("key %s signs here from now on (%s); keep it, and let nobody read it", key.keyid[:12], key.source)
    return key


def _who() -> str:
    return f"{machine.user()}@{socket.gethostname()}"


def _require_private(path: Path, mode: str) -> None:
    found = path.stat()
    if found.st_uid != os.geteuid():
        raise TrustError(f"{path}: belongs to another user; make it yours: chown {os.geteuid()} {path}")
    if found.st_mode & OTHERS:
        raise TrustError(f"{path}: others can read it ({found.st_mode & 0o777:o}); run: chmod {mode} {path}")


@contextmanager
def _locked() -> Iterator[None]:
    """One process at a time makes a key."""
    durable.make_private(file().parent)
    with durable.lock_file(file().parent / LOCK) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
