"""From alerts to the sinks that params.yaml names: first into the spool of each, on the disk, then to the sink.

::

    alerts -> hand_over -> data/scored/spool/SINK.sqlite -> flush -> sink

``hand_over`` is part of scoring: a file counts as scored only when its alerts are in the spools. ``flush`` delivers
what it can, to each sink in order, and keeps what it cannot for the next call. A sink that fails is asked again after a
while, twice as long each time. No sink keeps another one waiting, and none makes scoring fail.
"""

import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

from pipeline.artifacts.tables import row_groups
from pipeline.base import escaping
from pipeline.base.errors import ConfigError, FlowsculptError
from pipeline.base.escaping import printable
from pipeline.base.registry import build
from pipeline.serving import own_model
from pipeline.serving.alerts import stored
from pipeline.serving.alerts.addresses import leaving
from pipeline.serving.alerts.schema import SCHEMA, Alert, alerts_of
from pipeline.serving.alerts.sinks.base import IsIncident, Message, RefusedError, Sink, UnavailableError
from pipeline.serving.alerts.sinks.registry import SINKS
from pipeline.serving.alerts.spool import Spool, State, Waiting
from pipeline.serving.counts import counted
from pipeline.settings.alerts import Sinks

TABLE: Final = "parquet"
ROOM: Final = "spool"
SHORTEST_PAUSE, LONGEST_PAUSE = 2.0, 300.0  # seconds
PAUSE: Final = 0.05  # seconds between looks whether another process is done
_PART: Final = 1_000  # alerts that are in memory at a time
_GONE: Final = (
    "table of alerts was removed while it waited",
    "tables of alerts were removed while they waited",
)
_log = escaping.log(__name__)


@dataclass(frozen=True)
class Delivered:
    """What a call did for a sink.

    Attributes:
        sink: its name.
        sent: messages that it took.
        state: where it stands now.
    """

    sink: str
    sent: int
    state: State

    @property
    def is_clear(self) -> bool:
        """Whether the sink has everything."""
        state = self.state
        return not (state.waiting or state.refused or state.held or state.gone)

    @property
    def sentence(self) -> str:
        """What became of the messages, in one line."""
        parts = [f"{self.sent:,} delivered"]
        if self.state.waiting:
            parts.append(counted(self.state.waiting, "waits", "wait"))
        if self.state.refused:
            parts.append(f"{self.state.refused:,} refused")
        if self.state.held:
            held = counted(len(self.state.held), "file wait in its table", "files wait in their tables")
            parts.append(f"its spool is full: alerts of {held}")
        if self.state.gone:
            parts.append(f"lost: {counted(len(self.state.gone), *_GONE)}")
        why = f" ({printable(self.state.fault)})" if self.state.fault else ""
        return f"{self.sink}: {', '.join(parts)}{why}"


def deliver(alerts: Iterable[Alert], rules: Sinks, source: Path | None = None) -> list[Delivered]:
    """Hand alerts over to all sinks, and deliver what can be; see ``hand_over`` and ``flush``."""
    hand_over(alerts, rules, source)
    return flush(rules)


def hand_over(alerts: Iterable[Alert], rules: Sinks, source: Path | None = None) -> None:
    """Put alerts into the spool of each sink; when this returns they will be delivered, whatever dies then.

    Args:
        alerts: in their order; a key that a spool knows is passed over.
        rules: which sinks there are.
        source: the table of ``stored`` that holds them; what has no room in a spool is read from it later.

    Raises:
        SpoolFullError: a spool has no room, and there is no ``source``.
        ArtifactError: a spool cannot be written.
    """
    spools, rest = _spools(rules, rules.active), iter(alerts)
    name = "" if source is None else source.name
    while spools and (part := [leaving(Message.of(each), rules.addresses) for each in islice(rest, _PART)]):
        for spool in spools.values():
            spool.put(part, name)


def hand_over_table(path: Path, rules: Sinks) -> None:
    """Put the alerts of a table into the spool of each sink; see ``hand_over``."""
    hand_over(_alerts(path), rules, path)


def hand_over_incidents(incidents: Iterable[IsIncident], rules: Sinks) -> None:
    """Put incidents into the spools of the sinks that get them; see ``hand_over``.

    One that lacks evidence (``low``), is hidden by a rule, or is a part of another one is passed over. One whose
    severity is the same as before adds nothing.
    """
    spools = _spools(rules, rules.incidents)
    chosen = (Message.of_incident(each) for each in incidents if _is_told(each))
    if spools and (messages := [leaving(each, rules.addresses) for each in chosen]):
        for spool in spools.values():
            spool.put(messages)


def flush(rules: Sinks, seconds: float | None = None, is_patient: bool = True) -> list[Delivered]:
    """Deliver what waits, in its order; what a sink does not take now is kept.

    Args:
        rules: which sinks there are.
        seconds: that each sink may take; None: as ``rules`` say.
        is_patient: a sink that failed lately is left alone for a while; False: it is asked now.

    Raises:
        ConfigError: there is no such sink, or its settings are not allowed.
        ArtifactError: a spool cannot be read or written.
    """
    sinks, done = built(rules), []
    for name, spool in _spools(rules, sinks).items():
        spool.forget(rules.remember)
        end = time.monotonic() + (rules.seconds if seconds is None else seconds)
        try:
            sent = _flushed(spool, sinks[name], end, is_patient)
        finally:
            sinks[name].close()
        done.append(Delivered(name, sent, spool.state()))
    return done


