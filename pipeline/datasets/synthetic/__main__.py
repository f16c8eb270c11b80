"""Writes the synthetic files for a person to look at: ``python -m pipeline.datasets.synthetic FOLDER``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.base.errors import FlowsculptError
from pipeline.datasets.synthetic.files import write


def main(given: Sequence[str] | None = None) -> int:
    """Write the files that the command line (or ``given``) asks for, and name them."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.datasets.synthetic", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the eight files go; made where absent")
    parser.add_argument("--records", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(given)
    try:
        for path in write(arguments.folder, arguments.records, arguments.seed):
            print(path)
    except FlowsculptError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
