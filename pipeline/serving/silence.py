"""Whether a model has raised no alert for longer than its promise makes likely.

::

    data/scored/silence/NUMBER-DIGEST.json    how many records a version has judged since its last alert

A threshold promises how many benign records exceed it. So no alert at all among many records is as telling as too many:
the model is out of work, a reader mangles its values, or the traffic is unlike that of the calibration.
``alarm_share.none_at_all`` says how probable it is. A file, or a stretch of a stream, counts when its summary is
written. One that has an alert begins the count anew.
"""

import fcntl
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pipeline import config
from pipeline.artifacts.files import read_json, write_json
from pipeline.base import durable, escaping
from pipeline.base.errors import ArtifactError, SilentModelError
from pipeline.calibration.calibration import Calibration
from pipeline.evaluation import alarm_share
from pipeline.serving import canary_check, own_model
from pipeline.serving.alerts.building import level_of
from pipeline.serving.bundle import Bundle
from pipeline.serving.canary_check import SETTING
from pipeline.serving.tally import Tally
from pipeline.serving.version import Version
from pipeline.settings.alerts import Alerts

LOG: Final = escaping.log("flowsculpt")
ROOM: Final = "silence"
REMEDY: Final = (
    "look at what came in, and ask the model with `flowsculpt verify`; go back with `flowsculpt rollback`, or train on "
    "such traffic; if it is as quiet as that, lower alerts.silence.chance"
)


@dataclass(frozen=True)
class Quiet:
    """What a version has judged since its last alert.

    Attributes:
        level: the threshold that makes an alert.
        decided: name of a decision -> how many records it judged.
        is_told: whether its silence was said.
    """

    level: str
    decided: Mapping[str, int]
    is_told: bool = False

    @property
    def records(self) -> int:
        """How many in all."""
        return sum(self.decided.values())

    def chance(self, calibration: Calibration, alike: int) -> float:
        """How probable it is that none of them is an alert; 1 where nothing is promised."""
        parts = calibration.promised(self.decided).get(self.level, ())
        return alarm_share.none_at_all(parts, alike)


def require(bundle: Bundle, version: int, rules: Alerts) -> str:
    """Refuse a model that is silent: it does not find its canaries, or has raised no alert for too long.

    Args:
        bundle: the model.
        version: its number in the registry.
        rules: ``alerts`` of params.yaml.

    Returns:
        What is wrong with it, where that is news and it goes on; else "".

    Raises:
        SilentModelError: it is silent, and refused for that.
    """
    name = f"version {version}{own_model.suffix()}"
    said = canary_check.require(bundle, rules.silence.action, name)
    if rules.silence.action == "refuse" and (fault := found(bundle, version, rules)):
        raise SilentModelError(f"{name}: {fault}. It scores nothing more, as {SETTING} is refuse; {REMEDY}")
    return said


def admit(bundle: Bundle, version: Version) -> None:
    """Refuse a candidate that does not find its canaries here.

    Raises:
        SilentModelError: it does not, and ``alerts.silence.action`` is ``refuse``.
    """
    canary_check.require(bundle, config.load(Alerts).silence.action, str(version))


def found(bundle: Bundle, version: int, rules: Alerts) -> str:
    """How long a version has been silent, in words; "" where that is likely enough."""
    level = level_of(bundle.calibration.thresholds, rules.level)
    return _fault(bundle, _read(_path(bundle, version), level), rules)


def note(bundle: Bundle, version: int, rules: Alerts, tally: Tally) -> str:
    """Count what a version has judged; returns that it is silent, in words, where that is news, else "".

    Raises:
        ArtifactError: it cannot be noted down.
    """
    if rules.silence.action == "off":
        return ""
    level = level_of(bundle.calibration.thresholds, rules.level)
    path = _path(bundle, version)
    if tally.alarms[level] and not path.exists():
        return ""
    with _alone(path):
        before = _read(path, level)
        if tally.alarms[level]:
            if before.records:
                _write(path, Quiet(level, {}))
            return ""
        now = Quiet(level, Counter(before.decided) + tally.decided, before.is_told)
        fault = _fault(bundle, now, rules)
        _write(path, Quiet(level, now.decided, is_told=bool(fault)))
    if not fault or before.is_told:
        return ""
    text = f"version {version}{own_model.suffix()}: {fault}; {REMEDY}"
    LOG.warning("%s", text)
    return text


def _fault(bundle: Bundle, quiet: Quiet, rules: Alerts) -> str:
    chance = quiet.chance(bundle.calibration, rules.silence.alike)
    if chance >= rules.silence.chance:
        return ""
    return (
        f"none of the last {quiet.records:,} records is an alert at {quiet.level}, and by its promise the chance of "
        f"that is {chance:.1g}, below alerts.silence.chance, {rules.silence.chance:g}"
    )


def _path(bundle: Bundle, version: int) -> Path:
    return own_model.scored() / ROOM / f"{version}-{bundle.digest[:16]}.json"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time counts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_suffix(".lock")
    with durable.refusals(lock):
        file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)


def _read(path: Path, level: str) -> Quiet:
    """What was noted; nothing where that is of another threshold, or is not whole."""
    with suppress(ArtifactError, KeyError, TypeError, ValueError, AttributeError):
        told: dict[str, Any] = read_json(path)
        decided = {str(name): int(count) for name, count in told["decided"].items()}
        if told["level"] == level:
            return Quiet(level, decided, bool(told["is_told"]))
    return Quiet(level, {})


def _write(path: Path, quiet: Quiet) -> None:
    write_json(path, {"level": quiet.level, "decided": dict(quiet.decided), "is_told": quiet.is_told})
