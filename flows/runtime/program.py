"""A flow as a program: what it prints, and its exit code."""

import gc
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from pipeline.base import extras, machine
from pipeline.base.errors import FlowsculptError
from pipeline.base.escaping import lines

if TYPE_CHECKING:
    from prefect import State


class FailedError(FlowsculptError):
    """A flow that ended with an error of a library."""


@contextmanager
def heeding(act: Callable[[], object], numbers: Sequence[int]) -> Iterator[None]:
    """Call ``act`` where one of these signals comes; behind the block they mean again what they meant before it."""
    before = {number: signal.signal(number, lambda *_: act()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def quick_imports() -> Iterator[None]:
    """Import without the collector of garbage, and let it pass over what was imported, for a program that ends soon.

    PyTorch and pandas make 380,000 objects that stay. The collector would look at all of them again and again.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()


def terminate() -> NoReturn:
    """End as a program does that was asked to, so that whatever it holds is let go."""
    sys.exit(143)


def run(name: str, body: Callable[[], str]) -> int:
    """Print what ``body`` returns, or on standard error what stopped the program ``name``; returns the exit code.

    Raises:
        SystemExit: a TERM came.
    """
    try:
        with heeding(terminate, [signal.SIGTERM]), machine.refusals():
            print(lines(body()))
    except FlowsculptError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
    return 0


def guarded(name: str, main: Callable[[], int]) -> int:
    """Call a program that may need a library that is not installed; returns the exit code."""
    try:
        return main()
    except ModuleNotFoundError as error:
        if (said := extras.lacking(error)) is None:
            raise
        print(f"{name}: {said}", file=sys.stderr)
        return 1


def result(state: "State[Any]") -> Any:
    """What a flow returned.

    Raises:
        FlowsculptError: the one that it ended with, or one that describes any other.
    """
    done: Any = state.result(raise_on_failure=False)
    if isinstance(done, FlowsculptError):
        raise done
    if isinstance(done, Exception):
        raise FailedError(str(done)) from done
    return done
