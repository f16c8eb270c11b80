"""Which incidents nobody wants to see, who said so, why, and until when.

The rules stand in ``data/suppressions.toml``, which git keeps, as it keeps ``data/labels.jsonl``::

    [[rule]]
    name = "vulnerability scanner"
    source = "10.0.9.7"                 # an address or a network; also destination, or host for either
    port = 443                          # of the destination
    kind = "timing"                     # of the alert, see ``kinds``
    until = 2026-12-31                  # the last day on which it holds
    by = "ada"
    why = "scans us each night, ticket 4711"

A rule needs ``name``, ``until``, ``by`` and ``why``, and at least one of ``host``, ``source``, ``destination``,
``port`` and ``kind``. An alert that all of these fit is hidden, if it is of that day or before. The first rule that
fits counts.
Hidden alerts have incidents of their own: they add nothing to others, and how many are hidden is shown.
"""

import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, Final

from pipeline.artifacts import paths
from pipeline.artifacts.files import read_json
from pipeline.base.errors import ArtifactError, ConfigError, near_miss
from pipeline.serving.alerts import kinds

FITS: Final = ("host", "source", "destination", "port", "kind")
NEEDED: Final = ("name", "until", "by", "why")
Network = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Rule:
    """One rule; the attributes are its keys, None where it does not have one."""

    name: str
    until: date
    by: str
    why: str
    host: Network | None = None
    source: Network | None = None
    destination: Network | None = None
    port: int | None = None
    kind: str | None = None

    def fits(self, src_ip: str | None, dst_ip: str | None, port: int | None, kind: str | None, day: date) -> bool:
        """Whether it hides an alert of that day."""
        asked = (
            self.host is None or _within(src_ip, self.host) or _within(dst_ip, self.host),
            self.source is None or _within(src_ip, self.source),
            self.destination is None or _within(dst_ip, self.destination),
            self.port is None or self.port == port,
            self.kind is None or self.kind == kind,
        )
        return day <= self.until and all(asked)

    def is_expired(self, today: date) -> bool:
        """Whether it hides nothing that happens today."""
        return today > self.until


def read(path: Path = paths.SUPPRESSIONS) -> tuple[Rule, ...]:
    """The rules of the file; none where there is no file.

    Raises:
        ConfigError: it is no TOML, or a rule lacks a key, has an unknown one or a value that is not allowed.
    """
    if not path.exists():
        return ()
    try:
        whole = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: is no TOML: {error}") from error
    for key in whole:
        if key != "rule":
            raise ConfigError(f"{path}: unknown table {key!r}{near_miss(key, ['rule'])}; allowed is [[rule]]")
    given = whole.get("rule", [])
    if not isinstance(given, list):
        raise ConfigError(f"{path}: 'rule' must be [[rule]], once for each rule, given [rule]")
    rules = tuple(_rule(each, f"{path}: rule {number}") for number, each in enumerate(given, 1))
    names = [rule.name for rule in rules]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{path}: two rules have the name {name!r}")
    return rules


def _rule(given: Mapping[str, Any], where: str) -> Rule:
    known = (*NEEDED, *FITS)
    for key in given:
        if key not in known:
            raise ConfigError(f"{where}: unknown key {key!r}{near_miss(key, known)}; known: {', '.join(known)}")
    if absent := [key for key in NEEDED if key not in given]:
        raise ConfigError(f"{where}: lacks {', '.join(absent)}; needed are {', '.join(NEEDED)}")
    if not any(key in given for key in FITS):
        raise ConfigError(f"{where}: would hide everything; needed is at least one of {', '.join(FITS)}")
    return Rule(**{key: _READ[key](given[key], f"{where}: {key}") for key in given})


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{where}: must be a text that is not empty, given {value!r}")
    return value


def _day(value: Any, where: str) -> date:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ConfigError(f"{where}: must be a day such as 2026-12-31 (without quotes), given {value!r}")
    return value


def _network(value: Any, where: str) -> Network:
    try:
        return ip_network(_text(value, where))
    except ValueError as error:
        raise ConfigError(f"{where}: must be an address or a network such as 10.0.9.0/24: {error}") from error


def _port(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 65_535:
        raise ConfigError(f"{where}: must be an integer from 0 to 65535, given {value!r}")
    return value


def _kind(value: Any, where: str) -> str:
    known = _kinds()
    if _text(value, where) not in known:
        raise ConfigError(f"{where}: no alert is of kind {value!r}{near_miss(value, known)}; known: {', '.join(known)}")
    return str(value)


def _kinds() -> list[str]:
    """All kinds of reasons that the models of this project can give, those it has fetched among them."""
    own: list[str] = []
    for path in (Path(f"{paths.FEATURES}.json"), *sorted(paths.REGISTERED.glob(f"*/{paths.FEATURES.name}.json"))):
        with suppress(ArtifactError, KeyError, TypeError):  # there is none, or it is not whole
            features = read_json(path)
            own += sorted(kinds.of_column(str(name)) for name in (*features["raw"], *features["words"]))
            own += sorted(kinds.of_column(str(name)) for name in features.get("rarities", ()))
    return [*dict.fromkeys([*kinds.COLUMNS, *kinds.all_of_past(), *own])]


_READ: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("name", "by", "why"), _text),
    "kind": _kind,
    **dict.fromkeys(("host", "source", "destination"), _network),
    "until": _day,
    "port": _port,
}


def _within(address: str | None, network: Network) -> bool:
    try:
        return address is not None and ip_address(address) in network
    except ValueError:  # a name instead of an address
        return False


def expired(rules: Sequence[Rule], today: date) -> list[Rule]:
    """The rules that hide nothing that happens today."""
    return [rule for rule in rules if rule.is_expired(today)]
