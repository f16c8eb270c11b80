"""Retention as a deployment: ``flowsculpt prune`` on a schedule."""

from prefect import State, flow
from prefect.states import Completed, Failed

from flows import prune
from flows.runtime.own_names import artefact_key
from flows.runtime.shown import create_markdown_artifact, get_run_logger
from pipeline.base.errors import FlowsculptError
from pipeline.base.escaping import in_markdown, printable


@flow(name="prune", persist_result=False)
def pruning(apply: bool = False) -> State[prune.Pruned]:
    """Remove what is older, or more, than the section retention of params.yaml keeps.

    Args:
        apply: Whether it is removed. Without it the run only says what would be.
    """
    try:
        done = prune.prune(apply)
    except FlowsculptError as error:
        return Failed(message=str(error), data=error)
    for line in done.text.splitlines():
        get_run_logger().info(line)
    lines = "\n".join(f"- {in_markdown(line)}" for line in done.text.splitlines())
    create_markdown_artifact(lines, key=artefact_key("prune"), description="What was removed, or would be")
    if done.faults:
        return Failed(message=printable("; ".join(done.faults)), data=prune.UnfollowedError(done.text))
    return Completed(message=done.text.splitlines()[-1], data=done)
