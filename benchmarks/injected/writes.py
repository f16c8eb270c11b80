"""A fault at each system call that writes: the call fails, or the process is killed where it would begin."""

import random
from collections.abc import Iterator
from typing import Final

from benchmarks.injected import calls, children
from benchmarks.injected.bench import Bench, Trial, spread
from benchmarks.injected.calls import Call

KILL: Final = "KILL"
NOWHERE: Final = ("\0",)
ACTIONS: Final = ("ENOSPC", KILL, "EIO", "EDQUOT", "EROFS")


def trials(bench: Bench, most: int, seed: int) -> Iterator[Trial]:
    """A fault at each call, or at as many as are wanted; each is another call."""
    drawn = random.Random(f"{bench.operation.name}-{seed}")
    for place, call in enumerate(spread(counted(bench), most, drawn)):
        action = ACTIONS[place % len(ACTIONS)]
        bench.fresh()
        how = "signal=KILL" if action == KILL else f"error={action}"
        inject = f"{call.name}:{how}:when={call.number}"
        traced = children.strace(bench.operation.act, bench.work, call.name, inject, bench.log)
        path = calls.hit(traced.log, bench.work)
        if path is not None and not path.startswith(bench.operation.outside or NOWHERE):
            yield Trial(call.name, f"{action} at {call.name} {call.number} ({path})", bench.judged(traced.ended))


def counted(bench: Bench) -> list[Call]:
    """The calls of an undisturbed run that write in the project, each once."""
    bench.fresh()
    traced = children.strace(bench.operation.act, bench.work, ",".join(calls.WRITING), "", bench.log)
    found = dict.fromkeys(calls.within(traced.log, bench.work, 0))
    return [call for call in found if not call.path.startswith(bench.operation.outside or NOWHERE)]
