"""Writes the synthetic records, or captures or logs of Zeek: ``python -m pipeline.datasets.synthetic FOLDER``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.base.errors import FlowsculptError
from pipeline.datasets.synthetic.captures import write_captures
from pipeline.datasets.synthetic.files import write
from pipeline.datasets.synthetic.zeek_logs import write_logs


def main(given: Sequence[str] | None = None) -> int:
    """Write the files that the command line (or ``given``) asks for, and name them."""
    parser = argparse.ArgumentParser(prog="python -m pipeline.datasets.synthetic", description=__doc__)
    parser.add_argument("folder", type=Path, help="where the files go; made where absent")
    parser.add_argument("--records", type=int, default=50_000, help="of all eight CSV files together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pcap", action="store_true", help="write captures, one a working day, not CSV files")
    parser.add_argument("--zeek", choices=("tsv", "json"), help="write logs of Zeek, one a working day, not CSV files")
    parser.add_argument("--conversations", type=int, default=20_000, help="benign ones of all days together")
    parser.add_argument("--days", type=int, default=5, help="working days; each is a capture or a log")
    parser.add_argument(
        "--attacks", action="store_true", help="add those of each day, named in NAME.labels.csv or label"
    )
    arguments = parser.parse_args(given)
    try:
        for path in _written(arguments):
            print(path)
    except FlowsculptError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _written(given: argparse.Namespace) -> list[Path]:
    if given.pcap:
        return write_captures(given.folder, given.conversations, given.days, given.seed, given.attacks)
    if given.zeek:
        return write_logs(given.folder, given.conversations, given.days, given.seed, given.attacks, given.zeek)
    return write(given.folder, given.records, given.seed)


if __name__ == "__main__":
    raise SystemExit(main())
