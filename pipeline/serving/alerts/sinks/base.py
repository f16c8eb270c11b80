"""What a sink is: it takes messages in their order, and says when it has them.

A message is an alert or an incident, with a key. It may be sent twice, for instance if this process dies right after
sending it. Sinks that write files look up what they have already. Receivers on the network can do so by the key.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any, ClassVar, Final, Literal, NamedTuple, Protocol, Self

from pipeline.base.errors import FlowsculptError
from pipeline.serving.alerts.schema import Alert


class UnavailableError(FlowsculptError):
    """A sink that cannot be reached, or cannot be written, now: messages wait for it."""


class RefusedError(FlowsculptError):
    """A receiver that will never take this one message."""


@dataclass(frozen=True)
class Message:
    """What a sink gets.

    Attributes:
        key: the same for the same content, however often it is handed over.
        about: what it is.
        seen: when it was handed over first; in UTC.
        content: of an alert its columns, by name; of an incident its attributes.
    """

    key: str
    about: Literal["alert", "incident"]
    seen: datetime
    content: Mapping[str, Any]

    @classmethod
    def of(cls, alert: Alert) -> Self:
        """An alert, handed over now."""
        content = {name: getattr(alert, name) for name in _COLUMNS}  # asdict copies each value, which takes longer
        reasons = [dict(vars(each)) for each in alert.reasons]
        return cls(alert.alert, "alert", datetime.now(UTC), {**content, "reasons": reasons})

    @classmethod
    def of_incident(cls, incident: "IsIncident") -> Self:
        """An incident, handed over now; it is another message when its severity is another one."""
        key = f"{incident.incident}-{incident.severity}"
        return cls(key, "incident", datetime.now(UTC), asdict(incident))  # type: ignore[call-overload]

    def to_json(self) -> str:
        """As a spool keeps it; times are texts there."""
        return json.dumps({"about": self.about, "seen": self.seen, "content": self.content}, default=_plain)

    @classmethod
    def from_json(cls, key: str, text: str) -> Self:
        """The message that ``to_json`` made a text of."""
        value = json.loads(text)
        return cls(key, value["about"], datetime.fromisoformat(value["seen"]), value["content"])


class IsIncident(Protocol):
    """A dataclass that says what alerts are in all; see ``Notice`` for what is read of it."""

    @property
    def incident(self) -> str:
        """Its key."""

    @property
    def severity(self) -> str:
        """Low, medium, high or critical."""


_COLUMNS: Final = tuple(each.name for each in fields(Alert))


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else list(value)


class Sent(NamedTuple):
    """What a sink took.

    Attributes:
        number: of messages that it took, from the first one on; 1 or more.
        mark: what the next ``send`` is to be given; it is kept on the disk.
    """

    number: int
    mark: str = ""


class Sink(ABC):
    """Takes messages.

    Attributes:
        most: messages that it takes at a time.
    """

    most: ClassVar[int] = 500

    @abstractmethod
    def send(self, messages: Sequence[Message], mark: str) -> Sent:
        """Send messages, in their order; all of them, or the first ones.

        Args:
            messages: 1 or more, and at most ``most``.
            mark: of the last ``send`` whose messages are known to be sent; "" where there was none.

        Raises:
            UnavailableError: it is not known that any was sent; they are to be sent again later.
            RefusedError: the receiver will never take the first of them.
        """

    def close(self) -> None:  # noqa: B027 (most have nothing to close)
        """Let go of what is open."""
