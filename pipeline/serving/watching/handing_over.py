"""Alerts go into the spools of the sinks at once, and to the sinks in the background.

So a sink that is slow or does not answer delays no record. What it does not take stays in its spool; see ``delivery``.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import pyarrow as pa

from pipeline.base.errors import FlowsculptError
from pipeline.serving.alerts import delivery
from pipeline.serving.alerts.schema import alerts_of
from pipeline.settings.alerts import Sinks

LOG: Final = logging.getLogger("flowsculpt")
SECONDS = 1.0  # between two deliveries, at least


@contextmanager
def delivering(rules: Sinks) -> Iterator[Callable[[pa.Table], None]]:
    """What takes tables of alerts, and delivers them until the block ends; then once more, all that can be.

    Raises:
        ConfigError: there is no such sink, or its settings are not allowed.
    """
    delivery.built(rules)
    if not rules.active:
        yield lambda _: None
        return
    come, over = threading.Event(), threading.Event()
    come.set()  # what an earlier process has left

    def deliver() -> None:
        while not over.wait(SECONDS):
            if come.is_set():
                come.clear()
                if _delivered(rules):
                    come.set()

    def take(alerts: pa.Table) -> None:
        delivery.hand_over(alerts_of(alerts), rules)
        come.set()

    thread = threading.Thread(target=deliver, name="sinks", daemon=True)
    thread.start()
    try:
        yield take
    finally:
        over.set()
        thread.join()
        _delivered(rules)


def _delivered(rules: Sinks) -> bool:
    """Deliver what can be; returns whether something waits, or may wait because a spool cannot be read now."""
    try:
        delivery.after_scoring(rules)
        return any(each.state.waiting or each.state.held for each in delivery.states(rules))
    except FlowsculptError as error:
        LOG.warning("alerts were not delivered: %s", error)
        return True
