"""What this project's things are called on a Prefect server that other projects may use.

A project whose model has the shipped name has the plain names: pool ``gpu``, deployment ``training``. Any other project
puts the name of its model behind them: ``gpu-zeek``, ``training-zeek``. So no worker takes up the runs of another
project, and no project replaces the deployments of another. The limits of GPUs have the same names for all, who share
them.
"""

import re

from pipeline import tracking
from pipeline.settings.tracking import SHIPPED


def own(name: str) -> str:
    """A name on the Prefect server, as this project has it."""
    model = tracking.project_names().model
    return name if model == SHIPPED else f"{name}-{model}"


def artefact_key(name: str) -> str:
    """The key of an artefact of this project; Prefect allows small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", own(name).lower()).strip("-")
