"""Events of models that were refused, which automations of Prefect may wait for."""

from collections.abc import Iterator
from contextlib import contextmanager

from flows.reports.decisions import Outcome
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


def announce_decision(outcome: Outcome, dry_run: bool) -> None:
    """Raise the event of a promotion that refused a model: for its signature, its canaries, or by the gate."""
    reasons = "; ".join(outcome.reasons)
    if outcome.is_distrusted:
        refused(reasons, outcome.is_silent)
    elif outcome.kind == "refused" and not dry_run:
        events.announce(events.NOT_PROMOTED, reasons, outcome.candidate.number if outcome.candidate else None)


def refused(reason: str, is_silent: bool) -> None:
    """Raise the event: a model was refused because it is silent, or because no trusted key vouches for it."""
    events.announce(events.REFUSED, reason, cause=events.IS_SILENT if is_silent else events.UNTRUSTED)


def fell_silent(reason: str) -> None:
    """Raise the event of a model that is silent and goes on."""
    events.announce(events.SILENT, reason, cause=events.IS_SILENT)