def after_scoring(rules: Sinks) -> list[str]:
    """Deliver what waits; returns a line for each sink, which says what failed. Nothing is raised."""
    try:
        return [each.sentence for each in flush(rules)]
    except FlowsculptError as error:
        _log.warning("alerts were not delivered: %s", error)
        return [f"alerts were not delivered: {printable(str(error))}"]


def states(rules: Sinks) -> list[Delivered]:
    """Where each sink stands."""
    return [Delivered(name, 0, spool.state()) for name, spool in _spools(rules, built(rules)).items()]


def ask_again(rules: Sinks) -> int:
    """Let the messages wait again that receivers refused; returns how many."""
    return sum(spool.ask_again() for spool in _spools(rules, built(rules)).values())


def give_up(rules: Sinks) -> int:
    """Forget the messages that receivers refused and the tables that are lost; returns how many."""
    return sum(spool.give_up() for spool in _spools(rules, built(rules)).values())


def built(rules: Sinks) -> dict[str, Sink]:
    """The sinks by name, as the settings want them.

    Raises:
        ConfigError: there is no such sink, or its settings are not allowed.
    """
    if TABLE in rules.incidents:
        raise ConfigError(f"alerts.sinks.incidents: {TABLE!r} is a table of alerts, and takes no incident")
    found = dict.fromkeys(rules.active, "active") | dict.fromkeys(rules.incidents, "incidents")
    return {
        name: build(SINKS, name, f"alerts.sinks.{key}", **rules.settings(name, SINKS)) for name, key in found.items()
    }


def _spools(rules: Sinks, names: Collection[str]) -> dict[str, Spool]:
    folder = own_model.scored() / ROOM if names else Path()
    return {name: Spool(folder, name, rules.most_waiting) for name in dict.fromkeys(names)}


def _is_told(incident: Any) -> bool:
    return incident.severity != "low" and incident.suppressed_by is None and incident.merged_into is None


def _flushed(spool: Spool, sink: Sink, end: float, is_patient: bool) -> int:
    """Deliver what waits for one sink; returns how many messages it took.

    If another process is delivering, this one leaves the work to it: that process looks for messages once more after it
    has let go of the lock. A call that is not patient waits until the other process is done.
    """
    sent, is_done = 0, False
    while not is_done:
        with spool.alone() as is_mine:
            if is_mine:
                number, is_done = _sent(spool, sink, end, is_patient)
                sent += number
            elif is_patient or time.monotonic() > end:
                return sent
            else:
                time.sleep(PAUSE)
        is_done = is_done or not spool.next(1)
    return sent


def _sent(spool: Spool, sink: Sink, end: float, is_patient: bool) -> tuple[int, bool]:
    """Send batches; returns how many messages went, and whether some are left for a later call."""
    sent, state = 0, spool.state()
    mark = state.mark
    if is_patient and time.time() < state.ask_at <= time.time() + LONGEST_PAUSE:
        return 0, True
    try:
        while batch := _batch(spool, sink.most):
            try:
                number, mark = sink.send([each.message for each in batch], mark)
            except RefusedError as error:
                spool.refused(batch[0], str(error))
                continue
            spool.delivered(batch[:number], mark)
            sent += number
            if time.monotonic() > end:
                return sent, True
    except Exception as error:  # whatever it is, it must not end the scoring
        if not isinstance(error, UnavailableError):
            _log.exception("%s: alerts cannot be delivered", spool.name)
        fault = str(error) if isinstance(error, FlowsculptError) else f"{type(error).__name__}: {error}"
        failures = 1 if sent else state.failures + 1
        pause = min(SHORTEST_PAUSE * 2 ** min(failures - 1, 16), LONGEST_PAUSE)
        spool.failed(fault, failures, time.time() + pause)
        return sent, True
    return sent, False


def _batch(spool: Spool, most: int) -> list[Waiting]:
    """The first messages that wait, or if there are none, those of a table that did not fit in before."""
    while not (batch := spool.next(most)) and _refill(spool):
        pass
    return batch


def _refill(spool: Spool) -> bool:
    """Take up alerts that did not fit in before, from their table; returns whether there was such a table."""
    name = spool.held()
    if name is None:
        return False
    path = own_model.scored() / stored.ROOM / name
    if not path.exists():
        _log.error("%s: %s was removed before its alerts were delivered", spool.name, path)
        spool.released(name, is_gone=True)
    elif spool.put(map(Message.of, _alerts(path)), name, is_refill=True):
        spool.released(name)
    return True


def _alerts(path: Path) -> Iterator[Alert]:
    for group in row_groups(path):
        for start in range(0, group.num_rows, _PART):
            yield from alerts_of(group.slice(start, _PART).select(SCHEMA.names).cast(SCHEMA))
