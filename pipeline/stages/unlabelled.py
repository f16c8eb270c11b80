"""Which detector stands in for the ensemble where no record has a label."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.settings.stage2 import Stage2


def of_labels(settings: Stage2, source: Mapping[str, Any]) -> Stage2:
    """The settings; where no record has a label, with the detector that stands in for the ensemble.

    Args:
        settings: of the stage.
        source: what ingest says of the records.
    """
    if settings.detector != "ensemble" or source["labels"] != "none":
        return settings
    table = str(source["dataset"]).split()[0] == "table"
    other = ("robust" if table else "ensemble") if settings.unlabelled == "auto" else settings.unlabelled
    return replace(settings, detector=other)
