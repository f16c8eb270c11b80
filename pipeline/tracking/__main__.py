"""``python -m pipeline.tracking``: deliver what was logged while the MLflow server was away, and close dead runs."""

import sys

from pipeline.base import machine
from pipeline.base.errors import FlowsculptError
from pipeline.tracking import close_orphans, deliver, tracking_uri


def main() -> int:
    """Deliver from the command line; returns the exit code, 1 where something is left."""
    try:
        with machine.refusals():
            left = deliver()
            if not left:
                close_orphans()
    except FlowsculptError as error:
        print(f"tracking: {error}", file=sys.stderr)
        return 1
    print(f"tracking: {left} writes wait for {tracking_uri()}" if left else "tracking: nothing waits")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
