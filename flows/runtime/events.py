"""The events of this project: the one door to Prefect's log of events, which automations wait for.

Each event is about the model of the project: its resource is ``flowsculpt.model``, or ``flowsculpt.model-zeek`` where
the model has a name of its own, with the number of a version behind it where one is meant. ``runtime.notices`` lists
the notifications of them.
"""

from typing import Any, Final

from prefect.events import emit_event

from flows.runtime.devices import host
from flows.runtime.own_names import own
from pipeline.base.escaping import printable
from pipeline.serving import own_model

REFUSED: Final = "flowsculpt.model-refused"
SILENT: Final = "flowsculpt.model-silent"  # it goes on
QUARANTINED: Final = "flowsculpt.file-quarantined"
NOT_PROMOTED: Final = "flowsculpt.promotion-refused"
DRIFT: Final = {  # outcome of the drift check -> event
    "train": "flowsculpt.training-asked-for",
    "attacks": "flowsculpt.attacks-under-way",
    "unknown": "flowsculpt.network-unknown",
}
TEST: Final = "flowsculpt.notification-test"
CAUSE: Final = "flowsculpt.cause"  # a label of the resource
UNTRUSTED, IS_SILENT = "untrusted", "silent"  # its values: why a model is refused


def announce(event: str, reason: str, version: int | None = None, cause: str = "") -> Any:
    """Raise an event; returns it, None where no server takes it.

    Args:
        event: its name, one of those above.
        reason: what happened, in words.
        version: of the model that it is about.
        cause: why a model is refused.
    """
    resource = {"prefect.resource.id": about(version), **({CAUSE: cause} if cause else {})}
    payload = {"reason": printable(reason), "model": own_model.name(), "host": host()}
    return emit_event(event, resource=resource, payload=payload)


def about(version: int | None = None) -> str:
    """The resource of an event: the model of this project, or a version of it."""
    return f"flowsculpt.{own('model')}" + ("" if version is None else f".{version}")
