"""An object store as this project uses it: what is there, fetch one object whole, upload one file whole.

Credentials, region and endpoint come from where the client of the store looks for them, such as ``AWS_PROFILE``,
``AWS_ACCESS_KEY_ID`` and ``AWS_ENDPOINT_URL``. Each error is a sentence with the address and what to do. What a library
says is passed on without the values of such variables.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from pipeline.base import durable
from pipeline.base.errors import ConfigError, FlowsculptError, SourceError
from pipeline.base.escaping import printable
from pipeline.base.secrets import hidden
from pipeline.objects.address import PACKAGES, Address

SECONDS: Final = 60.0  # that a store may be silent
TRIES: Final = 3
EXTRA: Final = "s3"  # of this project, which brings the package of the same scheme
REMEDY: Final = "free some space or check the rights of the folder, then try again"
_TAGS: Final = ("ETag", "etag", "md5Hash", "content_md5", "generation")  # what changes with the content of an object
_NO_LOGIN: Final = (
    "NoCredentials",
    "PartialCredentials",
    "DefaultCredentials",
    "ClientAuthentication",
    "TokenRetrieval",
)
_NOBODY: Final = ("EndpointConnection", "ClientConnector", "ConnectionClosed", "ConnectionRefused", "ServiceRequest")


@dataclass(frozen=True)
class Object:
    """An object as its store lists it.

    Attributes:
        address: of it.
        size: in bytes.
        tag: changes when the content does.
    """

    address: Address
    size: int
    tag: str


class Store:
    """A store, open for as long as one call of this project needs it: to open one takes longer than to ask it.

    Args:
        address: of anything in it.

    Raises:
        ConfigError: the package for this store is not installed.
        SourceError: it cannot be opened.
    """

    def __init__(self, address: Address) -> None:
        self._files = _opened(address)

    def listed(self, address: Address) -> list[Object]:
        """The object that has this address, or all below it, in the order of their names; none where there is nothing.

        Raises:
            SourceError: the store refuses, or does not answer.
        """
        with refusals(address):
            found: dict[str, Any] = self._files.find(address.path, detail=True)
            names = {path.removeprefix(f"{address.bucket}/"): about for path, about in found.items()}
            files = (each for each in sorted(names.items()) if each[1].get("type") == "file" and each[0][-1:] != "/")
            return [_object(Address(address.scheme, address.bucket, name), about) for name, about in files]

    def fetch(self, wanted: Object, target: Path) -> None:
        """Copy an object into a file, whole or not at all.

        Raises:
            SourceError: the store refuses or does not answer; or what came is not what was listed.
            ArtifactError: the file cannot be written.
        """
        address = wanted.address
        with durable.atomic(target, REMEDY) as temporary:
            with refusals(address):
                # One request alone: the parts of wrong answers could add up to the right size.
                self._files.get_file(address.path, str(temporary))
                size, now = temporary.stat().st_size, _object(address, self._files.info(address.path))
            if now != wanted:
                raise SourceError(f"{address}: changed while it was fetched; try again")
            if size != wanted.size:
                raise SourceError(f"{address}: {size:,} of {wanted.size:,} bytes came; try again")

    def put(self, file: Path, address: Address) -> None:
        """Upload a file; the object is there whole, or as it was.

        Raises:
            SourceError: the store refuses, or does not answer.
        """
        with refusals(address):
            self._files.put_file(str(file), address.path)
            size = int(self._files.info(address.path)["size"])
        if size != file.stat().st_size:
            raise SourceError(f"{address}: holds {size:,} bytes of {file.stat().st_size:,} after the upload; try again")


def _object(address: Address, about: dict[str, Any]) -> Object:
    tag = next((str(about[name]) for name in _TAGS if about.get(name)), str(about.get("last_modified", "")))
    return Object(address, int(about["size"]), tag.strip('"'))


def _opened(address: Address) -> Any:
    """The file system of fsspec for an address, which forgets what it has listed before."""
    package = PACKAGES[address.scheme]
    try:
        import fsspec

        import_module(package)
    except ImportError as error:
        wanted = f"--editable '.[{EXTRA}]'" if address.scheme == EXTRA else package
        command = f"pip install {wanted} --constraint constraints.txt"
        raise ConfigError(f"{address}: {package} is not installed; run `{command}`") from error
    with refusals(address):
        files = fsspec.filesystem(
            address.scheme, skip_instance_cache=True, use_listings_cache=False, **_options(address.scheme)
        )
    if hasattr(files, "retries"):
        files.retries = TRIES
    return files


def _options(scheme: str) -> dict[str, Any]:
    if scheme != "s3":
        return {}
    waits = {"connect_timeout": min(SECONDS, 10.0), "read_timeout": SECONDS}
    return {"max_concurrency": 1, "config_kwargs": {**waits, "retries": {"max_attempts": 1}}}


# What went wrong.


@contextmanager
def refusals(address: Address) -> Iterator[None]:
    """Turn whatever a client of a store raises into a sentence.

    Raises:
        SourceError: with the address, the cause and what to do.
    """
    try:
        yield
    except FlowsculptError:
        raise
    except Exception as error:
        raise SourceError(f"{address}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    chain = [*_chain(error)]
    names = " ".join(type(each).__name__ for each in chain)
    if any(name in names for name in _NO_LOGIN):
        return "no credentials were found; give them by variables or a profile, see docs/how-to/stores.md"
    if isinstance(error, PermissionError):
        return "access is refused (403); check the credentials and their rights"
    if isinstance(error, FileNotFoundError):
        return "there is no such object or bucket (404)"
    if any(isinstance(each, TimeoutError) for each in chain) or "Timeout" in names:
        return f"the store did not answer within {SECONDS:g} s; try again"
    if any(name in names for name in _NOBODY):
        return "nobody answers where the store should be; check the endpoint and the network"
    return f"the store answered wrongly ({type(error).__name__}: {_redacted(str(error))})"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _redacted(text: str) -> str:
    """In one line, without the values of variables that hold secrets, and without signatures of addresses."""
    return printable(" ".join(re.sub(r"(https?://[^\s?'\"]+)\?\S*", r"\1", hidden(text)).split()))
