"""flowsculpt: learn what benign traffic looks like, raise calibrated alarms on attacks that no label has described.

The map of the house; a room imports only from the floors below its own::

    6  flows                    Prefect: time, retries, schedules, the dvc command
    5  stages                   ingest validate preprocess stage1 stage2 calibrate evaluate
    4  tracking config expectations         MLflow | params.yaml | Great Expectations
       scored                               new records, judged
       bundle, and below it seals           a trained detector as one folder | a folder that nobody can change unseen
       artifacts                            files
    3  training inference explanation       Lightning | the one decision rule | what drove a score
    2  figures, and below them datasets features splits encoders detectors confidence metrics gate drift
    1  thresholds nn words bootstrap
    0  samples registry threads errors

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
