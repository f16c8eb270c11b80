"""Alerts go into the spools of the sinks at once, and to the sinks in the background.

So a sink that is slow or does not answer delays no record. What it does not take stays in its spool; see ``delivery``.
Incidents come into the spools by another process, and this one delivers them, too.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pyarrow as pa

from pipeline.base import escaping
from pipeline.base.errors import FlowsculptError
from pipeline.serving.alerts import delivery
from pipeline.serving.alerts.schema import alerts_of
from pipeline.settings.alerts import Sinks

LOG: Final = escaping.log("flowsculpt")
SECONDS = 1.0  # between two deliveries, at least


class Delivery:
    """Takes tables of alerts when it is called, and delivers what waits in the spools while ``run`` does.

    Args:
        rules: which sinks there are.
    """

    def __init__(self, rules: Sinks) -> None:
        self.rules = rules
        self._come = threading.Event()
        self._come.set()  # what an earlier process has left

    def __call__(self, alerts: pa.Table) -> None:
        """Put alerts into the spools."""
        if self.rules.active:
            delivery.hand_over(alerts_of(alerts), self.rules)
            self._come.set()

    def look(self) -> None:
        """Another process has put something into the spools."""
        self._come.set()

    def run(self, over: threading.Event) -> None:
        """Deliver until ``over``."""
        while not over.wait(SECONDS):
            if self._come.is_set():
                self._come.clear()
                if _delivered(self.rules):
                    self._come.set()


@contextmanager
def delivering(rules: Sinks) -> Iterator[Delivery]:
    """What takes tables of alerts, and delivers them until the block ends; then once more, all that can be.

    Raises:
        ConfigError: there is no such sink, or its settings are not allowed.
    """
    delivery.built(rules)
    taking, over = Delivery(rules), threading.Event()
    if not rules.active and not rules.incidents:
        yield taking
        return
    thread = threading.Thread(target=taking.run, args=(over,), name="sinks", daemon=True)
    thread.start()
    try:
        yield taking
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
