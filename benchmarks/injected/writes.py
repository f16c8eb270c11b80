"""A fault at each system call that writes: the call fails, or the process is killed where it would begin."""

import random
from collections.abc import Iterator
from typing import Final

from benchmarks.injected import calls, children
from benchmarks.injected.bench import Bench, Trial, spread
from benchmarks.injected.calls import Call

KILL: Final = "KILL"
NOWHERE: Final = ("\0",)
TRIES: Final = 3  # a fault may meet another call than the one that was meant
ACTIONS: Final = ("ENOSPC", KILL, "EIO", "EDQUOT", "EROFS")


def trials(bench: Bench, most: int, seed: int) -> Iterator[Trial]:
    """A fault at each call, or at as many as are wanted; each is another call."""
    drawn, every = random.Random(f"{bench.operation.name}-{seed}"), counted(bench)
    for place, call in enumerate(spread(every, most, drawn)):
        trial = _tried(bench, call, every.index(call), ACTIONS[place % len(ACTIONS)])
        if trial:
            yield trial


def _tried(bench: Bench, call: Call, place: int, action: str) -> Trial | None:
    """A fault at the call at this place among those that write; None where it never meets one.

    strace counts all calls of a name. A folder that has changed since is listed by an import, and the counts have
    moved: then the calls are counted anew.
    """
    how = "signal=KILL" if action == KILL else f"error={action}"
    for _ in range(TRIES):
        bench.fresh()
        inject = f"{call.name}:{how}:when={call.number}"
        traced = children.strace(bench.operation.act, bench.work, call.name, inject, bench.log)
        path = calls.hit(traced.log, bench.work)
        if path is not None and not path.startswith(bench.operation.outside or NOWHERE):
            return Trial(call.name, f"{action} at {call.name} {call.number} ({path})", bench.judged(traced.ended))
        found = counted(bench)
        if place >= len(found) or found[place].name != call.name:
            return None
        call = found[place]
    return None


def counted(bench: Bench) -> list[Call]:
    """The calls of an undisturbed run that write in the project, each once."""
    bench.fresh()
    traced = children.strace(bench.operation.act, bench.work, ",".join(calls.WRITING), "", bench.log)
    found = dict.fromkeys(calls.within(traced.log, bench.work, 0))
    return [call for call in found if not call.path.startswith(bench.operation.outside or NOWHERE)]
