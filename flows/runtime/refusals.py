"""Events of models that were refused, which automations of Prefect may wait for."""

from collections.abc import Iterator
from contextlib import contextmanager

from flows.runtime import events
from pipeline.base.errors import SilentModelError, TrustError


@contextmanager
def announced() -> Iterator[None]:
    """Raise an event where a model is refused in the block; the refusal goes on."""
    try:
        yield
    except TrustError as error:
        announce(error)
        raise


def announce(error: TrustError) -> None:
    """Raise the event of a refusal."""
    refused(str(error), isinstance(error, SilentModelError))


def refused(reason: str, is_silent: bool) -> None:
    """Raise the event: a model was refused because it is silent, or because no trusted key vouches for it."""
    events.announce(events.REFUSED, reason, cause=events.IS_SILENT if is_silent else events.UNTRUSTED)


def fell_silent(reason: str) -> None:
    """Raise the event of a model that is silent and goes on."""
    events.announce(events.SILENT, reason, cause=events.IS_SILENT)
