"""Whether a model still finds what it found when it was made: its canaries are asked again wherever it scores.

A canary that must raise an alarm has to raise one, and a benign one none, and the scores must be those of then, but for
what another machine rounds differently. What this finds: a part of the model that was put out of work, a library that
computes something else, a feature that became NaN. Canaries go from raw columns to the decision. What a reader makes of
a file is not among that; see ``contract_check`` and ``silence``.
"""

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.base import escaping
from pipeline.base.errors import DataError, SilentModelError
from pipeline.calibration.prediction import Prediction
from pipeline.serving import canaries
from pipeline.serving.canaries import Canaries
from pipeline.serving.counts import counted

if TYPE_CHECKING:
    from pipeline.serving.bundle import Bundle

LOG: Final = escaping.log("flowsculpt")
Action = Literal["refuse", "warn", "off"]
TOLERANCE: Final = 0.01  # of a score, or of the median of all canaries where that is more: GPUs round to 1 in 1,000
EVERY: Final = 60.0  # seconds until a model that goes on scoring is asked again
SETTING: Final = "alerts.silence.action"
REMEDY: Final = (
    "go back with `flowsculpt rollback`, or undo what was changed on this machine; `flowsculpt verify` asks it again"
)


class _Asked:
    """When each model of this process was asked last, and what was found; what was said is not said again."""

    def __init__(self) -> None:
        self.found: dict[tuple[int, str], tuple[float, str]] = {}
        self.said: set[str] = set()

    def again(self, bundle: "Bundle") -> str:
        """What is wrong with a model, "" for nothing; it is asked where that was not done just now."""
        key, now = (id(bundle), bundle.digest), time.monotonic()
        if key not in self.found or now - self.found[key][0] >= EVERY:
            if len(self.found) > 64:
                self.found.clear()
            self.found[key] = now, " ".join(faults(bundle))
        return self.found[key][1]

    def is_news(self, text: str) -> bool:
        """Whether this was not said yet."""
        if text in self.said:
            return False
        self.said.add(text)
        return True


_ASKED: Final = _Asked()


def require(bundle: "Bundle", action: Action, name: str = "the model") -> str:
    """Ask the canaries of a model, where that was not done in the last minute.

    Args:
        bundle: the model.
        action: ``refuse``, ``warn`` or ``off``, when it does not find them.
        name: of the model, for messages.

    Returns:
        What is wrong, where that is news and the model goes on; else "".

    Raises:
        SilentModelError: it does not find its canaries, and is refused for that.
    """
    if action == "off":
        return ""
    if not has_canaries(bundle):
        if _ASKED.is_news(bundle.digest):
            LOG.warning("%s is older than canaries: nothing says if it falls silent; train anew", name)
        return ""
    if not (fault := _ASKED.again(bundle)):
        return ""
    if action == "refuse":
        raise SilentModelError(f"{name}: {fault} It scores nothing more, as {SETTING} is refuse; {REMEDY}")
    text = f"{name}: {fault} It goes on, as {SETTING} is warn; {REMEDY}"
    if not _ASKED.is_news(text):
        return ""
    LOG.warning("%s", text)
    return text


def has_canaries(bundle: "Bundle") -> bool:
    """Whether a model is new enough to have been given canaries; there may be none that fit."""
    return canaries.NAME in bundle.sealed.about


def faults(bundle: "Bundle") -> tuple[str, ...]:
    """What is wrong, in sentences; nothing where the canaries are found, or there are none."""
    known = bundle.canaries()
    if known is None:
        return ("its canaries are gone.",) if bundle.sealed.about.get(canaries.NAME) else ()
    try:
        found = canaries.predicted(bundle, known)
    except DataError as error:
        return (f"its canaries cannot be scored: {error}.",)
    return (*_alarms(known, found), *_scores(known, found))


def _alarms(known: Canaries, found: Prediction) -> Iterator[str]:
    must, alarms = known.must_alarm, found.level != ""
    missed = must & ~alarms
    if missed.any():
        names = ", ".join(sorted({str(name) for name in known.attack[missed]})[:3])
        yield f"it misses {missed.sum()} of {counted(int(must.sum()), 'attack')} that it found, such as {names}."
    if known.is_attack.any() and not (alarms & known.is_attack).any() and not missed.any():
        yield f"it raises an alarm on none of its {known.is_attack.sum()} planted attacks."
    loud = ~known.is_attack & known.is_clear & (known.level == "") & alarms
    if loud.any():
        yield f"it raises an alarm on {counted(int(loud.sum()), 'benign record')} on which it raised none."


def _scores(known: Canaries, found: Prediction) -> Iterator[str]:
    for name, then in known.scores.items():
        now = found.scores.get(name)
        if now is None or not (differs := _differ(then, now)).any():
            continue
        row = int(np.flatnonzero(differs)[0])
        yield (
            f"{differs.sum()} of {then.size} canaries have another score {name!r} than they had, such as "
            f"{now[row]:.4g} for {then[row]:.4g}."
        )


def _differ(then: NDArray[np.float64], now: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(m,) which scores are further from those of then than rounding explains; NaN is no score, and equals NaN."""
    known = np.isfinite(then)
    if (known != np.isfinite(now)).any():
        return np.asarray(known != np.isfinite(now))
    usual = float(np.median(np.abs(then[known]))) if known.any() else 0.0
    near = TOLERANCE * np.maximum(np.abs(then), usual)
    return np.asarray(known & (np.abs(np.where(known, now - then, 0.0)) > near))
