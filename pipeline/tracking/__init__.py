"""The one door to MLflow: one parent run for each pipeline run, one child for each stage that ran.

The parent is the run that ``FLOWSCULPT_PARENT_RUN`` names where a flow set it, else the run that belongs to the ``dvc``
process above this one, else a run of this process alone. ``MLFLOW_RUN_ID`` is never read: it would override a parent
(mlflow issue 15713). A stage that DVC skipped is linked, by the content hash of its outputs, to the run that made them.

::

    parent   flowsculpt.kind = pipeline   stage.<name> = run id   stage.<name>.state = ran | cached
    child    flowsculpt.kind = stage      flowsculpt.stage        flowsculpt.outputs = content hash
    both     flowsculpt.process           flowsculpt.key          flowsculpt.resumed = how often it was taken over

The parent is RUNNING from its first stage to its last. A flow closes its own; that of a dvc process ends with the last
stage of the graph, or with one that fails. Where dvc was asked for earlier stages only, the next pipeline run, or
``python -m pipeline.tracking``, closes it. The parent is what a person compares: it carries the settings of all stages,
the headline figures, the seconds that each stage took, the data set, the page and a description.

A process that goes on with a Prefect flow run whose process was killed takes its parent over, and each stage that was
killed goes on in its own run (``pipeline_run.py``, ``operations.py``). A server that does not answer stops nothing and
loses nothing (``outbox.py``).

The runs lie in the experiment that ``tracking.experiment`` of params.yaml names.

The store is ``mlflow.db`` in the project root, its artefacts lie in ``mlruns/`` beside it; ``MLFLOW_TRACKING_URI``
names another. The project root is what ``FLOWSCULPT_TRACKING_ROOT`` names where a flow runs stages in a copy of the
project, else ``DVC_ROOT``, which DVC sets for each command and which names the main project for ``dvc exp run --temp``
also, else the nearest folder upwards that holds ``params.yaml``, else the working folder.

MLflow is imported by the first call: it takes seconds, and importing this package must not.
"""

from pipeline.tracking.alone import alone, is_set_up, new_key, system_metrics
from pipeline.tracking.operations import (
    ERROR,
    FLOW_RUN,
    KEY,
    KIND,
    OUTPUTS,
    PRESET,
    PROCESS,
    RESUMED,
    STAGE,
    State,
    resolve,
)
from pipeline.tracking.outbox import deliver, is_transient
from pipeline.tracking.pipeline_run import (
    PARENT_VARIABLE,
    Child,
    children,
    close_orphans,
    close_parent,
    link,
    open_parent,
    page,
)
from pipeline.tracking.process_identity import identity
from pipeline.tracking.queries import Run, find_run, makers, run_ids
from pipeline.tracking.stage_run import LONGEST_PARAM, StageRun, stage
from pipeline.tracking.store import (
    ROOT_VARIABLE,
    environment,
    is_server,
    local_store,
    project_names,
    project_root,
    quiet,
    quiet_tools,
    redact,
    require_handed_out,
    search,
    tracking_uri,
)

__all__ = [
    "ERROR",
    "FLOW_RUN",
    "KEY",
    "KIND",
    "LONGEST_PARAM",
    "OUTPUTS",
    "PARENT_VARIABLE",
    "PRESET",
    "PROCESS",
    "RESUMED",
    "ROOT_VARIABLE",
    "STAGE",
    "Child",
    "Run",
    "StageRun",
    "State",
    "alone",
    "children",
    "close_orphans",
    "close_parent",
    "deliver",
    "environment",
    "find_run",
    "identity",
    "is_server",
    "is_set_up",
    "is_transient",
    "link",
    "local_store",
    "makers",
    "new_key",
    "open_parent",
    "page",
    "project_names",
    "project_root",
    "quiet",
    "quiet_tools",
    "redact",
    "require_handed_out",
    "resolve",
    "run_ids",
    "search",
    "stage",
    "system_metrics",
    "tracking_uri",
]
