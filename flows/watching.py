"""The watch as a deployment: the loop of ``flows.watch`` in a flow run, which Prefect starts again if it dies.

The loop itself needs neither Prefect nor MLflow. A run that is cancelled judges what has come by then, and ends.
"""

import threading
from argparse import Namespace
from typing import Any

from prefect import State, flow
from prefect.states import Completed, Failed

from flows import watch
from flows.runtime import events, refusals
from flows.runtime.shown import get_run_logger
from pipeline.base.errors import FlowsculptError

INPUT = "-"


@flow(name="watch", persist_result=False, retries=10, retry_delay_seconds=10)
def watching(path: str = "data/incoming", alias: str = "champion") -> State[Any]:
    """Judge records as they come, until the run is cancelled.

    Args:
        path: a folder, or a log that grows.
        alias: of the model version that judges: champion, previous, candidate, or a number.
    """
    if path == INPUT:
        return Failed(message="a deployment has no standard input; name a folder, or a log that grows")
    get_run_logger().info("watching %s; /metrics says how it goes", path)
    try:
        with refusals.announced():
            watch.watch(Namespace(path=path, alias=alias), threading.Event(), _told)
    except FlowsculptError as error:
        return Failed(message=str(error), data=error)
    return Completed(message="stopped")


def _told(event: str, **fields: Any) -> None:
    """Log what happens, and raise an event of what people should know."""
    watch.log(event, **fields)
    if event == "quarantined":
        events.announce(events.QUARANTINED, f"{fields.get('file') or fields['batch']}: {fields['reason']}")
    elif fields.get("silent"):
        refusals.fell_silent(fields["message"])
    elif "refused" in fields:
        refusals.refused(fields["message"], fields["refused"] == events.IS_SILENT)
