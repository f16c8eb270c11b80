"""A flow as a program: what it prints, and its exit code."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pipeline.errors import FlowsculptError

if TYPE_CHECKING:
    from prefect import State


class FailedError(FlowsculptError):
    """A flow that ended with an error of a library."""


def run(name: str, body: Callable[[], str]) -> int:
    """Print what ``body`` returns, or on standard error what stopped the program ``name``; returns the exit code."""
    try:
        print(body())
    except FlowsculptError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted", file=sys.stderr)
        return 130
    return 0


def result(state: "State[Any]") -> Any:
    """What a flow returned.

    Raises:
        FlowsculptError: the one that it ended with, or what tells of any other.
    """
    done: Any = state.result(raise_on_failure=False)
    if isinstance(done, FlowsculptError):
        raise done
    if isinstance(done, Exception):
        raise FailedError(str(done)) from done
    return done
