"""Whether a server of this machine answers to its health check, for containers: the exit code is 0 where it does.

::

    python -m flows.runtime.healthy http://127.0.0.1:5000/health
"""

import sys
from collections.abc import Sequence

from flows.runtime import reach


def main(given: Sequence[str] | None = None) -> int:
    """Ask; returns the exit code."""
    addresses = list(sys.argv[1:] if given is None else given)
    if len(addresses) != 1:
        print("usage: python -m flows.runtime.healthy ADDRESS", file=sys.stderr)
        return 2
    return 0 if reach.status(addresses[0]) == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
