"""What this project calls its model, and where the files of that model lie under ``data``.

Version 1 of one model is not version 1 of another. So a model that has a name of its own has folders of its own. Then a
clone whose ``tracking.model`` changes, or clones that share ``data``, never take the records that one model has scored
for those of the other::

    data/scored/                 data/quarantine/                of the model with the shipped name
    data/scored/models/zeek/     data/quarantine/models/zeek/    of the model zeek
"""

from pathlib import Path

from pipeline.artifacts import paths
from pipeline.settings.tracking import SHIPPED
from pipeline.tracking import store


def name() -> str:
    """The name in the registry, ``tracking.model`` of params.yaml.

    Raises:
        ConfigError: the file cannot be read, or has a name that is not allowed.
    """
    return store.project_names().model


def suffix(model: str = "") -> str:
    """What follows the number of a version in messages: `` of zeek``, but nothing where the model has the shipped name.

    Args:
        model: its name; "": that of this project's model.
    """
    return "" if (model or name()) == SHIPPED else f" of {model or name()}"


def scored() -> Path:
    """What the model has scored."""
    return own_folder(paths.SCORED)


def quarantine() -> Path:
    """What the model cannot score."""
    return own_folder(paths.QUARANTINE)


def own_folder(folder: Path) -> Path:
    """What a folder of the data is for this model."""
    return folder if name() == SHIPPED else folder / "models" / name()
