"""flowsculpt: learn what benign traffic looks like, raise calibrated alarms on attacks that no label has described.

A room imports only from the floors below its own::

    5  alarms         the Python door: AlarmModel
       warm           the process that the stages of a flow fork from
       stages         ingest validate preprocess stage1 stage2 calibrate evaluate
       ssad           confidence updates for a user's own model and data
    4  serving        a trained detector outside the pipeline
    3  validation     VALIDATE       Great Expectations
       models         STAGE 1, 2     Lightning, in training alone
       reporting      what people read
       evaluation     EVALUATE
    2  preprocessing  PREPROCESS
       calibration    CALIBRATE      no torch
       tracking       MLflow's runs
       config         params.yaml
       datasets       INGEST
       artifacts      every file
       settings       every setting: its type and its limits
    1  base           errors, the plug-in registry, samples, durable writes

Shape letters, the same in every docstring and comment:

====== ==========================
``n``  rows
``B``  batch
``F``  features
``C``  channels
``L``  sequence
``D``  model width
``Z``  latent
====== ==========================

Directions, fixed once: a score is higher where a record is more anomalous; ``y`` is 1 for an attack; a confidence is
+1 for surely benign, -1 for surely anomalous, 0 for unknown.
"""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """``AlarmModel``, imported when it is asked for: torch comes with it."""
    if name != "AlarmModel":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("pipeline.alarms.model").AlarmModel
