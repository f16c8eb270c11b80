"""Events of models that were refused, which automations of Prefect may wait for."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prefect.events import emit_event

from flows.runtime.own_names import own
from pipeline.base.errors import TrustError
from pipeline.base.escaping import printable
from pipeline.serving import own_model

EVENT: Final = "flowsculpt.model-refused"
SILENT: Final = "flowsculpt.model-silent"  # it goes on


@contextmanager
def announced() -> Iterator[None]:
    """Raise an event where a model is refused in the block; the refusal goes on."""
    try:
        yield
    except TrustError as error:
        announce(str(error))
        raise


def announce(reason: str, event: str = EVENT) -> None:
    """Raise the event."""
    resource = {"prefect.resource.id": f"flowsculpt.{own('model')}"}
    emit_event(event, resource=resource, payload={"reason": printable(reason), "model": own_model.name()})
