"""What becomes of each file that came in: it is scored, put into quarantine, left for the next run, or refused.

Each file is decided on alone, and none keeps another waiting:

- one that cannot be read, or lacks a column, moves from ``data/incoming`` to ``data/quarantine/`` with its reason. Its
  content is known from now on and not tried again by the same version. A file that lies elsewhere stays there: only its
  reason is kept;
- one that is gone, changed meanwhile or is still being written is left for the next run;
- where the fault is not the file's (a full disk, missing rights) the file stays where it is, and the run fails when all
  the others are done.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from pipeline import config
from pipeline.base.errors import ConflictError, FlowsculptError, SourceError
from pipeline.base.escaping import printable
from pipeline.serving import arrivals, batch, claims, quarantine, rescoring, scored
from pipeline.serving.alerts import delivery
from pipeline.serving.arrivals import Incoming
from pipeline.serving.bundle import Bundle
from pipeline.serving.contract_check import WARN
from pipeline.serving.counts import counted
from pipeline.serving.quarantine import Held
from pipeline.settings.alerts import Alerts, Sinks
from pipeline.settings.scoring import ContractRules


@dataclass(frozen=True)
class Left:
    """A file that waits for the next run, with the reason."""

    reason: str


@dataclass(frozen=True)
class Claimed(Left):
    """A file that another process scores now."""


Outcome: TypeAlias = dict[str, Any] | Held | Left | Exception | None
"""A summary; ``Held``; ``Left``; why it could not be scored; None where a version of the model has scored it before."""


@dataclass(frozen=True)
class Result:
    """What a run did.

    Attributes:
        version: number of the version that scored.
        digest: of its bundle.
        scored: the summary of each file that was scored.
        passed_over: how many files had been scored before.
        quarantined: each file that cannot be scored.
        left: why each file that waits for the next run does.
        refused: why each file that could not be scored through no fault of its own was not.
        delivery: what each sink of alerts got, and what it still lacks.
    """

    version: int
    digest: str
    scored: tuple[Mapping[str, Any], ...]
    passed_over: int
    quarantined: tuple[Held, ...]
    left: tuple[str, ...]
    refused: tuple[str, ...]
    delivery: tuple[str, ...] = ()

    @classmethod
    def of(cls, version: int, digest: str, outcomes: Iterable[Outcome], sinks: Sinks) -> "Result":
        """The outcomes of all files, sorted by their kinds; if none was scored, alerts from before are delivered."""
        done = list(outcomes)
        scored = tuple(each for each in done if isinstance(each, dict))
        return cls(
            version,
            digest,
            scored,
            done.count(None),
            tuple(each for each in done if isinstance(each, Held)),
            tuple(each.reason for each in done if isinstance(each, Left)),
            tuple(printable(str(each)) for each in done if isinstance(each, Exception)),
            tuple(scored[-1].get("delivery", ()) if scored else delivery.after_scoring(sinks)),
        )

    @property
    def counts(self) -> str:
        """In one line."""
        return (
            f"{len(self.quarantined)} quarantined, {counted(len(self.scored), 'file')} scored, "
            f"{self.passed_over} passed over, {len(self.left)} left for the next run"
        )


def take_in(
    path: Path,
    root: Path,
    version: int,
    score: Callable[[Incoming], Outcome],
    rescore: bool = False,
    waits: bool = True,
) -> Outcome:
    """What becomes of a file that was found under ``root``; ``score`` is called where it is new and whole.

    A file is new if no version of the model has scored its content, so a promotion raises no alert twice. With
    ``rescore`` it is new if this version has not; the summary then says what has changed, see ``rescoring``. Of two
    processes that have found the same content, one scores it, see ``claims``; the other ``waits``, or leaves it.
    """
    if arrivals.is_growing(path):
        return Left(f"{printable(path.name)}: it is still being written")
    try:
        file = arrivals.identify(path, root)
    except SourceError as error:
        return error if path.exists() else Left(f"{printable(path.name)}: it is gone")
    try:
        with claims.claimed(file.sha256, waits) as is_mine:
            if not is_mine:
                return Claimed(f"{file.name}: another process scores it")
            return _scored(file, version, score, rescore)
    except FlowsculptError as error:
        return error


def _scored(file: Incoming, version: int, score: Callable[[Incoming], Outcome], rescore: bool) -> Outcome:
    if not rescore:
        return None if scored.is_scored(file) else score(file)
    if scored.is_scored(file, version):
        return None
    return rescoring.beside(scored.summary(file), score(file))


def score(
    file: Incoming,
    bundle: Bundle,
    version: int,
    flow_run: str = "",
    false_discovery: float | None = None,
    rules: ContractRules = WARN,
    alerts: Alerts | None = None,
    most_in_csv: int = -1,
) -> Outcome:
    """What becomes of a file that is new and whole; see ``batch.score`` for the arguments.

    Its alerts go to the sinks. What these do not take now waits, and does not keep the file from being scored.
    """
    alerts = config.load(Alerts) if alerts is None else alerts
    try:
        held = quarantine.known(file.sha256, version)
        if held is not None:
            return _quarantined(file, version, held.reason, held.time)
        summary = batch.score(file, bundle, version, flow_run, false_discovery, rules, alerts, most_in_csv)
    except FlowsculptError as error:
        return _refused(file, version, error)
    lines = delivery.after_scoring(alerts.sinks)
    return {**summary, "delivery": lines} if lines else summary


def _refused(file: Incoming, version: int, error: FlowsculptError) -> Outcome:
    try:
        if arrivals.has_changed(file):
            return Left(f"{file.name}: it is gone or still changes")
        return _quarantined(file, version, str(error)) if arrivals.blames_file(error) else error
    except FlowsculptError as another:  # the disk is full, say
        return another


def _quarantined(file: Incoming, version: int, reason: str, time: str = "") -> Held | Left:
    try:
        return quarantine.put(file.path, file.name, file.sha256, version, reason, time)
    except ConflictError as error:
        return Left(printable(str(error)))
