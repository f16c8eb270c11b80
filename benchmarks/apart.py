"""What it costs that files of others are read in a process of its own.

::

    python -m benchmarks.apart [--records 3525 200000] [--repeats 5]

It trains the shipped model in a folder of its own. Each run is a process of its own that scores a file, with
``files.apart`` on and off in turn. CPU-s are seconds of processor time of the process and its children. The start is
what the smallest file takes.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import median

import yaml

from benchmarks.canaries import scored
from benchmarks.scoring import simulate, train

TRAINED_ON = 20_000  # records


def read(folder: Path, is_apart: bool) -> None:
    """Set ``files.apart`` of a project."""
    path = folder / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["files"]["apart"] = is_apart
    path.write_text(yaml.safe_dump(params))


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, nargs="+", default=[3525, 200_000])
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    print("| records | CPU-s in a process of its own | in the same process | ratio |\n|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as name:
        folder, file = Path(name), Path(name) / "flows.csv"
        train(folder, TRAINED_ON)
        for number in given.records:
            simulate(file, number)
            found: dict[bool, list[float]] = {True: [], False: []}
            for _ in range(given.repeats):
                for is_apart, costs in found.items():
                    read(folder, is_apart)
                    costs.append(scored(folder, file))
            told = [f"{median(each):.2f} ({min(each):.2f} to {max(each):.2f})" for each in found.values()]
            ratio = median(found[True]) / median(found[False])
            print(f"| {number:,} | {' | '.join(told)} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
