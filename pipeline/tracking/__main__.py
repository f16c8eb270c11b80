"""``python -m pipeline.tracking``: deliver what was logged while the MLflow server was away, and close dead runs."""

import sys

from pipeline.tracking import close_orphans, deliver, tracking_uri


def main() -> int:
    """Deliver from the command line; returns the exit code, 1 where something is left."""
    left = deliver()
    if not left:
        close_orphans()
    print(f"tracking: {left} writes wait for {tracking_uri()}" if left else "tracking: nothing waits")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
