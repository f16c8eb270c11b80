"""The command ``read``: what is understood of files, before anything is trained or scored.

::

    flowsculpt read FILE [FILE ...] [--dataset cicids2017] [--json]

The files are read to their end, as ingest reads them, and nothing is written. For each one it says which tool wrote it,
in which unit its durations are, how its times are read, what its labels mean, and what is not read of it, with the
first examples.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flows import arguments
from flows.runtime import program
from pipeline.tracking import quiet_tools

if TYPE_CHECKING:
    from pipeline.datasets.base import Dataset
    from pipeline.settings.ingest import Ingest


def main(given: Sequence[str] | None = None) -> int:
    """Read from the command line; returns the exit code."""
    chosen = arguments.parse("read", given)
    quiet_tools()
    return program.run("read", lambda: understood(chosen))


def understood(chosen: Namespace) -> str:
    """What was found of each file.

    Raises:
        DataError: a file cannot be read, or its parts contradict each other.
        ConfigError: a setting of ingest is not allowed.
    """
    from pipeline import config
    from pipeline.datasets.findings import Findings
    from pipeline.objects import copies
    from pipeline.settings.ingest import Ingest

    settings = config.load(Ingest)
    findings = Findings()
    for path in chosen.path:
        for chunk in _dataset(copies.local(path), chosen.dataset, settings).read():
            findings.add(chunk)
    return json.dumps(findings.report(), indent=2) if chosen.json else findings.text()


def _dataset(path: Path, name: str | None, settings: "Ingest") -> "Dataset":
    """What reads a path. Labels may be missing, and columns in a CSV of flows."""
    from pipeline.base.registry import build
    from pipeline.datasets import recognise
    from pipeline.datasets.reading import Reading
    from pipeline.datasets.registry import DATASETS, WRITTEN_AS

    name = name or recognise.dataset_of(path) or WRITTEN_AS.get(settings.dataset, settings.dataset)
    own = settings.settings(name, DATASETS)
    own["reading"] = Reading.of(settings.time_format, settings.time_zone, settings.unlabelled)
    if name == "cicids2017":
        own |= {"needed": (), "unknown_labels": "keep"}
    dataset = build(DATASETS, name, "--dataset", path=path, **own)
    dataset.labelled = False
    return dataset


if __name__ == "__main__":
    sys.exit(main())
