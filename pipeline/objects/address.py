"""The address of an object, or of all objects whose names begin alike."""

import posixpath
import re
from dataclasses import dataclass
from typing import Final

from pipeline.base.errors import ConfigError
from pipeline.base.escaping import printable

PACKAGES: Final = {"s3": "s3fs", "gs": "gcsfs", "abfs": "adlfs"}
"""Scheme -> the package that speaks to such a store."""

_SCHEME: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_SIGNED: Final = re.compile(r"[?&](X-Amz-|X-Goog-|sig=|AWSAccessKeyId=|Signature=)", re.IGNORECASE)
ALLOWED: Final = ", ".join(f"{scheme}://BUCKET/NAME" for scheme in PACKAGES)


@dataclass(frozen=True)
class Address:
    """An address without any secret.

    Attributes:
        scheme: one of ``PACKAGES``.
        bucket: or container; with Azure's account where it is named.
        name: of the object, or the beginning of names; "" for all of the bucket.
    """

    scheme: str
    bucket: str
    name: str

    @classmethod
    def of(cls, text: str) -> "Address":
        """The address that a text spells.

        Raises:
            ConfigError: it is none, or holds a secret, which is not repeated in the message.
        """
        found = _SCHEME.match(text)
        if not found or found[1] not in PACKAGES:
            kind = f"{found[1]}://" if found else printable(text)
            raise ConfigError(f"{kind}: is no address of an object store; allowed are {ALLOWED}")
        bucket, _, name = text[found.end() :].partition("/")
        user = bucket.rpartition("@")[0]
        if _SIGNED.search(text) or ":" in user or (user and found[1] != "abfs"):
            raise ConfigError(
                f"{found[1]}://...: the address holds a secret, which would stand in logs and tags; give credentials "
                "by variables instead, see docs/how-to/stores.md"
            )
        if not bucket:
            raise ConfigError(f"{printable(text)}: names no bucket; allowed are {ALLOWED}")
        return cls(found[1], bucket, name.strip("/"))

    @property
    def path(self) -> str:
        """What fsspec calls it."""
        return f"{self.bucket}/{self.name}".rstrip("/")

    def below(self, name: str) -> "Address":
        """The address of what is called so below this one."""
        return Address(self.scheme, self.bucket, posixpath.join(self.name, name))

    def __str__(self) -> str:
        """As messages show it."""
        return printable(f"{self.scheme}://{self.path}")


def is_address(text: object) -> bool:
    """Whether a text begins as an address does, allowed or not; a path of a file does not."""
    return isinstance(text, str) and bool(_SCHEME.match(text))
