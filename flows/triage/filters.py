"""Which alerts a page shows: by host, port, time, model, verdict and mark.

Each field of ``Filter`` is the text of a field of the page, and "" asks for nothing.
"""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Final, Self
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from flows.triage.grouping import SEVERITIES
from flows.triage.index import NO_TIME, Snapshot, Words
from flows.triage.marks import Said
from pipeline.artifacts.labels import CONFIRMED, DISMISSED, UNSURE
from pipeline.base.errors import ConfigError, near_miss
from pipeline.calibration.thresholds.base import VERDICTS

NONE: Final = "none"  # of a mark
MARKS: Final = (NONE, CONFIRMED, DISMISSED, UNSURE)  # the place of each is its code
OPEN, WEAK, DONE, SUPPRESSED, ALL = "open", "weak", "done", "suppressed", "all"
STATES: Final = (OPEN, WEAK, DONE, SUPPRESSED, ALL)
LONGEST: Final = 200  # characters of a field
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Filter:
    """What is asked for.

    Attributes:
        host: an address of either end, the first letters of one, or a network such as 10.0.0.0/8.
        port: of either end.
        since: the earliest time in UTC, such as 2026-01-31T09:00.
        until: the first time that is too late.
        model: number of a version.
        verdict: of the model.
        mark: ``none``, or what the last label says.
        severity: of the incident.
        kind: a part of the kind or reason of the incident.
        state: which incidents: ``open`` ones have an alert that nobody has marked; ``weak`` ones have one too, but too
            little evidence; ``done`` ones have none; ``suppressed`` ones are hidden by a rule.
    """

    host: str = ""
    port: str = ""
    since: str = ""
    until: str = ""
    model: str = ""
    verdict: str = ""
    mark: str = ""
    severity: str = ""
    kind: str = ""
    state: str = OPEN

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Self:
        """The filter that the fields of a query ask for; others are passed over.

        Raises:
            ConfigError: which field, what is allowed, and what was given.
        """
        given = {each.name: query[each.name].strip() for each in fields(cls) if query.get(each.name, "").strip()}
        for name, text in given.items():
            if len(text) > LONGEST:
                raise ConfigError(f"{name}: has at most {LONGEST} characters, given {len(text)}")
        made = cls(**given)
        made.require()
        return made

    def require(self) -> None:
        """Refuse what no field may hold.

        Raises:
            ConfigError: which field, what is allowed, and what was given.
        """
        allowed = {"verdict": VERDICTS, "mark": MARKS, "severity": SEVERITIES, "state": STATES}
        for name, words in allowed.items():
            if (given := getattr(self, name)) and given not in words:
                raise ConfigError(f"{name}: one of {', '.join(words)}, given {given!r}{near_miss(given, words)}")
        for name in ("port", "model"):
            if (given := getattr(self, name)) and not (given.isascii() and given.isdigit() and len(given) < 10):
                raise ConfigError(f"{name}: a number, given {given!r}")
        for name in ("since", "until"):
            _time(name, getattr(self, name))
        _hosts(self.host)

    @property
    def asks(self) -> dict[str, str]:
        """The fields that ask for something."""
        return {name: text for name, text in asdict(self).items() if text and (name, text) != ("state", OPEN)}

    def query(self, **changed: str) -> str:
        """As the query of an address."""
        return urlencode({**self.asks, **{name: text for name, text in changed.items() if text}})

    def _ends(self, shown: Snapshot) -> list[tuple[Mask, NDArray[np.int32]]]:
        """Of each end: which of its k names are asked for, and one False behind them; (n,) places of the names."""
        network = _network(self.host)
        if isinstance(network, ipaddress.IPv4Network):
            low, high = int(network.network_address), int(network.broadcast_address)
            named = [(numbers >= low) & (numbers <= high) for numbers in shown.addresses]
        else:
            fits = _hosts(self.host)
            named = [np.array([fits(name) for name in words.names], dtype=bool) for words in shown.hosts]
        ends = zip(named, shown.hosts, strict=True)
        return [(np.append(found, False), words.codes) for found, words in ends]

    def rows(self, shown: Snapshot, codes: NDArray[np.int8]) -> Mask:
        """(n,) which alerts it asks for; severity, kind and state ask for incidents and are passed over.

        Args:
            shown: n alerts.
            codes: (n,) their marks, see ``codes_of``.
        """
        kept = np.ones(len(codes), dtype=bool)
        if self.host:
            kept &= np.logical_or(*(words[codes] for words, codes in self._ends(shown)))
        if self.port:
            kept &= np.logical_or(*(ports == int(self.port) for ports in shown.ports))
        if self.since:
            kept &= shown.time >= _time("since", self.since)
        if self.until:
            kept &= (shown.time < _time("until", self.until)) & (shown.time != NO_TIME)
        if self.model:
            kept &= shown.version == int(self.model)
        if self.verdict:
            kept &= _where(shown.verdict, self.verdict.__eq__)
        if self.mark:
            kept &= codes == MARKS.index(self.mark)
        return kept


def codes_of(shown: Snapshot, said: Said) -> NDArray[np.int8]:
    """(n,) the place among ``MARKS`` of what the last label says of each alert's record."""
    values = np.array([*(MARKS.index(verdict) for verdict in said.verdicts), 0], dtype=np.int8)
    return values[shown.places_in(said.ids)]


def _where(words: Words, fits: Callable[[str], bool]) -> Mask:
    """(n,) which alerts have a word that fits; each word is asked once."""
    found = np.array([*(fits(name) for name in words.names), False], dtype=bool)
    return found[words.codes]


def _hosts(text: str) -> Callable[[str], bool]:
    """Whether an address is one of those that are asked for.

    Raises:
        ConfigError: a network that is none.
    """
    network, low = _network(text), text.lower()
    if network is not None:
        return lambda host: _is_in(network, host)
    return lambda host: host.lower() == low or (low.endswith((".", ":")) and host.lower().startswith(low))


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The network that is asked for; None where a text names none.

    Raises:
        ConfigError: it is written as one, and is none.
    """
    try:
        return ipaddress.ip_network(text, strict=False) if "/" in text else None
    except ValueError as error:
        raise ConfigError(f"host: an address, its beginning such as 10.0., or a network; {error}") from error


def _is_in(network: ipaddress.IPv4Network | ipaddress.IPv6Network, host: str) -> bool:
    try:
        return ipaddress.ip_address(host) in network
    except ValueError:  # a name
        return False


def _time(name: str, text: str) -> int:
    """Microseconds since 1970 in UTC.

    Raises:
        ConfigError: it is no time.
    """
    try:
        when = datetime.fromisoformat(text) if text else datetime.fromtimestamp(0, UTC)
    except ValueError as error:
        raise ConfigError(f"{name}: a time such as 2026-01-31T09:00, given {text!r}") from error
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return round((when - datetime.fromtimestamp(0, UTC)).total_seconds() * 1e6)
