"""Who gets a notification of failed runs, silence and drift; see ``flows.automations``."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pipeline.settings.base import Bounds, NotNegative, Section

Channel = Literal["email", "slack", "webhook"]
Lateness = Annotated[float, Bounds(ge=10)]  # Prefect waits for what does not come for 10 s at least
RUN_BOOK = "docs/how-to/run-book.md"


@dataclass(frozen=True)
class Notify(Section):
    """What `flowsculpt automations apply` puts on the Prefect server.

    Attributes:
        channels: where notifications go. The address of each is a secret: it comes from a variable or a file.
        run_book: address of the run-book, to which each notification links.
        late: seconds that a flow run may be late, or give no sign of life, before there is a notification. Prefect has
            each run give one every 180 seconds.
        again: seconds for which the same notification about the same thing is not sent again; 0: each is sent.
    """

    section: ClassVar[str] = "notify"
    channels: tuple[Channel, ...]
    run_book: str
    late: Lateness
    again: NotNegative

    @classmethod
    def absent(cls) -> dict[str, Any]:
        """As they are shipped."""
        return {"channels": [], "run_book": RUN_BOOK, "late": 900.0, "again": 900.0}
